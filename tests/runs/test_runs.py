"""Runs from start to end, and runs that are cut short. Real processes, real TFF."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from sytff_policy.home import Home, RequestDenied
from sytff_policy.runs.supervisor import Progress, RunFailed
from tests.runs.processes import alive, runners, wait_until, workers_of
from tests.support import ALICE, ask, make_home

pytestmark = [pytest.mark.tff, pytest.mark.slow]

LONG = {"rounds": 2000, "clients_per_round": 20, "noise_multiplier": 6.0}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = make_home(tmp_path)
    yield made
    made.close()


def run_kinds(home: Home, run_id: str) -> list[str]:
    return [entry.kind for entry in home.ledger.entries(subject=run_id)]


def test_a_run_trains_settles_and_releases(home: Home) -> None:
    seen: list[Progress] = []
    decisions: list[Any] = []
    request = ask(home, rounds=5)
    result = home.submit(request, ALICE, on_progress=seen.append, on_decision=decisions.append)
    assert {name: value.shape for name, value in result.weights.items()} == {
        "out/kernel": (6, 1),
        "out/bias": (1,),
    }
    assert set(result.metrics) == {
        "accuracy",
        "accuracy_sampling_stderr",
        "accuracy_stderr",
        "confusion/0/0",
        "confusion/0/1",
        "confusion/1/0",
        "confusion/1/1",
        "confusion_stderr",
        "loss",
        "loss_sampling_stderr",
        "loss_stderr",
        "units",
    }
    assert [p.rounds_done for p in seen if p.stage == "training"] == [0, 1, 2, 3, 4, 5]
    budget = home.ledger.dataset("registry").budget()
    assert budget.spent == decisions[0].cost.charge
    assert budget.reserved == 0
    kinds = run_kinds(home, result.run_id)
    assert kinds[0] == "reservation"
    assert kinds[-2:] == ["settlement", "release"]
    assert set(kinds[1:-2]) == {"progress"}
    release = next(home.ledger.entries(kind="release"))
    assert release.body["results"] == result.digests
    stored = load_file(result.folder / "weights.safetensors")
    np.testing.assert_array_equal(stored["out/bias"], result.weights["out/bias"])
    assert home.ledger.verify().ok
    assert runners(home.folder) == []


def test_adaptive_clipping_without_evaluation(home: Home) -> None:
    request = ask(home, clipping={"kind": "adaptive"}, evaluation=None, rounds=3)
    result = home.submit(request, ALICE)
    assert result.metrics == {}
    assert home.ledger.verify().ok


def _in_background(home: Home, fields: dict[str, Any]) -> tuple[threading.Thread, list[Any]]:
    outcome: list[Any] = []

    def target() -> None:
        try:
            outcome.append(home.submit(ask(home, **fields), ALICE))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    return thread, outcome


def _rounds_started(home: Home) -> int:
    runs = home.ledger.open_runs()
    return runs[0].rounds_started if runs else 0


def test_kill_9_of_the_runner_leaves_no_worker_and_spent_rounds_stay_spent(home: Home) -> None:
    thread, outcome = _in_background(home, LONG)
    wait_until(lambda: _rounds_started(home) >= 3)
    [runner] = runners(home.folder)
    workers = workers_of(runner)
    assert len(workers) == 1
    os.kill(runner, signal.SIGKILL)
    thread.join(60)
    assert isinstance(outcome[0], RunFailed)
    assert outcome[0].code == "run.died"
    assert outcome[0].rounds_spent >= 3
    wait_until(lambda: not any(map(alive, workers)))
    record = home.ledger.dataset("registry")
    assert record.spent.values[0] > 0
    assert record.reserved.is_zero()
    assert home.ledger.verify().ok
    assert "release" not in run_kinds(home, outcome[0].run_id)
    assert home.submit(ask(home, rounds=2), ALICE).metrics


def test_kill_9_of_the_worker_fails_the_run_with_a_fixed_code(home: Home) -> None:
    thread, outcome = _in_background(home, LONG)
    wait_until(lambda: _rounds_started(home) >= 2)
    [runner] = runners(home.folder)
    os.kill(workers_of(runner)[0], signal.SIGKILL)
    thread.join(120)
    assert isinstance(outcome[0], RunFailed)
    assert outcome[0].code == "run.failed"
    assert home.ledger.verify().ok


def test_a_run_beyond_its_time_is_ended_and_settled(home: Home) -> None:
    with pytest.raises(RunFailed) as caught:
        home.submit(ask(home, **LONG), ALICE, timeout=1.0)
    assert caught.value.code == "run.timeout"
    assert runners(home.folder) == []
    assert home.ledger.dataset("registry").reserved.is_zero()
    assert home.ledger.verify().ok


def test_rows_that_cannot_be_read_fail_the_run_and_cost_nothing(home: Home) -> None:
    folder = home.store.folder(home.ledger.dataset("registry").version)
    folder.rename(folder.with_suffix(".away"))
    with pytest.raises(RunFailed) as caught:
        home.submit(ask(home), ALICE)
    assert caught.value.code == "run.dataset_unreadable"
    assert home.ledger.dataset("registry").budget().remaining == 8
    assert home.ledger.verify().ok


def test_an_error_in_the_progress_callback_cancels_the_run(home: Home) -> None:
    def impatient(progress: Progress) -> None:
        if progress.rounds_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        home.submit(ask(home, **LONG), ALICE, on_progress=impatient)
    settlement = next(home.ledger.entries(kind="settlement"))
    assert (settlement.body["status"], settlement.body["code"]) == ("cancelled", "run.cancelled")
    assert runners(home.folder) == []


def test_kill_9_of_the_whole_command_is_settled_by_whoever_comes_next(
    home: Home, tmp_path: Path
) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps(ask(home, **LONG).to_json()))
    command = [sys.executable, "-m", "sytff_policy.cli", "train", str(request)]
    command += ["--home", str(home.folder), "--out", str(tmp_path / "out")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    wait_until(lambda: _rounds_started(home) >= 3)
    [runner] = runners(home.folder)
    workers = workers_of(runner)
    process.kill()
    process.wait()
    wait_until(lambda: not alive(runner) and not any(map(alive, workers)))
    assert len(home.ledger.open_runs()) == 1
    with Home(home.folder) as next_one:
        assert next_one.ledger.open_runs() == []
        settlement = list(next_one.ledger.entries(kind="settlement"))[-1]
        assert settlement.body["code"] == "run.interrupted"
        assert next_one.ledger.dataset("registry").spent.values[0] > 0
        assert next_one.ledger.verify().ok


def test_a_run_in_progress_is_not_taken_for_a_dead_one(home: Home) -> None:
    thread, outcome = _in_background(home, LONG)
    wait_until(lambda: _rounds_started(home) >= 1)
    with Home(home.folder) as second:
        assert len(second.ledger.open_runs()) == 1
    os.kill(runners(home.folder)[0], signal.SIGKILL)
    thread.join(60)
    assert outcome[0].code == "run.died"


def test_a_run_that_is_just_being_reserved_is_not_taken_for_a_dead_one(home: Home) -> None:
    """Somebody opens the node between the reservation and the start of the runner."""

    def somebody_comes(_: Any) -> None:
        with Home(home.folder) as second:
            assert len(second.ledger.open_runs()) == 1

    assert home.submit(ask(home, rounds=2), ALICE, on_decision=somebody_comes).metrics


def test_a_denied_request_leaves_no_folder_of_a_run(home: Home) -> None:
    with pytest.raises(RequestDenied):
        home.submit(ask(home, noise_multiplier=0.1), ALICE)
    assert list(home.runs_dir.iterdir()) == []


def test_the_worker_is_reachable_by_nobody_else(home: Home) -> None:
    """It listens in a network namespace of its own, without any route or other interface."""
    thread, _ = _in_background(home, LONG)
    wait_until(lambda: _rounds_started(home) >= 1)
    [runner] = runners(home.folder)
    [worker] = workers_of(runner)
    ours = os.readlink("/proc/self/ns/net")
    assert os.readlink(f"/proc/{worker}/ns/net") == os.readlink(f"/proc/{runner}/ns/net") != ours
    interfaces = Path(f"/proc/{worker}/net/dev").read_text().splitlines()[2:]
    names = {line.split(":")[0].strip() for line in interfaces if ":" in line}
    assert "eth0" not in names
    routes = Path(f"/proc/{worker}/net/route").read_text().splitlines()[1:]
    assert routes == []
    os.kill(runner, signal.SIGKILL)
    thread.join(60)


def test_what_a_researcher_gets_has_the_same_form_for_neighbouring_datasets(
    tmp_path: Path,
) -> None:
    forms = []
    for people in (200, 201):
        folder = tmp_path / str(people)
        folder.mkdir()
        with make_home(folder, people=people) as home:
            result = home.submit(ask(home, rounds=2), ALICE)
            forms.append(
                (
                    {name: (value.shape, value.dtype) for name, value in result.weights.items()},
                    sorted(result.metrics),
                    sorted(result.digests),
                    sorted(path.name for path in result.folder.iterdir()),
                    run_kinds(home, result.run_id)[-2:],
                )
            )
    assert forms[0] == forms[1]
