"""Runs that go on after a crash: within their reservation, with every attempted round spent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.home import Home
from sytff_policy.runs.supervisor import NotResumable, Progress, RunFailed
from tests.runs.processes import alive, runners, wait_until
from tests.support import ALICE, ask, make_home

pytestmark = [pytest.mark.tff, pytest.mark.slow]

FIELDS = {"rounds": 400, "clients_per_round": 20, "noise_multiplier": 4.0}
DRIVER = """
import json, sys
from pathlib import Path
import sytff_policy.home as home
home.CHECKPOINT_SECONDS = 0.0
with home.Home(Path(sys.argv[1])) as node:
    request = home.parse_request(node, json.loads(Path(sys.argv[2]).read_text()))
    node.submit(request, home.Researcher(id="alice"))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setattr("sytff_policy.home.CHECKPOINT_SECONDS", 0.0)
    made = make_home(tmp_path)
    yield made
    made.close()


def rounds_started(home: Home) -> int:
    return max((run.rounds_started for run in home.ledger.open_runs()), default=0)


def test_kill_9_of_the_runner_and_the_next_attempt_finishes_what_is_reserved(home: Home) -> None:
    seen: list[Progress] = []
    killed: list[int] = []

    def crash(progress: Progress) -> None:
        seen.append(progress)
        if progress.rounds_done == 20 and not killed:
            killed.extend(runners(home.folder))
            os.kill(killed[0], signal.SIGKILL)

    decisions: list[Any] = []
    request = ask(home, **FIELDS)
    result = home.submit(
        request, ALICE, attempts=2, on_progress=crash, on_decision=decisions.append
    )
    assert len(killed) == 1
    again = [index for index, p in enumerate(seen) if p.stage == "starting"][1]
    first = [p.rounds_done for p in seen[:again]]
    later = [p.rounds_done for p in seen[again:] if p.stage == "training"][1:]
    # The second attempt has what the first was not granted: no round of the reservation twice.
    assert later == list(range(later[0], 401))
    assert later[0] > first[-1]
    # It went on from the last round that was reported, or later.
    assert first[-1] + len(later) <= result.rounds_trained <= 400
    [settlement] = home.ledger.entries(kind="settlement", subject=result.run_id)
    assert settlement.body["status"] == "completed"
    assert home.ledger.dataset("registry").budget().spent == decisions[0].cost.charge
    assert home.ledger.verify().ok
    assert not (result.folder.parent / "checkpoint.safetensors").exists()
    assert runners(home.folder) == []


@pytest.fixture
def abandoned(home: Home, tmp_path: Path) -> str:
    """A run whose whole command was killed, with a checkpoint."""
    request = tmp_path / "request.json"
    request.write_text(json.dumps(ask(home, **FIELDS).to_json()))
    command = [sys.executable, "-c", DRIVER, str(home.folder), str(request)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    wait_until(lambda: rounds_started(home) >= 10)
    [runner] = runners(home.folder)
    [run] = home.ledger.open_runs()
    wait_until(lambda: (home.runs_dir / run.run_id / "checkpoint.safetensors").is_file())
    process.kill()
    process.wait()
    wait_until(lambda: not alive(runner))
    return run.run_id


def test_kill_9_of_the_whole_command_and_somebody_goes_on_with_the_run(
    home: Home, abandoned: str
) -> None:
    checkpoint = home.runs_dir / abandoned / "checkpoint.safetensors"
    assert checkpoint.stat().st_mode & 0o777 == 0o600
    started = rounds_started(home)
    with Home(home.folder, keep_runs=frozenset({abandoned})) as next_one:
        result = next_one.resume(abandoned)
        assert result.metrics
        assert 400 - started < result.rounds_trained <= 400
        [settlement] = next_one.ledger.entries(kind="settlement", subject=abandoned)
        assert settlement.body["charge"] == settlement.body["reserved_charge"]
        assert next_one.ledger.verify().ok
        with pytest.raises(NotResumable, match="released already"):
            next_one.resume(abandoned)


def test_a_job_that_was_altered_is_not_resumed(home: Home, abandoned: str) -> None:
    job_file = home.runs_dir / abandoned / "job.json"
    job = json.loads(job_file.read_text())
    for field, value in [
        ("noise_multiplier", 0.1),
        ("rounds", 4000),
        ("clients_per_round", 200),
        ("population", 10**6),
        ("evaluation", None),
        ("dataset_version", "hmac-sha256:" + "0" * 64),
        ("run_id", "run-other"),
    ]:
        job_file.write_text(json.dumps({**job, field: value}))
        with pytest.raises(NotResumable, match="not the one that was admitted"):
            home.resume(abandoned)
    job_file.write_text("{}")
    with pytest.raises(NotResumable, match="cannot be read"):
        home.resume(abandoned)
    # A job that differs in what the ledger does not bind meets the checkpoint's own check.
    job_file.write_text(json.dumps({**job, "batch_size": 1}))
    with pytest.raises(RunFailed) as caught:
        home.resume(abandoned)
    assert caught.value.code == "run.checkpoint_unreadable"
    assert home.ledger.open_runs() == []
    assert home.ledger.verify().ok


def test_without_being_asked_to_keep_it_an_abandoned_run_is_settled(
    home: Home, abandoned: str
) -> None:
    with Home(home.folder) as next_one:
        assert next_one.ledger.open_runs() == []
        with pytest.raises(NotResumable, match="settled already"):
            next_one.resume(abandoned)
