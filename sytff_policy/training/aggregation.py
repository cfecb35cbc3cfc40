"""DP aggregation by TFF's `DifferentiallyPrivateFactory` over sums of shards.

A TFF client here is a shard of virtual silos. It clips every unit's update itself and sends their
sum, so TFF's aggregator must not clip again: `ShardSumQuery` gives it a query whose records are
already preprocessed, and whose noise, adaptive-clip bookkeeping and privacy event are the wrapped
query's own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp
from dp_accounting import ComposedDpEvent, DpEvent, GaussianDpEvent
from tensorflow_federated.python.aggregators import differential_privacy

from sytff_policy.request import AdaptiveClipping, FixedClipping

NOISE_MARGIN = 1.0 + 2.0**-18
"""Noise is this much above what was admitted, to cover single-precision rounding.

Clip norms, noise scales and clipped updates are float32; each rounds by at most 2^-23 relative.
"""


class SecretNoise:
    """Gaussian noise that is a function of a round's secret.

    TensorFlow's unseeded random operations take their seeds from one generator in the process,
    which is itself seeded with 32 bits (`tsl/platform/random.cc`): whoever can try 2^32 seeds on a
    released model can take its noise off again. Here every round's noise is keyed with 128 bits
    of the operating system's entropy, which nobody keeps.
    """

    def __init__(self) -> None:
        self._secret: tf.Tensor | None = None
        self._draws = 0

    @contextlib.contextmanager
    def keyed(self, secret: tf.Tensor) -> Iterator[None]:
        """Within it, in a graph that is being traced, noise comes from `secret`, int64 [2]."""
        self._secret, self._draws = secret, 0
        try:
            yield
        finally:
            self._secret = None

    def add_to(self, tensor: tf.Tensor, stddev: tf.Tensor) -> tf.Tensor:
        """`tensor` plus fresh noise; NaN if nobody gave a secret, so that it is never released."""
        if self._secret is None:
            raise AssertionError("noise without a secret")
        seed = tf.random.experimental.stateless_fold_in(self._secret, self._draws)
        self._draws += 1
        given = tf.reduce_any(tf.not_equal(self._secret, 0))
        scale = tf.where(given, tf.cast(stddev, tensor.dtype), float("nan"))
        return tensor + scale * tf.random.stateless_normal(
            tf.shape(tensor), seed, dtype=tensor.dtype
        )


def fresh_secret() -> npt.NDArray[np.int64]:
    """128 bits for one round's noise, int64 [2]."""
    return np.frombuffer(os.urandom(16), np.int64)


class SecretGaussianSumQuery(tfp.GaussianSumQuery):  # type: ignore[misc]  # tfp is untyped
    """`GaussianSumQuery` whose noise comes from a `SecretNoise`."""

    def __init__(self, norm: float, stddev: float, noise: SecretNoise) -> None:
        super().__init__(norm, stddev)
        self._noise = noise

    def get_noised_result(self, sample_state: Any, global_state: Any) -> Any:
        result = tf.nest.map_structure(
            lambda tensor: self._noise.add_to(tensor, global_state.stddev), sample_state
        )
        event = GaussianDpEvent(global_state.stddev / global_state.l2_norm_clip)
        return result, global_state, event


class _Quantile(tfp.QuantileEstimatorQuery):  # type: ignore[misc]
    def __init__(self, *args: Any, noise: SecretNoise) -> None:
        self._noise = noise
        super().__init__(*args)

    def _construct_below_estimate_query(self, stddev: float, records: float) -> Any:
        # Half a count is what one unit can change: counts are shifted to -1/2 and 1/2.
        return tfp.NormalizedQuery(SecretGaussianSumQuery(0.5, stddev, self._noise), records)


class _AdaptiveClipSumQuery(tfp.QuantileAdaptiveClipSumQuery):  # type: ignore[misc]
    def __init__(
        self,
        clipping: AdaptiveClipping,
        value_noise: float,
        count_stddev: float,
        clients: float,
        noise: SecretNoise,
    ) -> None:
        norm = clipping.initial_norm
        quantile = (clipping.target_quantile, clipping.learning_rate, count_stddev, clients, True)
        super().__init__(norm, value_noise, *quantile)
        self._sum_query = SecretGaussianSumQuery(norm, value_noise * norm, noise)
        self._quantile_estimator_query = _Quantile(norm, *quantile, noise=noise)


class ShardSumQuery(tfp.SumAggregationDPQuery):  # type: ignore[misc]
    """`inner`, for records that `inner.preprocess_record` has already been applied to and summed.

    Its global state is the inner query's and the round's secret, which it forgets at once.

    Args:
      inner: The query that defines clipping, noise, bookkeeping and event.
      noise: What `inner` draws its noise from.
    """

    def __init__(self, inner: Any, noise: SecretNoise) -> None:
        self.inner = inner
        self._noise = noise

    def initial_global_state(self) -> Any:
        return self.inner.initial_global_state(), _no_secret()

    def derive_sample_params(self, global_state: Any) -> Any:
        return self.inner.derive_sample_params(global_state[0])

    def initial_sample_state(self, template: Any) -> Any:
        return tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), template)

    def preprocess_record(self, params: Any, record: Any) -> Any:
        del params
        return record

    def get_noised_result(self, sample_state: Any, global_state: Any) -> Any:
        inner_state, secret = global_state
        with self._noise.keyed(secret):
            result, after, event = self.inner.get_noised_result(sample_state, inner_state)
        return result, (after, _no_secret()), event

    def derive_metrics(self, global_state: Any) -> Any:
        return self.inner.derive_metrics(global_state[0])


def _no_secret() -> tf.Tensor:
    return tf.zeros([2], tf.int64)


class NoisyAggregation:
    """TFF's DP aggregator over sums of shards, given a secret every round.

    Args:
      query: The round's query, as from `update_query` or `sum_query`.
      value_type: TFF type of one shard's sum.

    Attributes:
      initialize: TFF computation () -> state at the server.
      next: TFF computation (state, secret, sums) -> (state, result); secret as `fresh_secret`.
    """

    def __init__(self, query: ShardSumQuery, value_type: Any) -> None:
        process = tff.aggregators.DifferentiallyPrivateFactory(query).create(value_type)
        self.initialize = process.initialize
        state_type = process.initialize.type_signature.result
        secret_type = tff.types.TensorType(np.int64, [2])

        @tff.tensorflow.computation(state_type.member, secret_type)
        def keyed(state: Any, secret: Any) -> Any:
            query_state, *rest = state
            return type(state)((query_state[0], secret), *rest)

        @tff.federated_computation(
            state_type,
            tff.FederatedType(secret_type, tff.SERVER),
            tff.FederatedType(value_type, tff.CLIENTS),
        )
        def next_round(state: Any, secret: Any, sums: Any) -> Any:
            output = process.next(tff.federated_map(keyed, (state, secret)), sums)
            # Its measurements stay here: they are not part of what is accounted for.
            return output.state, output.result

        self.next = next_round


def sum_query(norm: float, stddev: float) -> ShardSumQuery:
    """The query for one sum of records of L2 norm `norm` at most, with noise of `stddev`."""
    noise = SecretNoise()
    return ShardSumQuery(SecretGaussianSumQuery(norm, stddev, noise), noise)


def update_query(
    clipping: FixedClipping | AdaptiveClipping, noise_multiplier: float, clients_per_round: int
) -> ShardSumQuery:
    """The query for one round's updates: clip, sum, noise, divide by the fixed cohort size.

    Args:
      clipping: How updates are clipped.
      noise_multiplier: z > 0 that was admitted; for adaptive clipping, the effective one of
        update and clipped count together.
      clients_per_round: The fixed denominator.
    """
    multiplier = noise_multiplier * NOISE_MARGIN
    clients = float(clients_per_round)
    noise = SecretNoise()
    if isinstance(clipping, FixedClipping):
        numerator = SecretGaussianSumQuery(clipping.norm, clipping.norm * multiplier, noise)
    else:
        value_noise, count_stddev = differential_privacy.adaptive_clip_noise_params(
            multiplier, clients, clipping.clipped_count_stddev
        )
        numerator = _AdaptiveClipSumQuery(clipping, value_noise, count_stddev, clients, noise)
    return ShardSumQuery(tfp.NormalizedQuery(numerator, denominator=clients), noise)


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
