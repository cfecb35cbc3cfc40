"""Differentially private evaluation: bounded contributions of units, summed and noised by TFF.

Unit i contributes v_i = (accuracy_i - 1/2, loss_i / B - 1/2, 1/2), where accuracy_i is its mean
accuracy over its rows and loss_i its mean loss clipped to [0, B]. Every coordinate is within 1/2,
so adding or removing one unit changes the sum by at most sqrt(3)/2 in L2 (sqrt(2)/2 without
accuracy). The sum gets Gaussian noise of stddev z times that; the third coordinate gives the
number of evaluated units without revealing it, and the reported means are ratios of noised sums:
post-processing.
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
    """

    predict: Callable[[Sequence[tf.Tensor], tf.Tensor, bool], tf.Tensor]
    loss: ExampleFunction
    accuracy: ExampleFunction | None

    @property
    def sensitivity(self) -> float:
        """L2 sensitivity of the summed contributions to one unit."""
        return math.sqrt(2.0 if self.accuracy is None else 3.0) / 2.0

    def exact_sum(
        self, weights: Sequence[npt.NDArray[np.float32]], batches: Iterator[Batch]
    ) -> npt.NDArray[np.float32]:
        """The un-noised sum of contributions. Private: it must not leave this process."""
        constants = [tf.constant(weight) for weight in weights]

        @tf.function(reduce_retracing=True)
        def contributions(x: tf.Tensor, y: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
            return self._contributions(constants, x, y, splits)

        total = np.zeros(2 if self.accuracy is None else 3, np.float64)
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
        return tf.reduce_sum(tf.cast(tf.stack(columns, axis=1), tf.float64), axis=0)


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
    noised: npt.NDArray[np.float32], *, sensitivity: float, noise_multiplier: float
) -> dict[str, float]:
    """Means and their noise standard errors from a noised sum; post-processing alone.

    Returns:
      `accuracy`, `loss` (each with `_stderr`, the part that the noise causes) and `units`, the
      noised number of evaluated units.
    """
    stddev = sensitivity * noise_multiplier * NOISE_MARGIN
    units = max(1.0, 2.0 * float(noised[-1]))
    names = ["loss"] if len(noised) == 2 else ["accuracy", "loss"]
    scales = {"accuracy": 1.0, "loss": LOSS_BOUND}
    metrics: dict[str, float] = {}
    for name, value in zip(names, noised, strict=False):
        offset = float(value) / units
        # Delta method for the ratio of two independently noised sums.
        error = stddev / units * math.sqrt(1.0 + 4.0 * min(abs(offset), 0.5) ** 2)
        metrics[name] = scales[name] * min(1.0, max(0.0, 0.5 + offset))
        metrics[f"{name}_stderr"] = scales[name] * error
    metrics["units"] = round(units)
    return metrics
