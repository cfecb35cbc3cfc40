"""`sytff demo` tells the whole story, with numbers that are true."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sytff_policy.cli.app import run
from sytff_policy.home import Home

pytestmark = [pytest.mark.tff, pytest.mark.slow]


def test_the_whole_story(tmp_path: Path) -> None:
    place = tmp_path / "node"
    command = [sys.executable, "-m", "sytff_policy.cli", "demo", "--json", "--people", "3000"]
    # Into files: TFF's worker would hold a pipe open.
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        ended = subprocess.run(
            [*command, "--home", str(place)], stdout=out, stderr=err, check=False
        )
    assert ended.returncode == 0, (tmp_path / "err").read_text()
    story = json.loads((tmp_path / "out").read_text())

    announcement = story["announcement"]
    assert announcement["decision"] == "deny"
    assert announcement["cost"]["epsilon"] == pytest.approx(2267, abs=1)
    assert announcement["counter_proposals"]

    proposal = announcement["counter_proposals"][0]
    training = story["training"]
    assert training["budget"]["spent"] == proposal["cost"]["charge"]
    assert training["metrics"]["accuracy"] > story["majority_baseline"] > 0.5

    codes = {reason["code"] for reason in story["second_request"]["reasons"]}
    assert "accountant.budget_exceeded" in codes

    assert story["ledger"]["verified"] is True
    assert story["ledger"]["altered"]["faults"][0]["code"] == "verify.hash"
    with Home(place) as home:
        assert home.ledger.verify().ok
        assert [entry.kind for entry in home.ledger.entries()].count("release") == 1


def test_a_folder_that_is_in_use_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").write_text("x")
    assert run(["demo", "--home", str(tmp_path)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
