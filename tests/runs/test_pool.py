"""Warm runners: used once, replaced whatever happened to them, and gone when the pool closes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.home import Home
from sytff_policy.runs.pool import RunnerPool
from sytff_policy.runs.process import group_members
from sytff_policy.runs.supervisor import Progress, RunFailed
from tests.runs.processes import alive, wait_until
from tests.support import ALICE, ask, make_home

pytestmark = [pytest.mark.tff, pytest.mark.slow]

LONG = {"rounds": 2000, "clients_per_round": 20, "noise_multiplier": 6.0}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerPool]:
    with RunnerPool(tmp_path_factory.mktemp("pool")) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = make_home(tmp_path)
    yield made
    made.close()


@pytest.fixture
def warm(pool: RunnerPool) -> int:
    """Process id of the runner that the next job gets."""
    assert pool.wait_until_warm(200)
    return pool.warm[0]


def assert_replaced(pool: RunnerPool, used: int, members: list[int]) -> None:
    assert pool.wait_until_warm(200)
    assert pool.warm != [used]
    assert len(pool.warm) == 1
    assert not any(map(alive, members))


def test_a_job_runs_in_the_warm_runner_and_the_runner_is_used_once(
    pool: RunnerPool, warm: int, home: Home
) -> None:
    members = group_members(warm)
    assert len(members) == 2
    seen: list[Progress] = []
    result = home.submit(ask(home, rounds=3), ALICE, pool=pool, on_progress=seen.append)
    assert result.metrics
    # It was never starting: it had started before.
    assert [progress.stage for progress in seen][:2] == ["training", "training"]
    assert home.ledger.verify().ok
    assert (result.folder.parent / "runner.log").is_file()
    assert_replaced(pool, warm, members)


def test_a_runner_that_dies_while_it_waits_is_replaced(pool: RunnerPool, warm: int) -> None:
    members = group_members(warm)
    os.kill(warm, signal.SIGKILL)
    wait_until(lambda: pool.warm != [warm])
    assert_replaced(pool, warm, members)


def _fails(home: Home, pool: RunnerPool, code: str, **arguments: Any) -> None:
    with pytest.raises(RunFailed) as caught:
        home.submit(ask(home, **LONG), ALICE, pool=pool, **arguments)
    assert caught.value.code == code
    assert home.ledger.dataset("registry").reserved.is_zero()
    assert home.ledger.verify().ok


def test_after_a_crash_the_run_is_settled_and_the_runner_replaced(
    pool: RunnerPool, warm: int, home: Home
) -> None:
    members = group_members(warm)

    def crash(progress: Progress) -> None:
        if progress.rounds_done == 2:
            os.kill(warm, signal.SIGKILL)

    _fails(home, pool, "run.died", on_progress=crash)
    assert home.ledger.dataset("registry").spent.values[0] > 0
    assert_replaced(pool, warm, members)


def test_beyond_its_memory_a_run_is_ended_before_it_costs_anything(
    pool: RunnerPool, warm: int, home: Home
) -> None:
    members = group_members(warm)
    _fails(home, pool, "run.memory_limit", memory_limit=50 * 2**20)
    assert home.ledger.dataset("registry").spent.is_zero()
    assert_replaced(pool, warm, members)


def test_beyond_its_time_a_run_is_ended(pool: RunnerPool, warm: int, home: Home) -> None:
    members = group_members(warm)
    _fails(home, pool, "run.timeout", timeout=0.2)
    assert_replaced(pool, warm, members)


def test_a_cancelled_run_is_ended(pool: RunnerPool, warm: int, home: Home) -> None:
    members = group_members(warm)

    def cancel(progress: Progress) -> None:
        if progress.rounds_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        home.submit(ask(home, **LONG), ALICE, pool=pool, on_progress=cancel)
    assert next(home.ledger.entries(kind="settlement")).body["code"] == "run.cancelled"
    assert_replaced(pool, warm, members)


def test_while_the_warm_runner_works_another_run_starts_cold(
    pool: RunnerPool, warm: int, home: Home
) -> None:
    started, enough = threading.Event(), threading.Event()

    def hold(progress: Progress) -> None:
        if progress.rounds_done == 1:
            started.set()
            assert enough.wait(200)

    first: list[Any] = []

    def work() -> None:
        first.append(home.submit(ask(home, rounds=2), ALICE, pool=pool, on_progress=hold))

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(200)
    seen: list[Progress] = []
    assert home.submit(ask(home, rounds=2), ALICE, pool=pool, on_progress=seen.append).metrics
    assert seen[0].stage == "starting"
    enough.set()
    thread.join(200)
    assert first[0].metrics


def test_a_closed_pool_leaves_nothing_behind(tmp_path: Path) -> None:
    pool = RunnerPool(tmp_path / "pool", size=2)
    assert pool.wait_until_warm(250)
    members = [pid for warm in pool.warm for pid in group_members(warm)]
    assert len(members) == 4
    pool.close()
    assert not any(map(alive, members))
    assert list((tmp_path / "pool").iterdir()) == []
    assert pool.take(timeout=0.0) is None


def test_runners_that_cannot_start_leave_their_log_and_are_not_started_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sytff_policy.runs.process.sys.executable", "/bin/false")
    with RunnerPool(tmp_path / "pool") as pool:
        wait_until(lambda: len(list((tmp_path / "pool").iterdir())) >= 1)
        assert pool.take(timeout=0.5) is None
        assert len(list((tmp_path / "pool").iterdir())) == 1
