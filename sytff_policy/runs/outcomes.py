"""What a run may take, how far it is, and how it ends."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from sytff_policy.errors import SytffError


@dataclass(frozen=True)
class Limits:
    """What a run may take.

    Attributes:
      seconds: Wall-clock time for the whole run.
      memory: Resident bytes of the runner and its worker together; None: no limit.
      attempts: Runner processes. If one dies and others are left, the run goes on from its last
        checkpoint, within the same reservation.
    """

    seconds: float
    memory: int | None = None
    attempts: int = 1


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
    "run.memory_limit": "it took more memory than its limit; ask for a smaller model or cohort",
    "run.checkpoint_unreadable": "its checkpoint is missing parts or is of another run",
    "run.cancelled": "it was cancelled",
    "run.died": "the runner process died",
    "run.interrupted": "the node stopped while it ran",
    "run.malformed_result": "the runner's results are not what was admitted; nothing is released",
}


class NotResumable(SytffError):
    """A run that cannot go on. Nothing was changed."""

    code = "run.not_resumable"


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
      rounds_trained: Rounds whose updates are in the weights. All of them, unless the run was
        resumed: rounds after the checkpoint that it went on from are spent, but lost.
    """

    run_id: str
    weights: dict[str, npt.NDArray[Any]]
    metrics: dict[str, float]
    folder: Path
    digests: dict[str, str]
    rounds_trained: int


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
