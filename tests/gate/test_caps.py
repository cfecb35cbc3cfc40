"""Decisions on shared budgets and caps: what the accountant says, and what it proposes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from sytff_policy.datasets import schema_from_flags
from sytff_policy.datasets.generate import (
    DEMO_FEATURES,
    DEMO_LABEL,
    DEMO_UNIT,
    write_demo_csv,
)
from sytff_policy.decision import Decision
from sytff_policy.home import Home, parse_request
from sytff_policy.policy import template
from sytff_policy.privacy import make_filter
from sytff_policy.request import Researcher
from tests.support import ALICE, BOB, ask, make_home

SURGEON = Researcher(id="surgeon", organization="clinic")
NURSE = Researcher(id="nurse", organization="clinic")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with make_home(tmp_path) as made:
        yield made


def share(home: Home, folder: Path, name: str, *others: str, epsilon: str | None = None) -> None:
    data = folder / f"{name}.csv"
    write_demo_csv(data, people=200)
    own = None
    if epsilon is not None:
        own = make_filter("rdp", Decimal(epsilon), Decimal("1e-5"), order=4)
    home.register(
        name,
        data,
        schema_from_flags(unit=DEMO_UNIT, features=DEMO_FEATURES, label=DEMO_LABEL),
        lambda population: own,
        policy=template("starter"),
        owner="owner",
        share_with=others,
    )


def accountant(decision: Decision) -> set[str]:
    return {reason.code for reason in decision.reasons if reason.source == "accountant"}


def test_a_researchers_cap_denies_that_researcher_alone(home: Home) -> None:
    home.ledger.cap("registry", "researcher", "alice", Decimal("4.2"), by="owner")
    request = ask(home, rounds=100)
    decision = home.gate.admit(request, "registry", ALICE).decision
    assert accountant(decision) == {"accountant.researcher_cap"}
    reason = decision.reasons[0]
    assert reason.limit == Decimal("4.2")
    assert isinstance(reason.actual, Decimal)
    assert reason.actual > Decimal("4.2")
    assert "'alice'" in reason.message
    assert home.gate.admit(request, "registry", BOB).decision.allowed


def test_an_organizations_cap_counts_all_its_people(home: Home) -> None:
    home.ledger.cap("registry", "organization", "clinic", Decimal("4.5"), by="owner")
    assert home.gate.admit(ask(home, rounds=30), "registry", SURGEON).decision.allowed
    decision = home.gate.admit(ask(home, rounds=60), "registry", NURSE).decision
    assert accountant(decision) == {"accountant.organization_cap"}
    assert home.gate.check(ask(home, rounds=60), "registry", ALICE).allowed


def test_cap_and_budget_are_both_said(home: Home) -> None:
    home.ledger.cap("registry", "researcher", "*", Decimal("4.5"), by="owner")
    decision = home.gate.check(ask(home, rounds=5000), "registry", NURSE)
    assert accountant(decision) == {"accountant.researcher_cap", "accountant.budget_exceeded"}


@pytest.mark.parametrize("cap", ["4", "4.2", "5"])
def test_what_is_proposed_under_a_cap_is_allowed(home: Home, cap: str) -> None:
    home.ledger.cap("registry", "researcher", "alice", Decimal(cap), by="owner")
    decision = home.gate.check(ask(home, rounds=900), "registry", ALICE)
    assert "accountant.researcher_cap" in accountant(decision)
    assert decision.counter_proposals
    for proposal in decision.counter_proposals:
        again = home.gate.check(parse_request(home, proposal.request), "registry", ALICE)
        assert again.allowed, proposal.changes


def test_a_shared_budget_that_refuses_is_named(home: Home, tmp_path: Path) -> None:
    share(home, tmp_path, "visits", "registry", epsilon="100")
    request = ask(home, dataset="visits", rounds=900, clients_per_round=20)
    decision = home.gate.admit(request, "visits", ALICE).decision
    assert accountant(decision) == {"accountant.budget_exceeded"}
    assert "shared budget 'registry'" in decision.reasons[0].message
    for proposal in decision.counter_proposals:
        again = home.gate.check(parse_request(home, proposal.request), "visits", ALICE)
        assert again.allowed, proposal.changes
    assert decision.counter_proposals
    assert home.ledger.verify().ok, home.ledger.verify().faults


def test_an_allowed_request_is_charged_to_all_its_budgets(home: Home, tmp_path: Path) -> None:
    share(home, tmp_path, "visits", "registry", epsilon="100")
    request = ask(home, dataset="visits", rounds=5, clients_per_round=10)
    assert home.gate.admit(request, "visits", ALICE).decision.allowed
    for budget in home.ledger.dataset("visits").budgets:
        assert not budget.reserved.is_zero()
    assert home.ledger.verify().ok, home.ledger.verify().faults


def test_a_new_version_keeps_what_was_spent(home: Home, tmp_path: Path) -> None:
    run_id = home.gate.admit(ask(home), "registry", ALICE).run_id
    assert run_id is not None
    home.ledger.progress(run_id, rounds_started=10, evaluation_started=True)
    home.ledger.settle(run_id, status="completed")
    spent = home.ledger.dataset("registry").budget().spent
    data = tmp_path / "more.csv"
    write_demo_csv(data, people=350)
    schema = schema_from_flags(unit=DEMO_UNIT, features=DEMO_FEATURES, label=DEMO_LABEL)
    record = home.update("registry", data, schema, by="owner")
    assert record.population == 350
    assert record.budget().spent == spent > 0
    assert home.gate.admit(ask(home), "registry", ALICE).decision.allowed
    assert home.ledger.verify().ok, home.ledger.verify().faults


def test_a_changed_policy_of_the_operator_is_in_the_log(tmp_path: Path) -> None:
    with make_home(tmp_path) as home:
        home.gate.admit(ask(home), "registry", ALICE)
        home.gate.admit(ask(home), "registry", ALICE)
        found = [entry.body for entry in home.ledger.entries(kind="node.policy")]
        assert found == [{"bundle": home.node_bundle.digest, "previous": None}]
