"""The runner: a process of its own that executes one job and nothing else.

    python -m sytff_policy.training.runner READ_FD WRITE_FD LABEL

It brings up its runtime, says that it is ready, reads its assignment and grants from READ_FD, and
writes messages (`sytff_policy.runs.job`) to WRITE_FD. Its own output, and TFF's, go to the
operator's log. It dies when its supervisor dies.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sytff_policy.training.runtime import (
    IsolationUnavailable,
    RuntimeUnavailable,
    die_with_parent,
    execution_context,
    isolate_network,
    start_worker,
)

if TYPE_CHECKING:
    from sytff_policy._model import Document
    from sytff_policy.runs.job import Assignment, FailureCode, TrainingJob
    from sytff_policy.training.trainer import RunResult

logger = logging.getLogger("sytff_policy.runner")


class Channel:
    """Messages to the supervisor, grants from it; one JSON document a line."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        # Inherited on purpose by this process, and by none of its children.
        os.set_inheritable(read_fd, False)
        os.set_inheritable(write_fd, False)
        self._reader = os.fdopen(read_fd, "r", encoding="utf-8")
        self._writer = os.fdopen(write_fd, "w", encoding="utf-8")

    def send(self, message: Document) -> None:
        self._writer.write(message.model_dump_json() + "\n")
        self._writer.flush()

    def has_assignment(self) -> bool:
        """Whether a job waits already."""
        return bool(select.select([self._reader], [], [], 0.0)[0])

    def assignment(self) -> Assignment:
        """Waits for the job. End of file means that nobody needs this runner any more."""
        from sytff_policy._model import parse
        from sytff_policy.runs.job import Assignment

        line = self._reader.readline()
        if not line:
            raise SystemExit(0)
        return parse(Assignment, json.loads(line))

    def may_start(self, rounds: int, evaluation: bool) -> int:
        """Asks, and waits for the answer. End of file means that the supervisor is gone."""
        from sytff_policy._model import parse
        from sytff_policy.runs.job import Granted, MayStart

        self.send(MayStart(rounds=rounds, evaluation=evaluation))
        line = self._reader.readline()
        if not line:
            raise SystemExit(1)
        granted = parse(Granted, json.loads(line))
        if granted.rounds < rounds or (evaluation and not granted.evaluation):
            raise RuntimeError("the supervisor refused")
        return granted.rounds


def main(arguments: list[str]) -> int:
    """Runs the job; exit status 0 when the results are written."""
    read_fd, write_fd, _ = arguments
    die_with_parent()
    # A core file would be a copy of the rows on a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    channel = Channel(int(read_fd), int(write_fd))
    code: FailureCode = "run.failed"
    try:
        isolate_network()
        _serve(channel)
        return 0
    except IsolationUnavailable:
        code = "run.isolation_unavailable"
        logger.exception("isolation")
    except RuntimeUnavailable:
        code = "run.runtime_unavailable"
        logger.exception("runtime")
    except Exception as error:
        # Whatever went wrong may speak of the data: it is written to the operator's log, and a
        # fixed code goes out.
        code = _code_of(error)
        logger.exception("run failed")
    from sytff_policy.runs.job import Failed

    channel.send(Failed(code=code))
    return 1


def _serve(channel: Channel) -> None:
    # The worker starts before TensorFlow is imported: the process is still single-threaded, and
    # both take seconds.
    worker, port = start_worker(sys.stderr.buffer)
    try:
        from sytff_policy.runs.job import Ready

        with execution_context(worker, port, on_death=lambda: _worker_died(channel)):
            if not channel.has_assignment():
                from sytff_policy.training.warmup import warm_up

                warm_up()
            channel.send(Ready())
            _execute(channel.assignment(), channel)
    finally:
        worker.kill()
        worker.wait()


def _execute(assignment: Assignment, channel: Channel) -> None:
    from sytff_policy._model import parse
    from sytff_policy.datasets import StoredDataset
    from sytff_policy.runs.job import (
        CHECKPOINT_FILE,
        JOB_FILE,
        OUT_FOLDER,
        Done,
        RoundDone,
        TrainingJob,
    )
    from sytff_policy.training.checkpoint import CheckpointFile
    from sytff_policy.training.trainer import Hooks, Trainer

    folder = Path(assignment.folder)
    job = parse(TrainingJob, json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))
    dataset = StoredDataset.open(Path(job.dataset_path), job.dataset_version)
    hooks = Hooks(
        may_start=channel.may_start,
        round_done=lambda number: channel.send(RoundDone(round=number)),
    )
    checkpoints = CheckpointFile(folder / CHECKPOINT_FILE, job)
    result = Trainer(job, dataset, checkpoints).run(hooks, assignment.rounds_started)
    digests = _write(result, folder / OUT_FOLDER, job)
    channel.send(
        Done(
            rounds=job.rounds,
            rounds_trained=result.rounds_trained,
            evaluated=job.evaluation is not None,
            results=digests,
        )
    )


def _worker_died(channel: Channel) -> None:
    from sytff_policy.runs.job import Failed

    logger.error("TFF's worker died")
    channel.send(Failed(code="run.failed"))
    os._exit(1)


def _write(result: RunResult, out_dir: Path, job: TrainingJob) -> dict[str, str]:
    from safetensors.numpy import save

    from sytff_policy.canonical import canonical_bytes, digest_bytes
    from sytff_policy.runs.job import METRICS_FILE, WEIGHTS_FILE

    files = {
        WEIGHTS_FILE: save(result.weights, metadata={"run_id": job.run_id}),
        METRICS_FILE: canonical_bytes(result.metrics),
    }
    for name, content in files.items():
        (out_dir / name).write_bytes(content)
    return {name: digest_bytes(content) for name, content in files.items()}


def _code_of(error: Exception) -> FailureCode:
    from sytff_policy.datasets import DatasetDamaged
    from sytff_policy.training.checkpoint import CheckpointUnreadable
    from sytff_policy.training.trainer import ExecutedEventMismatch, ResultNotFinite

    codes: dict[type[Exception], FailureCode] = {
        CheckpointUnreadable: "run.checkpoint_unreadable",
        DatasetDamaged: "run.dataset_unreadable",
        ExecutedEventMismatch: "run.executed_event_mismatch",
        ResultNotFinite: "run.result_not_finite",
    }
    return codes.get(type(error), "run.failed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
