"""One run, from a job to results: rounds, reconciliation, evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sytff_policy.datasets import StoredDataset
from sytff_policy.request import CLASSIFICATION_LOSSES
from sytff_policy.runs.job import TrainingJob
from sytff_policy.training.aggregation import update_query
from sytff_policy.training.checkpoint import Checkpoint, CheckpointFile
from sytff_policy.training.evaluation import (
    MAX_CONFUSION_CLASSES,
    Evaluator,
    metrics_from,
    noised_sum,
)
from sytff_policy.training.functional import FunctionalModel, accuracy_fn, loss_fn
from sytff_policy.training.process import (
    FederatedRounds,
    LocalTraining,
    Weights,
)
from sytff_policy.training.sampling import draw_cohort
from sytff_policy.training.transfer import ShardData, SharedMemory, make_shard

EVALUATION_UNITS = 2048
"""Units per evaluation batch: bounds memory, not results."""


class ExecutedEventMismatch(RuntimeError):
    """TFF executed less noise than was admitted."""


class ResultNotFinite(RuntimeError):
    """The trained weights are not finite numbers."""


@dataclass(frozen=True)
class Hooks:
    """How a run asks and tells.

    Attributes:
      may_start: Blocks until the rounds up to its argument (and the evaluation, if the second
        argument is true) are durably recorded as started; returns how many rounds are.
      round_done: Called after each round.
    """

    may_start: Callable[[int, bool], int]
    round_done: Callable[[int], None]


@dataclass(frozen=True)
class RunResult:
    """What a run makes. Everything in it may leave the node."""

    weights: dict[str, npt.NDArray[np.float32]]
    metrics: dict[str, float]
    rounds_trained: int


class Trainer:
    """Executes one admitted job on one stored dataset.

    Args:
      job: The job.
      dataset: The dataset version that it was admitted for.
      checkpoints: Where its state is kept, and found again; None: nowhere.
    """

    def __init__(
        self, job: TrainingJob, dataset: StoredDataset, checkpoints: CheckpointFile | None = None
    ) -> None:
        if dataset.population != job.population:
            raise ValueError("the dataset is not the one that the job was admitted for")
        self._job = job
        self._checkpoints = checkpoints
        self._dataset = dataset
        self._model = FunctionalModel(job.model)
        self._loss = loss_fn(job.loss, job.model.final_activation)
        self._accuracy = (
            accuracy_fn(job.loss, job.model.final_activation)
            if job.loss in CLASSIFICATION_LOSSES
            else None
        )
        holdout = job.evaluation.holdout if job.evaluation else 0.0
        held_out = dataset.holdout_mask(holdout)
        self._trained_on = np.flatnonzero(~held_out).astype(np.int64)
        self._evaluated_on = (
            np.flatnonzero(held_out).astype(np.int64) if holdout else self._trained_on
        )

    def run(self, hooks: Hooks, rounds_started: int = 0) -> RunResult:
        """Trains, evaluates and returns what may be released.

        Args:
          hooks: How to ask and tell.
          rounds_started: Rounds that earlier attempts may have executed. They are spent, so
            this attempt has the rest of the job's rounds; it begins where the checkpoint was
            taken, or anew.

        Raises:
          ExecutedEventMismatch: If TFF reports less noise than was admitted.
          ResultNotFinite: If the weights diverged.
        """
        weights, rounds_trained = self._train(hooks, rounds_started)
        if not all(np.isfinite(weight).all() for weight in weights):
            raise ResultNotFinite("weights are not finite")
        metrics = self._evaluate(weights, hooks) if self._job.evaluation else {}
        named = dict(zip(self._model.weight_names, weights, strict=True))
        return RunResult(named, metrics, rounds_trained)

    def _train(self, hooks: Hooks, rounds_started: int) -> tuple[Weights, int]:
        job = self._job
        initial = self._model.initial_weights(None)
        process = FederatedRounds(
            weight_specs=[tf.TensorSpec(weight.shape, tf.float32) for weight in initial],
            transfer=SharedMemory(
                job.model.inputs[0].shape,
                tf.as_dtype(job.model.inputs[0].dtype),
                self._label_dtype,
            ),
            training=LocalTraining(
                predict=self._model.predict,
                loss=self._loss,
                optimizer=job.client_optimizer,
                batch_size=job.batch_size,
                epochs=job.local_epochs,
            ),
            query=update_query(job.clipping, job.noise_multiplier, job.clients_per_round),
            server_optimizer=job.server_optimizer,
        )
        state, trained = process.initialize(initial), 0
        saved = self._checkpoints.read() if self._checkpoints and rounds_started else None
        if saved is not None:
            state, trained = process.restore(saved.arrays, initial), saved.rounds_trained
        granted = rounds_started
        for number in range(rounds_started + 1, job.rounds + 1):
            if number > granted:
                granted = hooks.may_start(number, False)
            if not granted >= number:
                raise RuntimeError("a round was refused")
            state = process.next(state, self._cohort())
            self._reconcile(state.executed_noise_multiplier(), job.noise_multiplier)
            trained += 1
            if self._checkpoints and self._checkpoints.is_due():
                self._checkpoints.write(Checkpoint(trained, process.arrays(state)))
            hooks.round_done(number)
        weights = [np.asarray(weight, np.float32) for weight in tf.nest.flatten(state.weights)]
        return weights, trained

    def _evaluate(self, weights: Weights, hooks: Hooks) -> dict[str, float]:
        evaluation = self._job.evaluation
        if evaluation is None:
            return {}
        hooks.may_start(self._job.rounds, True)
        outputs = max(2, self._job.model.output_shape[-1])
        counted = self._accuracy is not None and outputs <= MAX_CONFUSION_CLASSES
        classes = outputs if counted else 0
        evaluator = Evaluator(self._model.predict, self._loss, self._accuracy, classes)
        exact = evaluator.exact_sum(weights, self._evaluation_batches())
        noised, executed = noised_sum(exact, evaluator.sensitivity, evaluation.noise_multiplier)
        self._reconcile(executed, evaluation.noise_multiplier)
        return metrics_from(
            noised,
            sensitivity=evaluator.sensitivity,
            noise_multiplier=evaluation.noise_multiplier,
            classes=classes,
        )

    @property
    def _label_dtype(self) -> tf.DType:
        return tf.int32 if self._dataset.label_is_class else tf.float32

    def _reconcile(self, executed: float, admitted: float) -> None:
        # Written so that NaN fails too.
        if not (math.isfinite(executed) and executed >= admitted):
            raise ExecutedEventMismatch("the aggregator executed less noise than was admitted")

    def _cohort(self) -> list[ShardData]:
        drawn = draw_cohort(self._job.clients_per_round, self._job.population, self._trained_on)
        return [self._shard(part) for part in np.array_split(drawn, self._job.shards)]

    def _shard(self, units: npt.NDArray[np.int64]) -> ShardData:
        cohort = self._dataset.read_units(units)
        return make_shard(self._shaped(cohort.features), cohort.labels, cohort.row_splits)

    def _evaluation_batches(
        self,
    ) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
        for low in range(0, len(self._evaluated_on), EVALUATION_UNITS):
            cohort = self._dataset.read_units(self._evaluated_on[low : low + EVALUATION_UNITS])
            yield self._shaped(cohort.features), cohort.labels, cohort.row_splits

    def _shaped(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        # An image asset of [h, w] feeds a model that takes [h, w, 1], and the reverse.
        spec = self._job.model.inputs[0]
        return features.reshape((len(features), *spec.shape)).astype(spec.dtype, copy=False)
