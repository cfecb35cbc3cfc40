"""What a runner is told, and what it may say: the contract between supervisor and runner.

The runner holds the rows and executes the researcher's model, so it is told nothing but this job,
has no access to the ledger, and speaks in the fixed vocabulary below: no text that could carry
data crosses the pipe. It asks before every round that may draw noise.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sytff_policy._model import Document
from sytff_policy.model_spec import ModelSpec
from sytff_policy.request import (
    ClientOptimizer,
    Clipping,
    Evaluation,
    Loss,
    ServerOptimizer,
)

FailureCode = Literal[
    "run.failed",
    "run.executed_event_mismatch",
    "run.runtime_unavailable",
    "run.isolation_unavailable",
    "run.dataset_unreadable",
    "run.result_not_finite",
    "run.checkpoint_unreadable",
]


class TrainingJob(Document):
    """One admitted run.

    Attributes:
      run_id: The reservation's run.
      dataset_path: Folder of the stored dataset version.
      dataset_version: Version digest that the folder must carry.
      population: N that the sampling rate was admitted with.
      shards: Number of TFF clients; each is a shard of the cohort's virtual silos.
      checkpoint_seconds: Least time between two checkpoints; 0 makes one after every round.
    """

    format: Literal["sytff-job/1"] = "sytff-job/1"
    run_id: str
    dataset_path: str
    dataset_version: str
    population: int = Field(ge=1)
    rounds: int = Field(ge=1)
    clients_per_round: int = Field(ge=1)
    noise_multiplier: float = Field(gt=0.0)
    clipping: Clipping
    client_optimizer: ClientOptimizer
    server_optimizer: ServerOptimizer
    batch_size: int = Field(ge=1)
    local_epochs: int = Field(ge=1)
    loss: Loss
    model: ModelSpec
    evaluation: Evaluation | None
    shards: int = Field(default=2, ge=1, le=256)
    checkpoint_seconds: float = Field(default=10.0, ge=0.0)


class Assignment(Document):
    """The supervisor's first word to a runner: execute the job in this folder.

    Attributes:
      folder: The run's folder: `job.json`, and where checkpoints and results go.
      rounds_started: Rounds of the reservation that earlier attempts may have executed. They stay
        spent, so this attempt numbers its rounds from there.
    """

    type: Literal["assignment"] = "assignment"
    folder: str
    rounds_started: int = Field(default=0, ge=0)


class Ready(Document):
    """The runtime is up and waits for its assignment; no noise has been drawn."""

    type: Literal["ready"] = "ready"


class MayStart(Document):
    """May the rounds up to `rounds`, and perhaps the evaluation, begin? Answered by `Granted`."""

    type: Literal["may_start"] = "may_start"
    rounds: int = Field(ge=0)
    evaluation: bool = False


class RoundDone(Document):
    """A round is complete; a heartbeat without a private number."""

    type: Literal["round_done"] = "round_done"
    round: int = Field(ge=1)


class Done(Document):
    """Results are written; their digests.

    Attributes:
      rounds: Number of the last round of the reservation.
      rounds_trained: Rounds whose updates are in the weights: fewer than `rounds` when an earlier
        attempt executed some after its last checkpoint.
    """

    type: Literal["done"] = "done"
    rounds: int = Field(ge=0)
    rounds_trained: int = Field(ge=0)
    evaluated: bool
    results: dict[str, str]


class Failed(Document):
    """The run ended without results. Details are in the operator's log alone."""

    type: Literal["failed"] = "failed"
    code: FailureCode


Message = Annotated[Ready | MayStart | RoundDone | Done | Failed, Field(discriminator="type")]


class Granted(Document):
    """The supervisor's answer: what is durably recorded as started."""

    type: Literal["granted"] = "granted"
    rounds: int
    evaluation: bool


JOB_FILE = "job.json"
OUT_FOLDER = "out"
LOG_FILE = "runner.log"
CHECKPOINT_FILE = "checkpoint.safetensors"
WEIGHTS_FILE = "weights.safetensors"
METRICS_FILE = "metrics.json"
