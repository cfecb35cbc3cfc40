"""Noise is keyed with the operating system's entropy, and with nothing that anybody sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sytff_policy.request import AdaptiveClipping, FixedClipping

pytestmark = [pytest.mark.tff, pytest.mark.slow, pytest.mark.usefixtures("tff_runtime")]

SECRET = np.array([3, 2**62], np.int64)


class Aggregation:
    """One aggregation of nobody's update: its result is noise alone."""

    def __init__(self, clipping: Any) -> None:
        import tensorflow as tf
        import tensorflow_federated as tff

        from sytff_policy.training.aggregation import NoisyAggregation, update_query

        query = update_query(clipping, 1.0, 50)

        @tff.tensorflow.computation
        def nothing() -> Any:
            zeros = [tf.zeros([40]), tf.zeros([5, 8])]
            params = query.inner.derive_sample_params(query.inner.initial_global_state())
            record = query.inner.preprocess_record(params, zeros)
            return tf.nest.map_structure(tf.zeros_like, record)

        self._aggregation = NoisyAggregation(query, nothing.type_signature.result)
        self._nothing = nothing()

    def noise(self, secret: np.ndarray) -> tuple[np.ndarray, np.ndarray, float | None]:
        """Noise of the two tensors, and the next clip if it adapts."""
        begin = self._aggregation.initialize()
        state, result = self._aggregation.next(begin, secret, [self._nothing])
        numerator = state[0][0].numerator_state
        clip = float(numerator.sum_state.l2_norm_clip) if hasattr(numerator, "sum_state") else None
        assert np.array_equal(state[0][1], [0, 0])
        first, second = result
        return np.ravel(first), np.ravel(second), clip


@pytest.fixture(scope="module", params=["fixed", "adaptive"])
def aggregation(request: pytest.FixtureRequest, tff_runtime: None) -> Aggregation:
    adaptive = request.param == "adaptive"
    return Aggregation(AdaptiveClipping() if adaptive else FixedClipping())


def test_the_secret_decides_all_of_the_noise(aggregation: Aggregation) -> None:
    """So none of it comes from TensorFlow's generator, which has a seed of 32 bits."""
    first, again = aggregation.noise(SECRET), aggregation.noise(SECRET)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_bit_of_the_secret_changes_all_of_the_noise(aggregation: Aggregation) -> None:
    first, second, clip = aggregation.noise(SECRET)
    for word in (0, 1):
        for bit in (0, 31, 32, 62):
            other = SECRET.copy()
            other[word] ^= np.int64(1) << np.int64(bit)
            changed_first, changed_second, changed_clip = aggregation.noise(other)
            assert (changed_first != first).all()
            assert (changed_second != second).all()
            assert clip is None or changed_clip != clip


def test_tensors_of_one_round_do_not_share_noise(aggregation: Aggregation) -> None:
    first, second, _ = aggregation.noise(SECRET)
    assert np.intersect1d(first, second).size == 0


def test_noise_without_a_secret_is_not_a_number(aggregation: Aggregation) -> None:
    """An update that was not noised can then never be taken for one that was."""
    first, second, _ = aggregation.noise(np.zeros(2, np.int64))
    assert np.isnan(first).all()
    assert np.isnan(second).all()


def test_secrets_are_fresh_and_come_from_the_operating_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sytff_policy.training import aggregation

    np.random.default_rng(0)
    drawn = {tuple(aggregation.fresh_secret()) for _ in range(1000)}
    assert len(drawn) == 1000
    monkeypatch.setattr(aggregation.os, "urandom", lambda size: bytes(range(size)))
    expected = np.frombuffer(bytes(range(16)), np.int64)
    np.testing.assert_array_equal(aggregation.fresh_secret(), expected)
