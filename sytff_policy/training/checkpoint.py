"""Checkpoints: the state between two rounds, so that a run can go on after a crash.

A checkpoint holds what noised rounds have made: weights, server optimizer, clip estimate. No row,
no cohort, no exact sum, and no secret of the noise. It is plain arrays (safetensors): TFF's own
`FileProgramStateManager` keeps SavedModels, which are programs, and TFF's state names the module
of its event; neither is read from a disk here. The state is rebuilt from this process's own
initial state, with only numbers replaced.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sytff_policy.canonical import digest
from sytff_policy.runs.job import TrainingJob

FORMAT = "sytff-checkpoint/1"

Arrays = dict[str, npt.NDArray[Any]]


class CheckpointUnreadable(RuntimeError):
    """A checkpoint that is damaged, or of another job."""


@dataclass(frozen=True)
class Checkpoint:
    """State after a round.

    Attributes:
      rounds_trained: Rounds whose updates are in it.
      arrays: Its arrays by name.
    """

    rounds_trained: int
    arrays: Arrays


class CheckpointFile:
    """Where one job keeps its last checkpoint.

    Args:
      path: The file; replaced as a whole, never written in place.
      job: The job; a checkpoint of another is refused.
    """

    def __init__(self, path: Path, job: TrainingJob) -> None:
        self._path = path
        self._job = job
        self._job_digest = digest(job.model_dump(mode="json"))
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() - self._last >= self._job.checkpoint_seconds

    def write(self, checkpoint: Checkpoint) -> None:
        """Replaces the checkpoint, durably: after a crash it is the old one or the new one."""
        metadata = {
            "format": FORMAT,
            "job": self._job_digest,
            "rounds_trained": str(checkpoint.rounds_trained),
        }
        content = save(checkpoint.arrays, metadata=metadata)
        partial = self._path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._last = time.monotonic()

    def read(self) -> Checkpoint | None:
        """The last checkpoint; None if there is none.

        Raises:
          CheckpointUnreadable: If it is damaged or of another job.
        """
        if not self._path.is_file():
            return None
        try:
            with safe_open(self._path, framework="numpy") as stored:
                metadata = stored.metadata() or {}
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            rounds = int(metadata["rounds_trained"])
        except (OSError, ValueError, KeyError, SafetensorError):
            raise CheckpointUnreadable("the checkpoint cannot be read") from None
        if (metadata.get("format"), metadata.get("job")) != (FORMAT, self._job_digest):
            raise CheckpointUnreadable("the checkpoint is of another job")
        if not 1 <= rounds <= self._job.rounds:
            raise CheckpointUnreadable("the checkpoint is of a round that the job does not have")
        return Checkpoint(rounds, arrays)


def pack(prefix: str, leaves: list[Any]) -> Arrays:
    """Arrays named `prefix/0`, `prefix/1` and so on."""
    return {f"{prefix}/{index}": np.asarray(leaf) for index, leaf in enumerate(leaves)}


def unpack(prefix: str, arrays: Arrays, like: list[Any]) -> list[npt.NDArray[Any]]:
    """The arrays that `pack` named, which must be shaped as `like` and finite.

    Raises:
      CheckpointUnreadable: If they are not.
    """
    names = [f"{prefix}/{index}" for index in range(len(like))]
    if [name for name in arrays if name.startswith(f"{prefix}/")] and set(names) != {
        name for name in arrays if name.startswith(f"{prefix}/")
    }:
        raise CheckpointUnreadable(f"the checkpoint has other parts of {prefix}")
    found = []
    for name, leaf in zip(names, like, strict=True):
        wanted = np.asarray(leaf)
        value = arrays.get(name)
        if value is None or value.shape != wanted.shape or value.dtype != wanted.dtype:
            raise CheckpointUnreadable(f"the checkpoint lacks {name} as the job has it")
        if not np.isfinite(value).all():
            raise CheckpointUnreadable(f"the checkpoint's {name} is not finite")
        found.append(value)
    return found
