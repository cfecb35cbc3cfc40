"""`sytff request check`: decisions, what they cost, and requests that would be accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Sytff
from tests.cli.conftest import REQUEST, write_request
from tests.support import LOGISTIC

CHECK = ("request", "check", "request.json")


def check(sytff: Sytff, code: int, *arguments: str, **changes: Any) -> Any:
    """The decision on `REQUEST` with changes."""
    write_request(Path("request.json"), **changes)
    result = sytff(*CHECK, "--json", *arguments)
    assert result.code == code, result
    return result.document


def test_an_allowed_request_has_the_documented_shape(sytff: Sytff, node: Path) -> None:
    decision = check(sytff, 0)
    assert set(decision) == {
        "decision",
        "decision_id",
        "dataset",
        "request_digest",
        "reasons",
        "warnings",
        "counter_proposals",
        "cost",
        "budget",
        "engine",
        "accountant",
        "bundles",
    }
    assert decision["decision"] == "allow"
    assert decision["reasons"] == []
    assert decision["counter_proposals"] == []
    assert set(decision["cost"]) == {"epsilon", "charge", "delta"}
    assert 0 < decision["cost"]["epsilon"] < 8
    assert decision["budget"] == {
        "epsilon": 8,
        "delta": 1e-05,
        "spent": 0,
        "reserved": 0,
        "remaining": 8,
    }


def test_text_says_what_it_would_leave(sytff: Sytff, node: Path) -> None:
    write_request(Path("request.json"))
    result = sytff(*CHECK)
    assert result.out.startswith("Allowed: epsilon ")
    charge = sytff(*CHECK, "--json").document["cost"]["charge"]
    assert f"It would leave {8 - charge:.4g} of the budget." in result.out
    assert "Nothing was spent or recorded" in result.out


def test_a_check_leaves_the_ledger_as_it_was(sytff: Sytff, node: Path) -> None:
    before = sytff.json("ledger", "list")
    check(sytff, 0)
    check(sytff, 3, noise_multiplier=0.1)
    assert sytff.json("ledger", "list") == before


def test_a_denied_request_gives_every_reason_and_proposals(sytff: Sytff, node: Path) -> None:
    decision = check(sytff, 3, noise_multiplier=0.29, rounds=10_001)
    assert decision["decision"] == "deny"
    codes = {reason["code"] for reason in decision["reasons"]}
    assert codes == {"dataset.noise", "dataset.rounds", "accountant.budget_exceeded"}
    for reason in decision["reasons"]:
        assert set(reason) == {"code", "source", "field", "limit", "actual", "message"}
        assert reason["message"]
    assert decision["counter_proposals"]
    for proposal in decision["counter_proposals"]:
        assert set(proposal) == {"request", "changes", "cost"}
        for name, change in proposal["changes"].items():
            assert set(change) == {"from", "to"}, name


def test_text_of_a_denial_is_for_people(sytff: Sytff, node: Path) -> None:
    write_request(Path("request.json"), noise_multiplier=0.1)
    result = sytff(*CHECK)
    assert result.code == 3
    assert result.out.startswith("Denied: epsilon ")
    assert "noise_multiplier must be at least 0.3" in result.out
    assert "dataset.noise" in result.out
    assert "Would be allowed now" in result.out
    assert "noise_multiplier 0.1 -> " in result.out


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_multiplier": 0.1},
        {"rounds": 9999},
        {"clients_per_round": 300, "rounds": 500},
        {"noise_multiplier": 0},
    ],
    ids=str,
)
def test_saved_proposals_are_allowed_unchanged(
    changes: dict[str, Any], sytff: Sytff, node: Path
) -> None:
    decision = check(sytff, 3, "--save-proposals", "instead", **changes)
    files = decision["proposal_files"]
    assert len(files) == len(decision["counter_proposals"]) >= 1
    assert sorted(str(path) for path in Path("instead").iterdir()) == sorted(files)
    for file, proposal in zip(files, decision["counter_proposals"], strict=True):
        assert json.loads(Path(file).read_text()) == proposal["request"]
        again = sytff("request", "check", file, "--json")
        assert again.code == 0
        assert again.document["cost"]["charge"] == proposal["cost"]["charge"]


def test_a_printed_proposal_is_allowed_from_standard_input(sytff: Sytff, node: Path) -> None:
    decision = check(sytff, 3, noise_multiplier=0.1)
    sent = json.dumps(decision["counter_proposals"][0]["request"]).encode()
    assert sytff("request", "check", "-", stdin=sent).code == 0


def test_a_whole_proposal_is_told_from_its_request(sytff: Sytff, node: Path) -> None:
    decision = check(sytff, 3, noise_multiplier=0.1)
    sent = json.dumps(decision["counter_proposals"][0]).encode()
    assert "Send its `request` alone" in sytff.refused("request", "check", "-", stdin=sent)


def test_proposals_are_saved_to_a_new_folder_alone(sytff: Sytff, node: Path) -> None:
    assert check(sytff, 0, "--save-proposals", "instead")["proposal_files"] == []
    assert not Path("instead").exists()
    write_request(Path("request.json"), noise_multiplier=0.1)
    said = sytff.refused(*CHECK, "--save-proposals", str(node))
    assert "--save-proposals: is not an empty folder" in said


def test_text_lists_the_saved_proposals(sytff: Sytff, node: Path) -> None:
    write_request(Path("request.json"), noise_multiplier=0.1)
    assert "\n  instead/1.json" in sytff(*CHECK, "--save-proposals", "instead").out


def test_a_review_waits(sytff: Sytff, node: Path) -> None:
    sytff.json("policy", "new", "mine", "--template", "health_registry")
    data = Path("mine/data.json")
    data.write_text(data.read_text().replace("5.5", "0.5"))
    tests = Path("mine/policy_test.rego")
    tests.write_text(
        "package sytff.dataset_test\n\n"
        "test_no_input_is_denied if count(data.sytff.dataset.deny) > 0 with input as {}\n"
    )
    sytff.json("policy", "activate", "registry", "mine")
    decision = check(sytff, 4)
    assert decision["decision"] == "review"
    assert [reason["code"] for reason in decision["reasons"]] == ["dataset.review_epsilon"]
    assert sytff(*CHECK).out.startswith("Waits for the owner's review")


def test_who_asks_is_told_by_option_or_environment(
    sytff: Sytff, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sytff.json("policy", "new", "mine")
    data = Path("mine/data.json")
    data.write_text(
        data.read_text().replace('"blocked_researchers": []', '"blocked_researchers": ["eve"]')
    )
    sytff.json("policy", "activate", "registry", "mine")
    assert check(sytff, 3, "--researcher", "eve")["reasons"][0]["code"] == "dataset.blocked"
    assert check(sytff, 0, "--researcher", "ada")["reasons"] == []
    monkeypatch.setenv("SYTFF_RESEARCHER", "eve")
    assert check(sytff, 3)["reasons"][0]["code"] == "dataset.blocked"
    assert check(sytff, 0, "--researcher", "ada")["reasons"] == []


def test_roles(sytff: Sytff, node: Path) -> None:
    guest = check(sytff, 3, "--role", "guest")
    assert [reason["code"] for reason in guest["reasons"]] == ["node.researcher_role"]
    assert guest["counter_proposals"] == []
    check(sytff, 0, "--role", "guest", "--role", "researcher")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--researcher", ""),
        ("--researcher", "a" * 201),
        ("--researcher", "a\nb"),
        ("--role", ""),
    ],
    ids=repr,
)
def test_names_that_nobody_has(
    arguments: tuple[str, str], sytff: Sytff, node: Path, request_file: Path
) -> None:
    assert "--researcher: " in sytff.refused(*CHECK, *arguments)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rounds": 0}, "rounds: input should be greater than or equal to 1 (got 0)"),
        ({"rounds": "10"}, "rounds: input should be a valid integer (got '10')"),
        ({"rounds": True}, "rounds: input should be a valid integer (got True)"),
        ({"rounds": 2.5}, "rounds"),
        ({"rounds": None}, "rounds"),
        ({"rounds": 10**30}, "accepted: <= 1000000"),
        ({"clients_per_round": -5}, "clients_per_round"),
        ({"noise_multiplier": -0.5}, "noise_multiplier"),
        ({"noise_multiplier": 10**50}, "noise_multiplier"),
        ({"noise_multiplier": []}, "noise_multiplier"),
        ({"colour": "red"}, "colour: unknown field (got 'red'). Remove it, or check its spelling."),
        ({"clipping": {"kind": "none"}}, "clipping"),
        ({"clipping": {"kind": "fixed", "norm": 0}}, "norm"),
        ({"evaluation": {"holdout": 1}}, "evaluation.holdout"),
        ({"purpose": "x" * 501}, "purpose"),
        ({"purpose": "a\x1bb"}, "purpose: control characters"),
        ({"model": {"layers": []}}, "model.inputs: required field is missing"),
        ({"model": 5}, "model"),
        ({"dataset": "nope"}, "no dataset named 'nope'; there is: registry"),
        ({"dataset": 5}, "dataset"),
        ({"dataset": ["registry"]}, "dataset"),
        ({"dataset": None}, "dataset"),
        ({"train_data_id": "other"}, "train_data_id"),
        ({"loss": "mean_squared_error"}, "loss: does not fit the label"),
        ({"model": {**LOGISTIC, "inputs": [{"name": "features", "shape": [7]}]}}, "model"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_request_names_the_field(
    changes: dict[str, Any], expected: str, sytff: Sytff, node: Path
) -> None:
    write_request(Path("request.json"), **changes)
    said = sytff.refused(*CHECK)
    assert expected in said
    assert len(said) < 1000


def test_all_that_is_wrong_is_said_at_once(sytff: Sytff, node: Path) -> None:
    write_request(Path("request.json"), rounds=0, noise_multiplier="much", colour="red")
    said = sytff.refused(*CHECK)
    for name in ("rounds", "noise_multiplier", "colour"):
        assert f"request.json: {name}: " in said
    assert len(sytff(*CHECK, "--json").document["errors"]) == 3


def test_without_a_dataset_the_ids_are_asked_for(sytff: Sytff, node: Path) -> None:
    document = {key: value for key, value in REQUEST.items() if key != "dataset"}
    Path("request.json").write_text(json.dumps(document))
    said = sytff.refused(*CHECK)
    assert "train_data_id" in said
    assert "label_data_id" in said


def test_ids_stand_for_the_dataset(sytff: Sytff, node: Path) -> None:
    features, label = sytff.json("dataset", "show", "registry")["assets"]
    document = {key: value for key, value in REQUEST.items() if key != "dataset"}
    document |= {"train_data_id": features["id"], "label_data_id": label["id"]}
    Path("request.json").write_text(json.dumps(document))
    assert sytff(*CHECK).code == 0
    document["label_data_id"] = features["id"]
    Path("request.json").write_text(json.dumps(document))
    assert "label_data_id: is not the label of dataset 'registry'" in sytff.refused(*CHECK)
    document["train_data_id"] = "unknown"
    Path("request.json").write_text(json.dumps(document))
    assert "unknown" in sytff.refused(*CHECK)
