"""The commands of owners and auditors that this area adds: share, update, cap, verify, upgrade."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.cli.app import run
from sytff_policy.datasets.generate import (
    DEMO_FEATURES,
    DEMO_LABEL,
    DEMO_UNIT,
    write_demo_csv,
)

COLUMNS = ["--unit", DEMO_UNIT, "--features", DEMO_FEATURES, "--label", DEMO_LABEL]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "node"
    monkeypatch.setenv("SYTFF_HOME", str(folder))
    assert run(["init", str(folder)]) == 0
    write_demo_csv(tmp_path / "registry.csv", people=300)
    data = ["--data", str(tmp_path / "registry.csv"), *COLUMNS]
    budget = ["--epsilon", "8", "--delta", "1e-5", "--order", "4"]
    assert run(["dataset", "register", "registry", *data, *budget]) == 0
    return folder


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_dataset_is_registered_on_anothers_budget(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_demo_csv(tmp_path / "visits.csv", people=200)
    data = ["--data", str(tmp_path / "visits.csv"), *COLUMNS]
    shared = answer(
        capsys, "dataset", "register", "visits", *data, "--share-budget-with", "registry"
    )
    assert [budget["name"] for budget in shared["budgets"]] == ["registry"]
    assert shared["budget"]["epsilon"] == 8
    assert answer(capsys, "ledger", "verify")["verified"]


def test_a_dataset_without_a_budget_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "registry.csv"), *COLUMNS]
    answer(capsys, "dataset", "register", "free", *data, code=2)
    answer(capsys, "dataset", "register", "free", *data, "--epsilon", "3", code=2)
    answer(capsys, "dataset", "register", "free", *data, "--share-budget-with", "nothing", code=2)


def test_a_dataset_is_updated_and_keeps_its_budget(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = answer(capsys, "dataset", "show", "registry")
    write_demo_csv(tmp_path / "more.csv", people=350)
    data = ["--data", str(tmp_path / "more.csv"), *COLUMNS]
    after = answer(capsys, "dataset", "update", "registry", *data)
    assert after["population"] == 350
    assert after["version"] != before["version"]
    assert (after["filter"], after["policy"]) == (before["filter"], before["policy"])
    answer(capsys, "dataset", "update", "registry", *data, code=2)


@pytest.mark.parametrize("who", [["--researcher", "alice"], ["--organization", "clinic"]])
def test_a_cap_is_set_and_taken_away(
    home: Path, who: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "dataset", "cap", "registry", *who, "--epsilon", "5")
    assert found["budget"] == "registry"
    assert found["epsilon"] == "5"
    answer(capsys, "dataset", "cap", "registry", *who, "--remove")
    answer(capsys, "dataset", "cap", "registry", *who, "--remove", code=2)
    answer(capsys, "dataset", "cap", "registry", *who, "--epsilon", "0.1", code=2)
    answer(capsys, "dataset", "cap", "registry", *who, code=2)
    answer(capsys, "dataset", "cap", "registry", "--epsilon", "5", code=2)
    assert answer(capsys, "ledger", "verify")["verified"]


def test_an_export_that_was_edited_is_refused_with_its_first_fault_and_all(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "export.jsonl"
    assert run(["ledger", "export", str(file)]) == 0
    assert run(["ledger", "verify", str(file)]) == 0
    content = file.read_bytes().splitlines(keepends=True)
    content[2] = content[2].replace(b'"population":300', b'"population":301')
    content[3] = content[3].replace(b'"kind"', b'"kinD"')
    file.write_bytes(b"".join(content))
    report = answer(capsys, "ledger", "verify", str(file), code=5)
    assert not report["verified"]
    assert report["first"]["seq"] in (2, 3)
    assert report["first"] == report["faults"][0]
    assert run(["ledger", "verify", str(file)]) == 5
    said = capsys.readouterr().out
    assert "first fault: entry" in said
    assert said.count("[verify.") >= 2


def test_a_book_that_was_edited_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = sqlite3.connect(home / "ledger.db")
    connection.execute("UPDATE datasets SET population = 9")
    connection.commit()
    connection.close()
    report = answer(capsys, "ledger", "verify", code=5)
    assert [fault["code"] for fault in report["faults"]] == ["verify.book"]


def test_tight_epsilons_are_added_on_request(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = answer(capsys, "ledger", "verify", "--recompute", "pld")
    assert report["tight"] == {"registry": 0.0}
    answer(capsys, "ledger", "verify", "--recompute", "magic", code=2)


def test_an_upgrade_of_a_ledger_of_this_release_changes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (home / "node.json").read_text()
    assert run(["ledger", "upgrade"]) == 0
    assert answer(capsys, "ledger", "verify")["verified"]
    assert (home / "node.json").read_text() == before
