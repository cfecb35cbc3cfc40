"""`sytff budget`: what is left, what filters admit, and grants."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.command import Sytff

PLAN = ("budget", "plan", "--epsilon", "8", "--delta", "1e-5", "--population", "6000")
RUN = "rounds=100,clients_per_round=60,noise_multiplier=1"


def test_show(sytff: Sytff, node: Path) -> None:
    document = sytff.json("budget", "show", "registry")
    assert document == {
        "dataset": "registry",
        "filter": {
            "kind": "rdp",
            "neighbouring_relation": "add_or_remove_one",
            "epsilon": "8",
            "delta": "0.00001",
            "order": 4,
        },
        "budget": {"epsilon": 8, "delta": 1e-05, "spent": 0, "reserved": 0, "remaining": 8},
    }
    text = sytff("budget", "show", "registry").out
    assert (
        text == f"registry  [{'.' * 40}] epsilon 8 at delta 0.00001: 0 spent, 0 reserved, 8 left\n"
    )


def test_show_of_an_unknown_dataset(sytff: Sytff, node: Path) -> None:
    assert "no dataset named 'nope'; there is: registry" in sytff.refused("budget", "show", "nope")


def test_a_grant_adds_and_is_recorded(sytff: Sytff, node: Path) -> None:
    document = sytff.json("budget", "grant", "registry", "--epsilon", "0.5")
    assert document["budget"]["epsilon"] == 8.5
    [entry] = sytff.json("ledger", "list", "--kind", "budget.granted")["entries"]
    assert entry["leaf"]["body"]["amount"] == "0.5"
    assert sytff.json("ledger", "verify")["verified"]


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0", "above 0"),
        ("-1", "above 0"),
        ("nan", "finite"),
        ("inf", "finite"),
        ("much", "is not a number"),
        ("1e-10", "out of range"),
        ("100000.5", "accepted: 1e-9 to 100000"),
        ("100000", "at most 100000"),
        ("1e999999999", "out of range"),
    ],
)
def test_a_bad_grant_changes_nothing(amount: str, expected: str, sytff: Sytff, node: Path) -> None:
    said = sytff.refused("budget", "grant", "registry", "--epsilon", amount)
    assert said.startswith("--epsilon: ")
    assert expected in said
    assert sytff.json("budget", "show", "registry")["budget"]["epsilon"] == 8
    assert sytff.json("ledger", "list", "--kind", "budget.granted")["entries"] == []


def test_a_grant_to_an_unknown_dataset(sytff: Sytff, node: Path) -> None:
    assert "there is: registry" in sytff.refused("budget", "grant", "nope", "--epsilon", "1")


def test_a_plan_ranks_every_filter(sytff: Sytff) -> None:
    document = sytff.json(*PLAN, "--expect", RUN)
    assert set(document) == {"workloads", "recommended", "why", "textbook", "choices"}
    assert document["recommended"] in document["choices"]
    assert {choice["filter"]["kind"] for choice in document["choices"]} == {"rdp", "zcdp", "sum"}
    for choice in document["choices"]:
        assert set(choice) == {"filter", "admitted", "epsilon_each", "cost_each", "rounds"}
        assert len(choice["admitted"]) == 1
    best = max(choice["rounds"][0] for choice in document["choices"])
    # An integer order is recommended where no other is better by more than a hundredth.
    assert 0.98 * best <= document["recommended"]["rounds"][0] <= best


def test_registration_plans_the_same_filter(sytff: Sytff, node: Path) -> None:
    expected = "rounds=100,clients_per_round=10,noise_multiplier=1"
    planned = sytff.json(*PLAN[:-1], "300", "--expect", expected)["recommended"]["filter"]
    registered = sytff.json(
        *("dataset", "register", "other", "--data", "registry.csv", "--unit", "person_id"),
        *("--features", "age:20..70", "--label", "visits>1", "--epsilon", "8", "--delta", "1e-5"),
        *("--expect", expected),
    )["filter"]
    assert registered == planned


def test_a_plan_of_several_runs_has_a_column_for_each(sytff: Sytff) -> None:
    other = "rounds=10,clients_per_round=6000,noise_multiplier=8,evaluation_noise=5"
    document = sytff.json(*PLAN, "--expect", RUN, "--expect", other)
    assert all(len(choice["rounds"]) == 2 for choice in document["choices"])
    text = sytff(*PLAN, "--expect", RUN, "--expect", other).out
    assert "Recommended: " in text
    assert "rdp, order" in text


def test_a_plan_says_when_no_run_fits(sytff: Sytff) -> None:
    run = "rounds=1000,clients_per_round=6000,noise_multiplier=1"
    assert "No filter holds one whole run" in sytff(*PLAN, "--expect", run).out


def test_a_plan_needs_no_node_and_takes_home_all_the_same(sytff: Sytff) -> None:
    assert sytff(*PLAN, "--home", "nowhere").code == 0
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"--epsilon": "-1"}, "--epsilon"),
        ({"--epsilon": "1e99"}, "--epsilon: is out of range"),
        ({"--delta": "0.1"}, "--delta: must be below 1 / people = 1/6000"),
        ({"--delta": "2"}, "--delta"),
        ({"--expect": "rounds=1"}, "--expect: lacks clients_per_round"),
        ({"--expect": RUN.replace("60", "6001")}, "accepted: 1 to 6000"),
    ],
    ids=str,
)
def test_a_bad_plan(changes: dict[str, str], expected: str, sytff: Sytff) -> None:
    flags = {"--epsilon": "8", "--delta": "1e-5", "--population": "6000", **changes}
    arguments = [part for flag in flags.items() for part in flag]
    assert expected in sytff.refused("budget", "plan", *arguments)


def test_the_numbers_of_a_budget_add_up_exactly(sytff: Sytff, node: Path) -> None:
    sytff.json("budget", "grant", "registry", "--epsilon", "0.123456789")
    budget = sytff.json("budget", "show", "registry")["budget"]
    parts = [Decimal(repr(budget[key])) for key in ("spent", "reserved", "remaining")]
    assert sum(parts) == Decimal(repr(budget["epsilon"])) == Decimal("8.123456789")
