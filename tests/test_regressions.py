"""What went wrong in the predecessor, each as a test of its own.

PySyTFF cloned one dataset to every client, sampled nobody, ran without authorization or budget,
and returned raw metrics.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from sytff_policy.home import Home, RequestDenied
from sytff_policy.privacy import RunMechanism, make_filter
from tests.support import ALICE, ALLOW_ALL, BOB, GUEST, ask, make_home, rego


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = make_home(tmp_path)
    yield made
    made.close()


@pytest.fixture
def no_runtime_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets denials be tested where TFF is not installed: a denial never gets that far."""
    monkeypatch.setattr("sytff_policy.home.require_runtime", lambda: None)


@pytest.mark.usefixtures("no_runtime_needed")
@pytest.mark.parametrize("result", ["false", "[]", "{}", '"no"', "null", "0", "true"])
def test_1_a_false_policy_result_blocks_execution(tmp_path: Path, result: str) -> None:
    module = f"package sytff.dataset\n\ndeny := {result}\n"
    test = "package sytff.dataset_test\n\ntest_it if data.sytff.dataset.deny == " + result + "\n"
    if result in ("false", "null"):
        test = "package sytff.dataset_test\n\ntest_it if 1 == 1\n"
    with make_home(tmp_path, policy=rego(module, test)) as home:
        if result == "[]":
            # An empty list is an empty set of reasons in JSON; nothing is denied by it.
            assert home.gate.check(ask(home), "registry", ALICE).allowed
            return
        with pytest.raises(RequestDenied) as caught:
            home.submit(ask(home), ALICE)
        assert {r.code for r in caught.value.decision.reasons} == {"policy.malformed"}
        assert home.ledger.open_runs() == []


@pytest.mark.usefixtures("no_runtime_needed")
def test_2_a_guest_cannot_train(home: Home) -> None:
    with pytest.raises(RequestDenied) as caught:
        home.submit(ask(home), GUEST)
    assert [r.code for r in caught.value.decision.reasons] == ["node.researcher_role"]


def test_3_two_users_share_one_dataset_cap(home: Home) -> None:
    big = {"rounds": 150, "clients_per_round": 20, "noise_multiplier": 1.0}
    assert home.gate.admit(ask(home, **big), "registry", ALICE).decision.allowed
    second = home.gate.admit(ask(home, **big), "registry", BOB).decision
    assert {r.code for r in second.reasons} == {"accountant.budget_exceeded"}


def test_4_less_noise_never_costs_less_epsilon(home: Home) -> None:
    costs = [
        home.gate.check(ask(home, noise_multiplier=noise), "registry", ALICE).cost.charge
        for noise in (8.0, 4.0, 2.0, 1.0, 0.5, 0.1, 0.05, 0.01, 0.009)
    ]
    assert all(a is not None and b is not None and a <= b for a, b in itertools.pairwise(costs))


def test_5_epsilon_does_not_depend_on_request_order(tmp_path: Path) -> None:
    asked = [{"rounds": 3}, {"rounds": 9, "noise_multiplier": 2.0}, {"clients_per_round": 40}]
    spent = []
    for index, order in enumerate((asked, asked[::-1])):
        folder = tmp_path / str(index)
        folder.mkdir()
        with make_home(folder) as home:
            for fields in order:
                assert home.gate.admit(ask(home, **fields), "registry", ALICE).decision.allowed
            spent.append(home.ledger.dataset("registry").budget())
    assert spent[0] == spent[1]


def test_6_concurrent_requests_cannot_overspend(home: Home) -> None:
    """Two requests judged against the same budget, which holds one of them."""
    big = ask(home, rounds=150)
    situation_of = home.gate._situation
    first_seen = situation_of("registry", ALICE)
    home.gate._situation = lambda *args: first_seen  # type: ignore[method-assign]
    assert home.gate.admit(big, "registry", ALICE).decision.allowed
    home.gate._situation = situation_of  # type: ignore[method-assign]
    stale = [first_seen]
    home.gate._situation = (  # type: ignore[method-assign]
        lambda *args: stale.pop() if stale else situation_of(*args)
    )
    second = home.gate.admit(big, "registry", BOB).decision
    assert {r.code for r in second.reasons} == {"accountant.budget_exceeded"}
    record = home.ledger.dataset("registry")
    assert record.filter.admits(record.used)


def test_7_silos_are_disjoint_by_privacy_unit(home: Home) -> None:
    dataset = home.store.open(home.ledger.dataset("registry").version)
    everyone = dataset.read_units(np.arange(dataset.population))
    each = [dataset.read_units(np.array([unit])) for unit in range(dataset.population)]
    assert sum(len(silo.labels) for silo in each) == len(everyone.labels)
    np.testing.assert_array_equal(
        np.concatenate([silo.features for silo in each]), everyone.features
    )
    assert (np.diff(everyone.row_splits) >= 1).all()


@pytest.mark.parametrize("noise", [2.0, 2.0001, 5.0, 1e6])
def test_8_noise_of_a_tenth_of_the_cohort_and_more_never_crashes_a_run(
    home: Home, noise: float
) -> None:
    request = ask(home, clipping={"kind": "adaptive"}, noise_multiplier=noise)
    decision = home.gate.admit(request, "registry", ALICE).decision
    assert {r.code for r in decision.reasons} == {"node.adaptive_clipping"}
    assert decision.counter_proposals
    assert home.gate.check(ask(home, noise_multiplier=noise), "registry", ALICE).allowed


@pytest.mark.tff
@pytest.mark.slow
def test_9_executed_events_never_exceed_the_reservation(home: Home) -> None:
    home.submit(ask(home, rounds=3), ALICE)
    reservation = next(home.ledger.entries(kind="reservation")).body
    settlement = next(home.ledger.entries(kind="settlement")).body
    assert settlement["event"] == reservation["event"]
    assert Decimal(settlement["charge"][0]) <= Decimal(reservation["charge"][0])
    privacy_filter = make_filter("rdp", Decimal(8), Decimal("1e-5"), order=4)
    run = RunMechanism(3, 20, 300, Decimal("1"), Decimal("5"))
    assert privacy_filter.charge(run.event()).to_json() == settlement["charge"]


@pytest.mark.usefixtures("no_runtime_needed")
def test_10_a_denied_request_never_reads_private_data(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored rows are taken away: a denial comes all the same, so nothing looked for them."""
    folder = home.store.folder(home.ledger.dataset("registry").version)
    folder.rename(folder.with_suffix(".away"))

    def refuse(*_: object) -> None:
        raise AssertionError("rows were opened for a denied request")

    monkeypatch.setattr("sytff_policy.datasets.store.StoredDataset.__init__", refuse)
    for fields, who in (({"noise_multiplier": 0.01}, ALICE), ({}, GUEST)):
        with pytest.raises(RequestDenied):
            home.submit(ask(home, **fields), who)


def test_the_allowing_policy_of_these_tests_does_allow(tmp_path: Path) -> None:
    with make_home(tmp_path, policy=rego(ALLOW_ALL)) as home:
        assert home.gate.check(ask(home), "registry", ALICE).allowed
