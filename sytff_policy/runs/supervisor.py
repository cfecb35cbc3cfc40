"""Running an admitted job: one runner process, owned from start to end.

The supervisor starts the runner, records in the ledger that rounds start before they do, relays
progress, ends the process group on every way out, and settles the reservation for what may have
been executed. Only results whose digests and shapes check out are released.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sytff_policy.canonical import digest_bytes
from sytff_policy.ledger import Ledger
from sytff_policy.runs.job import (
    CHECKPOINT_FILE,
    JOB_FILE,
    LOG_FILE,
    METRICS_FILE,
    OUT_FOLDER,
    WEIGHTS_FILE,
    Assignment,
    Done,
    Failed,
    Granted,
    MayStart,
    Ready,
    RoundDone,
    TrainingJob,
)
from sytff_policy.runs.outcomes import (
    FAILURES,
    Limits,
    NotResumable,
    OnProgress,
    Progress,
    RunFailed,
    RunResult,
    RuntimeMissing,
    require_runtime,
)
from sytff_policy.runs.pool import RunnerPool
from sytff_policy.runs.process import Ended, RunnerProcess
from sytff_policy.runs.resuming import lacks, resumable_job

GRANT_SECONDS = 1.0
GRANT_ROUNDS = 64


@contextlib.contextmanager
def claimed(runs_dir: Path, run_id: str) -> Iterator[Path]:
    """The folder of a run, held for as long as its owner lives.

    Claim a run before it is reserved: `recover` settles every reserved run that nobody holds. The
    folder of a run that was never started is removed on leaving.
    """
    folder = runs_dir / run_id
    folder.mkdir(parents=True, mode=0o700)
    with _locked(folder):
        try:
            yield folder
        finally:
            if not (folder / JOB_FILE).exists():
                shutil.rmtree(folder)


def supervise(
    ledger: Ledger,
    job: TrainingJob,
    folder: Path,
    *,
    limits: Limits,
    on_progress: OnProgress | None = None,
    pool: RunnerPool | None = None,
) -> RunResult:
    """Executes an admitted job and settles it, however it ends.

    Args:
      ledger: Where progress and settlement are recorded.
      job: The admitted job; its reservation must exist.
      folder: The run's folder, as from `claimed`.
      limits: Time, memory and attempts.
      on_progress: Called after every round.
      pool: Warm runners; without one, or when all are at work, a cold one is started.

    Raises:
      RunFailed: If it ends without results. The reservation is settled.
    """
    deadline = time.monotonic() + limits.seconds
    try:
        for attempts_left in reversed(range(limits.attempts)):
            attempt = _Attempt(ledger, job, folder, deadline, limits.memory, on_progress, pool)
            try:
                done = attempt.run()
                break
            except Ended as ended:
                if not (attempts_left and ended.code == "run.died" and attempt.may_go_on()):
                    raise
        result = _load(job, folder / OUT_FOLDER, done)
    except Ended as ended:
        raise _settled_failure(ledger, job.run_id, ended.code) from None
    except BaseException:
        _settled_failure(ledger, job.run_id, "run.cancelled")
        raise
    ledger.settle(job.run_id, status="completed")
    ledger.release(job.run_id, dict(result.digests))
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return result


def resume(
    ledger: Ledger,
    runs_dir: Path,
    run_id: str,
    *,
    limits: Limits,
    on_progress: OnProgress | None = None,
    pool: RunnerPool | None = None,
) -> RunResult:
    """Goes on with a run whose supervisor is gone, from its last checkpoint.

    Rounds that may have been executed stay spent, also those after the checkpoint, whose outcome
    is lost; what is executed now is what the reservation still holds. So the total of all
    attempts never exceeds what was admitted, and the resumed model may have been trained for
    fewer rounds (`RunResult.rounds_trained`).

    Raises:
      NotResumable: If the run is settled, somebody executes it, its evaluation may have been
        drawn, nothing is left of its reservation, or its folder is not the admitted one.
      RunFailed: If it ends without results. The reservation is settled.
    """
    run = ledger.run(run_id)
    folder = runs_dir / run_id
    if not (folder / JOB_FILE).is_file():
        raise NotResumable(f"run {run_id} left no job to go on with")
    try:
        with _locked(folder):
            job = resumable_job(ledger, run, folder)
            return supervise(ledger, job, folder, limits=limits, on_progress=on_progress, pool=pool)
    except _Busy:
        raise NotResumable(f"run {run_id} is being executed") from None


def recover(ledger: Ledger, runs_dir: Path, *, keep: frozenset[str] = frozenset()) -> list[str]:
    """Settles runs whose supervisor is gone, for what they may have executed.

    Args:
      ledger: Where they are reserved.
      runs_dir: Their folders.
      keep: Runs that are left as they are, to be resumed.

    Returns:
      The ids of the settled runs.
    """
    settled = []
    for run in ledger.open_runs():
        if run.run_id in keep:
            continue
        folder = runs_dir / run.run_id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with _locked(folder):
                # Looked at again under the lock: its owner may have settled it meanwhile.
                if ledger.run(run.run_id).state == "reserved":
                    ledger.settle(run.run_id, status="failed", code="run.interrupted")
                    settled.append(run.run_id)
        except _Busy:
            continue
    return settled


class _Busy(Exception):
    pass


class _Attempt:
    """One runner process and the conversation with it."""

    def __init__(
        self,
        ledger: Ledger,
        job: TrainingJob,
        folder: Path,
        deadline: float,
        memory_limit: int | None,
        on_progress: OnProgress | None,
        pool: RunnerPool | None,
    ) -> None:
        self._ledger = ledger
        self._job = job
        self._folder = folder
        self._deadline = deadline
        self._memory_limit = memory_limit
        self._on_progress = on_progress or (lambda progress: None)
        self._pool = pool
        self._rounds_before = ledger.run(job.run_id).rounds_started
        self._rounds_done = self._rounds_before
        self._first_round_at = 0.0

    def run(self) -> Done:
        """Has the job executed by one runner; ends its process group after."""
        out = self._folder / OUT_FOLDER
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(mode=0o700)
        (self._folder / JOB_FILE).write_text(self._job.model_dump_json(), encoding="utf-8")
        assignment = Assignment(folder=str(self._folder), rounds_started=self._rounds_before)
        runner = self._assigned(assignment)
        try:
            return self._serve(runner)
        finally:
            if self._pool is not None:
                self._pool.give_back(runner)
            else:
                runner.end()

    def may_go_on(self) -> bool:
        """Whether another attempt can finish the run within its reservation."""
        return lacks(self._ledger.run(self._job.run_id), self._folder) is None

    def _assigned(self, assignment: Assignment) -> RunnerProcess:
        if self._pool is not None:
            warm = self._pool.take(timeout=0.0)
            if warm is not None:
                try:
                    os.replace(warm.log, self._folder / LOG_FILE)
                    warm.send(assignment)
                except Ended:
                    # It died while it waited; it has executed nothing.
                    self._pool.give_back(warm)
                else:
                    self._report("training")
                    return warm
        cold = RunnerProcess(self._folder / LOG_FILE, str(self._folder))
        cold.send(assignment)
        self._report("starting")
        return cold

    def _serve(self, runner: RunnerProcess) -> Done:
        for message in runner.messages(self._deadline, self._memory_limit):
            if isinstance(message, Failed):
                raise Ended(message.code)
            if isinstance(message, Done):
                return self._checked(message)
            if isinstance(message, MayStart):
                self._grant(message, runner)
            elif isinstance(message, RoundDone):
                self._count(message)
            elif isinstance(message, Ready):
                self._report("training")
        raise Ended("run.died")

    def _grant(self, message: MayStart, runner: RunnerProcess) -> None:
        ahead = 0
        if self._rounds_done > self._rounds_before:
            rate = self._rate()
            ahead = min(int(rate * GRANT_SECONDS), GRANT_ROUNDS)
        rounds = min(max(message.rounds + ahead, message.rounds), self._job.rounds)
        # Durable before the runner hears of it: what may have drawn noise is always on record.
        self._ledger.progress(
            self._job.run_id, rounds_started=rounds, evaluation_started=message.evaluation
        )
        runner.send(Granted(rounds=rounds, evaluation=message.evaluation))
        if message.evaluation:
            self._report("evaluating")

    def _count(self, message: RoundDone) -> None:
        self._rounds_done = message.round
        if message.round == self._rounds_before + 1:
            self._first_round_at = time.monotonic()
        self._report("training")

    def _checked(self, done: Done) -> Done:
        wanted = self._job.evaluation is not None
        whole = self._rounds_before == 0
        sound = done.rounds == self._job.rounds and done.evaluated == wanted
        trained = done.rounds_trained
        if not sound or trained > done.rounds or (whole and trained != done.rounds):
            self._ledger.fault(self._job.run_id, "run.malformed_result")
            raise Ended("run.malformed_result")
        return done

    def _rate(self) -> float:
        elapsed = time.monotonic() - self._first_round_at
        since_first = self._rounds_done - self._rounds_before - 1
        return since_first / elapsed if since_first > 0 and elapsed > 0 else 0.0

    def _report(self, stage: str) -> None:
        rate = self._rate()
        left = (self._job.rounds - self._rounds_done) / rate if rate else None
        self._on_progress(Progress(stage, self._rounds_done, self._job.rounds, rate, left))


def _settled_failure(ledger: Ledger, run_id: str, code: str) -> RunFailed:
    status = "cancelled" if code == "run.cancelled" else "failed"
    ledger.settle(run_id, status=status, code=code)
    return RunFailed(code, run_id, ledger.run(run_id).rounds_started)


def _load(job: TrainingJob, out_dir: Path, done: Done) -> RunResult:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        contents = {name: (out_dir / name).read_bytes() for name in (WEIGHTS_FILE, METRICS_FILE)}
        digests = {name: digest_bytes(content) for name, content in contents.items()}
        weights = load(contents[WEIGHTS_FILE])
        metrics = json.loads(contents[METRICS_FILE])
    except (OSError, ValueError, SafetensorError):
        raise Ended("run.malformed_result") from None
    shapes = {spec.name: tuple(spec.shape) for spec in job.model.weights}
    sound = (
        digests == done.results
        and {name: value.shape for name, value in weights.items()} == shapes
        and all(np.isfinite(value).all() for value in weights.values())
        and isinstance(metrics, dict)
        and all(isinstance(value, int | float) for value in metrics.values())
    )
    if not sound:
        raise Ended("run.malformed_result")
    return RunResult(job.run_id, weights, metrics, out_dir, digests, done.rounds_trained)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Held for the supervisor's life and dropped by the kernel at its death, so that whoever can
    # take it knows that nobody owns the run.
    with open(folder / "lock", "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _Busy from None
        yield


__all__ = [
    "FAILURES",
    "Limits",
    "NotResumable",
    "OnProgress",
    "Progress",
    "RunFailed",
    "RunResult",
    "RuntimeMissing",
    "claimed",
    "recover",
    "require_runtime",
    "resume",
    "supervise",
]
