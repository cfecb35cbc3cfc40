"""Budgets that datasets share, caps inside them, and new versions of a dataset."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sytff_policy.errors import InvalidInput, NotFound
from sytff_policy.ledger import BudgetExceeded, CapExceeded, Ledger
from sytff_policy.privacy import RunMechanism, make_filter
from tests.ledger.helpers import RUN, finish, reserve

BUNDLE = "sha256:" + "0" * 64
ZCDP = make_filter("zcdp", Decimal(3), Decimal("1e-5"))


def share(ledger: Ledger, name: str, *others: str, own: Any = None, people: int = 1000) -> None:
    ledger.register(
        name=name,
        version=f"version of {name}",
        population=people,
        owner="owner",
        description={},
        privacy_filter=own,
        bundle=BUNDLE,
        share_with=others,
    )


def fill(ledger: Ledger, researchers: list[str], organization: str = "") -> None:
    for name in researchers:
        reserve(ledger, researcher=name, organization=organization)


def test_a_request_on_either_dataset_is_charged_to_the_shared_budget(ledger: Ledger) -> None:
    share(ledger, "visits", "registry", people=400)
    finish(ledger, reserve(ledger))
    run = RunMechanism(20, 50, 400, Decimal(1))
    finish_one = reserve(ledger, run, dataset="visits")
    first, second = ledger.dataset("registry"), ledger.dataset("visits")
    assert [budget.name for budget in second.budgets] == ["registry"]
    assert first.budget() == second.budget()
    charge = first.filter.charge
    assert first.spent == charge(RUN.event())
    assert first.reserved == charge(run.event())
    ledger.progress(finish_one, rounds_started=20, evaluation_started=False)
    ledger.settle(finish_one, status="completed")
    assert ledger.dataset("registry").spent == charge(RUN.event()) + charge(run.event())
    assert ledger.verify().ok, ledger.verify().faults


def test_what_one_dataset_used_is_not_left_for_the_other(ledger: Ledger) -> None:
    share(ledger, "visits", "registry")
    big = RunMechanism(250, 50, 1000, Decimal(1))
    reserve(ledger, big)
    with pytest.raises(BudgetExceeded) as caught:
        reserve(ledger, big, dataset="visits")
    assert caught.value.budget == "registry"
    assert ledger.verify().ok


def test_several_budgets_are_charged_all_or_none_and_the_refusing_one_is_named(
    ledger: Ledger,
) -> None:
    share(ledger, "small", own=make_filter("rdp", Decimal(4), Decimal("1e-5"), order=8))
    share(ledger, "joined", "registry", "small", own=ZCDP)
    record = ledger.dataset("joined")
    assert [budget.name for budget in record.budgets] == ["joined", "registry", "small"]
    fits = RunMechanism(3, 10, 1000, Decimal(5))
    run_id = reserve(ledger, fits, dataset="joined")
    for budget in ledger.dataset("joined").budgets:
        assert budget.reserved == budget.filter.charge(fits.event())
    before = ledger.budgets()
    count = sum(1 for _ in ledger.entries())
    too_much_for_small = RunMechanism(60, 50, 1000, Decimal(8))
    for budget in before:
        admits = budget.filter.admits(
            budget.used + budget.filter.charge(too_much_for_small.event())
        )
        assert admits == (budget.name != "joined")
    with pytest.raises(BudgetExceeded) as caught:
        reserve(ledger, too_much_for_small, dataset="joined")
    assert caught.value.budget == "joined"
    assert ledger.budgets() == before
    assert sum(1 for _ in ledger.entries()) == count
    ledger.progress(run_id, rounds_started=1, evaluation_started=False)
    ledger.settle(run_id, status="failed", code="run.died")
    for budget in ledger.dataset("joined").budgets:
        assert budget.reserved.is_zero()
        assert budget.spent == budget.filter.charge(fits.executed(1, evaluated=False))
    assert ledger.verify().ok, ledger.verify().faults


def test_a_dataset_that_shares_with_a_sharer_is_charged_to_all_its_budgets(ledger: Ledger) -> None:
    share(ledger, "a", "registry", own=ZCDP)
    share(ledger, "b", "a", "registry")
    assert [budget.name for budget in ledger.dataset("b").budgets] == ["a", "registry"]
    assert ledger.verify().ok


def test_a_dataset_without_any_budget_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="no budget"):
        share(ledger, "free")
    with pytest.raises(NotFound):
        share(ledger, "free", "nothing")
    assert [record.name for record in ledger.datasets()] == ["registry"]


def test_a_grant_reaches_everyone_who_shares(ledger: Ledger) -> None:
    share(ledger, "visits", "registry")
    ledger.grant("visits", Decimal(2), by="owner")
    assert ledger.dataset("registry").budget().epsilon == 10
    assert ledger.verify().ok


def test_a_new_version_starts_with_what_its_people_have_spent(ledger: Ledger) -> None:
    finish(ledger, reserve(ledger))
    running = reserve(ledger)
    before = ledger.dataset("registry").budget()
    ledger.new_version("registry", version="v2", population=1500, description={}, by="owner")
    record = ledger.dataset("registry")
    assert (record.version, record.population) == ("v2", 1500)
    assert record.budget() == before
    # A run on the version before is settled against its own people.
    finish(ledger, running)
    reserve(ledger, RunMechanism(20, 50, 1500, Decimal(1)))
    assert ledger.verify().ok, ledger.verify().faults


def test_no_version_is_registered_twice(ledger: Ledger) -> None:
    ledger.new_version("registry", version="v2", population=1500, description={}, by="owner")
    for version in ("v2", "hmac-sha256:00"):
        with pytest.raises(InvalidInput, match="cannot be started again"):
            ledger.new_version(
                "registry", version=version, population=9, description={}, by="owner"
            )
        with pytest.raises(InvalidInput, match="cannot be started again"):
            ledger.register(
                name="fresh",
                version=version,
                population=9,
                owner="owner",
                description={},
                privacy_filter=ZCDP,
            )


def test_a_cap_holds_for_one_researcher_and_leaves_the_budget_to_others(ledger: Ledger) -> None:
    ledger.cap("registry", "researcher", "alice", Decimal(5), by="owner")
    with pytest.raises(CapExceeded, match="alice"):
        fill(ledger, ["alice"] * 100)
    assert ledger.usage("registry", "alice")[1].requests > 0
    reserve(ledger, researcher="bob")
    assert ledger.verify().ok, ledger.verify().faults


def test_a_cap_counts_what_was_used_before_it_was_set(ledger: Ledger) -> None:
    finish(ledger, reserve(ledger))
    ledger.cap("registry", "researcher", "*", Decimal("4.5"), by="owner")
    limit = ledger.standing("registry", "alice").limits[0]
    assert limit.used == ledger.dataset("registry").spent
    assert ledger.standing("registry", "bob").limits[0].used.is_zero()


def test_a_cap_on_an_organization_adds_up_its_people(ledger: Ledger) -> None:
    ledger.cap("registry", "organization", "clinic", Decimal(5), by="owner")
    with pytest.raises(CapExceeded, match="clinic"):
        fill(ledger, [f"doctor {number}" for number in range(100)], "clinic")
    assert len(ledger.open_runs()) > 1
    reserve(ledger, researcher="doctor 99", organization="elsewhere")
    reserve(ledger, researcher="alone")
    assert ledger.verify().ok, ledger.verify().faults


def test_a_cap_of_ones_own_stands_instead_of_everyones(ledger: Ledger) -> None:
    ledger.cap("registry", "researcher", "*", Decimal(5), by="owner")
    ledger.cap("registry", "researcher", "alice", Decimal(7), by="owner")
    assert ledger.standing("registry", "alice").limits[0].filter.epsilon == 7
    assert ledger.standing("registry", "bob").limits[0].filter.epsilon == 5
    ledger.cap("registry", "researcher", "alice", None, by="owner")
    assert ledger.standing("registry", "alice").limits[0].filter.epsilon == 5
    assert ledger.verify().ok, ledger.verify().faults


def test_settlement_gives_back_to_the_cap_what_never_started(ledger: Ledger) -> None:
    ledger.cap("registry", "researcher", "alice", Decimal(5), by="owner")
    run_id = reserve(ledger)
    held = ledger.standing("registry", "alice").limits[0].used
    ledger.settle(run_id, status="cancelled")
    assert not held.is_zero()
    assert ledger.standing("registry", "alice").limits[0].used.is_zero()
    assert ledger.verify().ok


def test_a_cap_that_admits_nothing_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="conversion alone"):
        ledger.cap("registry", "researcher", "alice", Decimal("0.1"), by="owner")
    with pytest.raises(NotFound):
        ledger.cap("registry", "researcher", "alice", None, by="owner")


def test_a_reservation_against_a_cap_that_was_set_meanwhile_is_judged_again(
    ledger: Ledger,
) -> None:
    old = ledger.dataset("registry")
    ledger.cap("registry", "researcher", "alice", Decimal(5), by="owner")
    assert ledger.dataset("registry").moment != old.moment


EDITS = {
    "spent": "UPDATE budgets SET spent = '[\"0\"]'",
    "reserved": "UPDATE budgets SET reserved = '[\"0\"]'",
    "rounds that were started": "UPDATE runs SET rounds_started = 0 WHERE state = 'reserved'",
    "a reservation's charge": 'UPDATE runs SET charges = \'{"registry":["0"]}\' '
    "WHERE state = 'reserved'",
    "a run that never was": "UPDATE runs SET state = 'settled' WHERE state = 'reserved'",
    "the population": "UPDATE datasets SET population = 9",
    "the policy": "UPDATE datasets SET bundle = NULL",
    "a cap": "UPDATE caps SET epsilon = '7'",
    "no cap": "DELETE FROM caps",
    "a share": "UPDATE shares SET spent = '[\"0\"]'",
    "usage": "UPDATE usage SET requests = 0",
    "the operator's policy": "UPDATE node SET bundle = NULL",
    "a forgotten version": "DELETE FROM versions",
}


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_of_the_book_is_found(ledger: Ledger, name: str) -> None:
    ledger.cap("registry", "researcher", "alice", Decimal(6), by="owner")
    finish(ledger, reserve(ledger))
    open_run = reserve(ledger)
    ledger.progress(open_run, rounds_started=3, evaluation_started=False)
    assert ledger.verify().ok
    with ledger.store.write() as connection:
        connection.exec_driver_sql(EDITS[name])
    faults = ledger.verify().faults
    assert {fault.code for fault in faults} == {"verify.book"}
