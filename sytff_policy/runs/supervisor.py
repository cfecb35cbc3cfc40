"""Running an admitted job: one runner process, owned from start to end.

The supervisor starts the runner, records in the ledger that rounds start before they do, relays
progress, ends the process group on every way out, and settles the reservation for what may have
been executed. Only results whose digests and shapes check out are released.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from sytff_policy.canonical import digest_bytes
from sytff_policy.errors import SytffError
from sytff_policy.ledger import Ledger
from sytff_policy.runs.job import (
    METRICS_FILE,
    WEIGHTS_FILE,
    Done,
    Failed,
    Granted,
    MayStart,
    Message,
    Ready,
    RoundDone,
    TrainingJob,
)

LINE_LIMIT = 65_536
GRANT_SECONDS = 1.0
GRANT_ROUNDS = 64
JOB_FILE = "job.json"

_MESSAGES: TypeAdapter[Any] = TypeAdapter(Message)


class RunFailed(SytffError):
    """A run ended without results.

    Attributes:
      code: Fixed code of what happened.
      run_id: The run; the operator's log of it is in the node's `runs` folder.
      rounds_spent: Rounds that stay charged.
    """

    def __init__(self, code: str, run_id: str, rounds_spent: int) -> None:
        self.code = code
        self.run_id = run_id
        self.rounds_spent = rounds_spent
        super().__init__(
            f"run {run_id} ended without a result ({code}): {FAILURES.get(code, 'see the log')}. "
            f"{rounds_spent} rounds may have drawn noise and stay charged; the rest is refunded"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "error": self.code,
            "message": str(self),
            "run_id": self.run_id,
            "rounds_spent": self.rounds_spent,
        }


FAILURES = {
    "run.failed": "training failed; the operator's log has the details",
    "run.executed_event_mismatch": "less noise was executed than admitted; nothing is released",
    "run.runtime_unavailable": "TFF's runtime did not start",
    "run.isolation_unavailable": "this machine gives TFF's worker no private network",
    "run.dataset_unreadable": "the stored dataset cannot be read",
    "run.result_not_finite": "the weights diverged; lower the learning rates",
    "run.timeout": "it took longer than its time limit; raise `timeout` or ask for fewer rounds",
    "run.cancelled": "it was cancelled",
    "run.died": "the runner process died",
    "run.interrupted": "the node stopped while it ran",
    "run.malformed_result": "the runner's results are not what was admitted; nothing is released",
}


class RuntimeMissing(SytffError):
    """TensorFlow Federated is not installed here; nothing was reserved."""

    code = "runtime.missing"


@dataclass(frozen=True)
class Progress:
    """How far a run is; no private number in it.

    Attributes:
      stage: `starting`, `training` or `evaluating`.
      rounds_done: Completed rounds.
      rounds: All rounds.
      rounds_per_second: Since the first round; 0 before it is known.
      seconds_left: Estimate for the remaining rounds; None before it is known.
    """

    stage: str
    rounds_done: int
    rounds: int
    rounds_per_second: float
    seconds_left: float | None


@dataclass(frozen=True)
class RunResult:
    """What a completed run released.

    Attributes:
      run_id: The run.
      weights: Trained weights by name (`layer/kernel`).
      metrics: Noised metrics.
      folder: Where `weights.safetensors` and `metrics.json` lie in the node.
      digests: Their digests, as released in the ledger.
    """

    run_id: str
    weights: dict[str, npt.NDArray[Any]]
    metrics: dict[str, float]
    folder: Path
    digests: dict[str, str]


OnProgress = Callable[[Progress], None]


def require_runtime() -> None:
    """Refuses before anything is reserved when there is nothing to train with.

    Raises:
      RuntimeMissing: If TFF is not installed in this environment.
    """
    if importlib.util.find_spec("tensorflow_federated") is None:
        raise RuntimeMissing(
            "tensorflow-federated is not installed in this Python environment, so nothing can be "
            "trained here. Install the `node` environment (see the README), on Python 3.11"
        )


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
    timeout: float,
    on_progress: OnProgress | None = None,
) -> RunResult:
    """Executes an admitted job and settles it, however it ends.

    Args:
      ledger: Where progress and settlement are recorded.
      job: The admitted job; its reservation must exist.
      folder: The run's folder, as from `claimed`.
      timeout: Seconds for the whole run.
      on_progress: Called after every round.

    Raises:
      RunFailed: If it ends without results. The reservation is settled.
    """
    attempt = _Attempt(ledger, job, folder, time.monotonic() + timeout, on_progress)
    try:
        done = attempt.run()
        result = _load(job, folder / "out", done)
    except _Ended as ended:
        raise _settled_failure(ledger, job.run_id, ended.code) from None
    except BaseException:
        _settled_failure(ledger, job.run_id, "run.cancelled")
        raise
    ledger.settle(job.run_id, status="completed")
    ledger.release(job.run_id, dict(result.digests))
    return result


def recover(ledger: Ledger, runs_dir: Path) -> list[str]:
    """Settles runs whose supervisor is gone, for what they may have executed.

    Returns:
      The ids of the settled runs.
    """
    settled = []
    for run in ledger.open_runs():
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


class _Ended(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _Attempt:
    """One runner process and the conversation with it."""

    def __init__(
        self,
        ledger: Ledger,
        job: TrainingJob,
        folder: Path,
        deadline: float,
        on_progress: OnProgress | None,
    ) -> None:
        self._ledger = ledger
        self._job = job
        self._folder = folder
        self._deadline = deadline
        self._on_progress = on_progress or (lambda progress: None)
        self._rounds_done = 0
        self._first_round_at = 0.0

    def run(self) -> Done:
        """Starts the runner and serves it until it is done; ends its process group after."""
        (self._folder / "out").mkdir(mode=0o700)
        job_file = self._folder / JOB_FILE
        job_file.write_text(self._job.model_dump_json(), encoding="utf-8")
        from_runner, to_supervisor = os.pipe()
        from_supervisor, to_runner = os.pipe()
        with open(self._folder / "runner.log", "wb") as log:
            process = _start(job_file, self._folder / "out", from_supervisor, to_supervisor, log)
        os.close(to_supervisor)
        os.close(from_supervisor)
        try:
            with os.fdopen(to_runner, "w", encoding="utf-8") as grants:
                return self._serve(from_runner, grants)
        finally:
            os.close(from_runner)
            _end(process)

    def _serve(self, read_fd: int, grants: IO[str]) -> Done:
        self._report("starting")
        for line in _lines(read_fd, self._deadline):
            message = _decode(line)
            if isinstance(message, Failed):
                raise _Ended(message.code)
            if isinstance(message, Done):
                return self._checked(message)
            if isinstance(message, MayStart):
                self._grant(message, grants)
            elif isinstance(message, RoundDone):
                self._count(message)
            elif isinstance(message, Ready):
                self._report("training")
        raise _Ended("run.died")

    def _grant(self, message: MayStart, grants: IO[str]) -> None:
        ahead = 0
        if self._rounds_done:
            rate = self._rate()
            ahead = min(int(rate * GRANT_SECONDS), GRANT_ROUNDS)
        rounds = min(max(message.rounds + ahead, message.rounds), self._job.rounds)
        # Durable before the runner hears of it: what may have drawn noise is always on record.
        self._ledger.progress(
            self._job.run_id, rounds_started=rounds, evaluation_started=message.evaluation
        )
        granted = Granted(rounds=rounds, evaluation=message.evaluation)
        try:
            grants.write(granted.model_dump_json() + "\n")
            grants.flush()
        except BrokenPipeError:
            raise _Ended("run.died") from None
        if message.evaluation:
            self._report("evaluating")

    def _count(self, message: RoundDone) -> None:
        self._rounds_done = message.round
        if message.round == 1:
            self._first_round_at = time.monotonic()
        self._report("training")

    def _checked(self, done: Done) -> Done:
        wanted = self._job.evaluation is not None
        if done.rounds != self._job.rounds or done.evaluated != wanted:
            self._ledger.fault(self._job.run_id, "run.malformed_result")
            raise _Ended("run.malformed_result")
        return done

    def _rate(self) -> float:
        elapsed = time.monotonic() - self._first_round_at
        return (self._rounds_done - 1) / elapsed if self._rounds_done > 1 and elapsed > 0 else 0.0

    def _report(self, stage: str) -> None:
        rate = self._rate()
        left = (self._job.rounds - self._rounds_done) / rate if rate else None
        self._on_progress(Progress(stage, self._rounds_done, self._job.rounds, rate, left))


def _start(
    job_file: Path, out_dir: Path, read_fd: int, write_fd: int, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "sytff_policy.training.runner",
            str(job_file),
            str(out_dir),
            str(read_fd),
            str(write_fd),
        ],
        stdin=subprocess.DEVNULL,
        # Never a pipe of ours: TFF's worker would hold it open.
        stdout=log,
        stderr=log,
        pass_fds=(read_fd, write_fd),
        start_new_session=True,
        env=_runner_environment(),
    )


def _runner_environment() -> dict[str, str]:
    environment = {
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
    environment.update({name: os.environ[name] for name in kept if name in os.environ})
    if "SYTFF_ALLOW_OPEN_WORKER" in os.environ:
        environment["SYTFF_ALLOW_OPEN_WORKER"] = os.environ["SYTFF_ALLOW_OPEN_WORKER"]
    return environment


def _end(process: subprocess.Popen[bytes]) -> None:
    # The whole group, in every case: TFF's worker is in it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lines(read_fd: int, deadline: float) -> Iterator[bytes]:
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(read_fd, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise _Ended("run.timeout")
            chunk = os.read(read_fd, LINE_LIMIT)
            if not chunk:
                return
            buffer += chunk
            *lines, buffer = buffer.split(b"\n")
            if len(buffer) > LINE_LIMIT:
                raise _Ended("run.malformed_result")
            yield from lines
            if time.monotonic() > deadline:
                raise _Ended("run.timeout")


def _decode(line: bytes) -> Any:
    try:
        return _MESSAGES.validate_json(line)
    except ValidationError:
        raise _Ended("run.malformed_result") from None


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
        raise _Ended("run.malformed_result") from None
    shapes = {spec.name: tuple(spec.shape) for spec in job.model.weights}
    sound = (
        digests == done.results
        and {name: value.shape for name, value in weights.items()} == shapes
        and all(np.isfinite(value).all() for value in weights.values())
        and isinstance(metrics, dict)
        and all(isinstance(value, int | float) for value in metrics.values())
    )
    if not sound:
        raise _Ended("run.malformed_result")
    return RunResult(job.run_id, weights, metrics, out_dir, digests)


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
