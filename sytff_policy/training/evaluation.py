"""Differentially private evaluation: bounded contributions of units, summed and noised by TFF.

Unit i contributes v_i = (accuracy_i - 1/2, loss_i / B - 1/2, 1/2), where accuracy_i is its mean
accuracy over its rows and loss_i its mean loss clipped to [0, B]. Every coordinate is within 1/2,
so adding or removing one unit changes the sum by at most sqrt(3)/2 in L2 (sqrt(2)/2 without
accuracy). For classifiers v_i also holds half the fractions of its rows at each pair of true and
predicted class. The fractions sum to 1, so half of them has an L2 norm of at most 1/2, and the
whole is within sqrt(3/4 + 1/4) = 1: a seventh more noise on the means, and confusion counts in
return. The sum gets Gaussian noise of stddev z times that bound; the count coordinate gives
the number of evaluated units without revealing it, and everything that is reported is computed
from the noised sum: post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from sytff_policy.training.aggregation import (
    NOISE_MARGIN,
    NoisyAggregation,
    effective_noise_multiplier,
    executed_event,
    fresh_secret,
    sum_query,
)

MAX_CONFUSION_CLASSES = 100
"""Classifiers of more classes get no confusion counts: there would be more numbers than people."""

PAIR_WEIGHT = 0.5
"""How much a confusion count weighs in the sum; trades its noise against that of the means."""

LOSS_BOUND = 5.0
"""B: a unit's mean loss counts at most this much; a declared constant, not a statistic."""

Batch = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int64]]
ExampleFunction = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Evaluator:
    """What is evaluated.

    Attributes:
      predict: Pure function (weights, x, training) -> predictions.
      loss: Per-example loss (labels, predictions) -> [batch].
      accuracy: Per-example accuracy, or None for regression.
      classes: Number of classes if there are confusion counts, else 0.
    """

    predict: Callable[[Sequence[tf.Tensor], tf.Tensor, bool], tf.Tensor]
    loss: ExampleFunction
    accuracy: ExampleFunction | None
    classes: int = 0

    @property
    def sensitivity(self) -> float:
        """L2 sensitivity of the summed contributions to one unit."""
        halves = 2.0 if self.accuracy is None else 3.0
        return math.sqrt(halves / 4.0 + (PAIR_WEIGHT**2 if self.classes else 0.0))

    def exact_sum(
        self, weights: Sequence[npt.NDArray[np.float32]], batches: Iterator[Batch]
    ) -> npt.NDArray[np.float32]:
        """The un-noised sum of contributions. Private: it must not leave this process."""
        constants = [tf.constant(weight) for weight in weights]

        @tf.function(reduce_retracing=True)
        def contributions(x: tf.Tensor, y: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
            return self._contributions(constants, x, y, splits)

        total = np.zeros((2 if self.accuracy is None else 3) + self.classes**2, np.float64)
        for x, y, splits in batches:
            total += contributions(tf.constant(x), tf.constant(y), tf.constant(splits)).numpy()
        return total.astype(np.float32)

    def _contributions(
        self, weights: Sequence[tf.Tensor], x: tf.Tensor, y: tf.Tensor, splits: tf.Tensor
    ) -> tf.Tensor:
        predictions = self.predict(weights, x, False)
        unit_of_row = tf.ragged.row_splits_to_segment_ids(splits)
        units = tf.shape(splits)[0] - 1

        def unit_mean(values: tf.Tensor, worst: float) -> tf.Tensor:
            values = tf.where(tf.math.is_finite(values), values, worst)
            return tf.math.unsorted_segment_mean(values, unit_of_row, units)

        losses = unit_mean(self.loss(y, predictions), LOSS_BOUND)
        columns = [tf.clip_by_value(losses, 0.0, LOSS_BOUND) / LOSS_BOUND - 0.5]
        if self.accuracy is not None:
            hits = unit_mean(self.accuracy(y, predictions), 0.0)
            columns.insert(0, tf.clip_by_value(hits, 0.0, 1.0) - 0.5)
        columns.append(tf.fill([units], 0.5))
        contributions = tf.stack(columns, axis=1)
        if self.classes:
            pairs = self._pairs(y, predictions)
            shares = PAIR_WEIGHT * tf.math.unsorted_segment_mean(pairs, unit_of_row, units)
            contributions = tf.concat([contributions, shares], axis=1)
        return tf.reduce_sum(tf.cast(contributions, tf.float64), axis=0)

    def _pairs(self, y: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
        """1 at the row's pair of true and predicted class, [rows, classes^2]."""
        if predictions.shape[-1] == 1:
            # The accuracy says whether the prediction is right; of two classes that decides it.
            right = self.accuracy(y, predictions) if self.accuracy else tf.zeros_like(y)
            truth = tf.cast(y, tf.int32)
            predicted = tf.where(right > 0.5, truth, 1 - truth)
        else:
            truth = tf.cast(y, tf.int32)
            predicted = tf.argmax(predictions, -1, tf.int32)
        return tf.one_hot(truth * self.classes + predicted, self.classes**2)


def noised_sum(
    exact: npt.NDArray[np.float32], sensitivity: float, noise_multiplier: float
) -> tuple[npt.NDArray[np.float32], float]:
    """`exact` with Gaussian noise added by TFF's DP aggregator.

    Args:
      exact: Sum of contributions.
      sensitivity: Its L2 sensitivity.
      noise_multiplier: z > 0 that was admitted.

    Returns:
      The noised sum, and the noise multiplier that the aggregator reports as executed.
    """
    stddev = sensitivity * noise_multiplier * NOISE_MARGIN
    value_type = tff.types.TensorType(np.float32, exact.shape)
    aggregation = NoisyAggregation(sum_query(sensitivity, stddev), value_type)
    state, result = aggregation.next(aggregation.initialize(), fresh_secret(), [exact])
    executed = effective_noise_multiplier(executed_event(state))
    return np.asarray(result, np.float32), executed


def metrics_from(
    noised: npt.NDArray[np.float32],
    *,
    sensitivity: float,
    noise_multiplier: float,
    classes: int = 0,
) -> dict[str, float]:
    """Means and their standard errors from a noised sum; post-processing alone.

    Args:
      noised: Accuracy (for classifiers), loss, count, and confusion counts if there are classes.
      sensitivity: Its L2 sensitivity.
      noise_multiplier: z of its noise.
      classes: Number of classes if it holds confusion counts, else 0.

    Returns:
      `units`, the noised number of evaluated units; `accuracy` and `loss`, each with `_stderr`,
      the standard error that the noise causes, and `_sampling_stderr`, an upper bound on the one
      that comes from evaluating these units and no others (a variable in [0, b] with mean m has
      variance m (b - m) at most); `confusion/TRUE/PREDICTED` in units, noised, so perhaps
      negative, with `confusion_stderr` for each of them.
    """
    stddev = sensitivity * noise_multiplier * NOISE_MARGIN
    means, pairs = np.split(noised, [len(noised) - classes**2])
    units = max(1.0, 2.0 * float(means[-1]))
    names = ["loss"] if len(means) == 2 else ["accuracy", "loss"]
    scales = {"accuracy": 1.0, "loss": LOSS_BOUND}
    metrics: dict[str, float] = {}
    for name, value in zip(names, means, strict=False):
        offset = float(value) / units
        mean = min(1.0, max(0.0, 0.5 + offset))
        # Delta method for the ratio of two independently noised sums.
        error = stddev / units * math.sqrt(1.0 + 4.0 * min(abs(offset), 0.5) ** 2)
        metrics[name] = scales[name] * mean
        metrics[f"{name}_stderr"] = scales[name] * error
        metrics[f"{name}_sampling_stderr"] = scales[name] * math.sqrt(mean * (1.0 - mean) / units)
    metrics["units"] = round(units)
    for index, value in enumerate(pairs):
        metrics[f"confusion/{index // classes}/{index % classes}"] = float(value) / PAIR_WEIGHT
    if classes:
        metrics["confusion_stderr"] = stddev / PAIR_WEIGHT
    return metrics
