"""DP aggregation by TFF's `DifferentiallyPrivateFactory` over sums of shards.

A TFF client here is a shard of virtual silos. It clips every unit's update itself and sends their
sum, so TFF's aggregator must not clip again: `ShardSumQuery` gives it a query whose records are
already preprocessed, and whose noise, adaptive-clip bookkeeping and privacy event are the wrapped
query's own.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_privacy as tfp
from dp_accounting import ComposedDpEvent, DpEvent, GaussianDpEvent
from tensorflow_federated.python.aggregators import differential_privacy

from sytff_policy.request import AdaptiveClipping, FixedClipping

NOISE_MARGIN = 1.0 + 2.0**-18
"""Noise is this much above what was admitted, to cover single-precision rounding.

Clip norms, noise scales and clipped updates are float32; each rounds by at most 2^-23 relative.
"""


class ShardSumQuery(tfp.SumAggregationDPQuery):  # type: ignore[misc]  # tfp is untyped
    """`inner`, for records that `inner.preprocess_record` has already been applied to and summed.

    Args:
      inner: The query that defines clipping, noise, bookkeeping and event.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def initial_global_state(self) -> Any:
        return self._inner.initial_global_state()

    def derive_sample_params(self, global_state: Any) -> Any:
        return self._inner.derive_sample_params(global_state)

    def initial_sample_state(self, template: Any) -> Any:
        return tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), template)

    def preprocess_record(self, params: Any, record: Any) -> Any:
        del params
        return record

    def get_noised_result(self, sample_state: Any, global_state: Any) -> Any:
        return self._inner.get_noised_result(sample_state, global_state)

    def derive_metrics(self, global_state: Any) -> Any:
        return self._inner.derive_metrics(global_state)


def update_query(
    clipping: FixedClipping | AdaptiveClipping, noise_multiplier: float, clients_per_round: int
) -> Any:
    """The query for one round's updates: clip, sum, noise, divide by the fixed cohort size.

    Args:
      clipping: How updates are clipped.
      noise_multiplier: z > 0 that was admitted; for adaptive clipping, the effective one of
        update and clipped count together.
      clients_per_round: The fixed denominator.
    """
    noise = noise_multiplier * NOISE_MARGIN
    clients = float(clients_per_round)
    if isinstance(clipping, FixedClipping):
        numerator = tfp.GaussianSumQuery(clipping.norm, clipping.norm * noise)
        return tfp.NormalizedQuery(numerator, denominator=clients)
    value_noise, count_stddev = differential_privacy.adaptive_clip_noise_params(
        noise, clients, clipping.clipped_count_stddev
    )
    numerator = tfp.QuantileAdaptiveClipSumQuery(
        initial_l2_norm_clip=clipping.initial_norm,
        noise_multiplier=value_noise,
        target_unclipped_quantile=clipping.target_quantile,
        learning_rate=clipping.learning_rate,
        clipped_count_stddev=count_stddev,
        expected_num_records=clients,
        geometric_update=True,
    )
    return tfp.NormalizedQuery(numerator, denominator=clients)


def zero_if_not_finite(update: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """`update`, or zeros if any element, or its squared norm, is NaN or infinite.

    One NaN would turn the sum of everyone into NaN, noise or not; an update whose norm overflows
    cannot be scaled to a norm. Both are one unit's own doing and count as no update.
    """
    finite = tf.math.is_finite(tf.linalg.global_norm(list(update)))
    kept: list[tf.Tensor] = tf.cond(
        finite, lambda: list(update), lambda: [tf.zeros_like(tensor) for tensor in update]
    )
    return kept


def effective_noise_multiplier(event: DpEvent) -> float:
    """Noise multiplier of one Gaussian that is as private as the executed `event`.

    Gaussian mechanisms on the same sample compose by adding inverse squares.

    Returns:
      z, or NaN for any event that is not made of Gaussians, which no comparison admits.
    """
    if isinstance(event, GaussianDpEvent):
        return float(event.noise_multiplier)
    if isinstance(event, ComposedDpEvent) and event.events:
        precision = 0.0
        for part in event.events:
            if not isinstance(part, GaussianDpEvent):
                return float("nan")
            noise = float(part.noise_multiplier)
            precision += noise**-2 if noise > 0 else float("nan")
        return float(precision**-0.5)
    return float("nan")


def executed_event(state: Any) -> DpEvent:
    """The event that TFF's aggregator says it executed in the round that made `state`.

    Only ever called on a state that this process has just received from its own worker: the
    function rebuilds the event by importing the module that the state names.
    """
    return differential_privacy.extract_dp_event_from_state(state)


def record_type_template(tensors: Sequence[tf.TensorSpec]) -> list[tf.Tensor]:
    """Zeros of the given shapes."""
    return [tf.zeros(spec.shape, spec.dtype) for spec in tensors]


Struct = collections.OrderedDict
