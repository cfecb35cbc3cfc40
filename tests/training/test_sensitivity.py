"""What one unit can change: at most the clip, on the sum before noise, whatever its rows hold."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sytff_policy._model import parse
from sytff_policy.model_spec import ModelSpec
from sytff_policy.request import AdaptiveClipping, ClientOptimizer, FixedClipping

pytestmark = [pytest.mark.tff, pytest.mark.slow, pytest.mark.usefixtures("tff_runtime")]

CLIP = 0.5
WIDTH = 3
BATCH = 4
# The noise is drawn this much above its claim to cover single-precision rounding
# (`aggregation.NOISE_MARGIN`); no clipped update may need more.
ROUNDING = 2.0**-18

User = tuple[np.ndarray, np.ndarray]


class ShardSum:
    """The computation of one TFF client, up to and without the noise."""

    def __init__(self, clipping: Any, *, rate: float, width: int, units: int, batch: int) -> None:
        import tensorflow as tf
        import tensorflow_federated as tff

        from sytff_policy.training.aggregation import update_query
        from sytff_policy.training.functional import FunctionalModel, loss_fn
        from sytff_policy.training.process import LocalTraining, shard_sum_computation
        from sytff_policy.training.transfer import SharedMemory

        layers = [
            {"type": "Dense", "name": "h", "inputs": ["x"], "units": units, "activation": "relu"},
            {"type": "Dense", "name": "o", "inputs": ["h"], "units": 3},
        ]
        spec = {"inputs": [{"name": "x", "shape": [width]}], "layers": layers, "output": "o"}
        model = FunctionalModel(parse(ModelSpec, spec))
        self._width = width
        self._weights = model.initial_weights(5)
        self._transfer = SharedMemory([width], tf.float32, tf.int32)
        training = LocalTraining(
            model.predict,
            loss_fn("sparse_categorical_crossentropy", "linear"),
            ClientOptimizer(learning_rate=rate),
            batch,
            2,
        )
        query = update_query(clipping, 1.0, 100)
        types = [tff.types.TensorType(np.float32, weight.shape) for weight in self._weights]
        weights_type = tff.types.StructWithPythonType(types, list)
        self._sum = shard_sum_computation(query, training, weights_type, self._transfer)
        state = tff.tensorflow.computation(query.initial_global_state)()
        state_type = self._sum.type_signature.parameter[1]
        derive = tff.tensorflow.computation(
            query.derive_sample_params,
            tff.tensorflow.computation(query.initial_global_state).type_signature.result,
        )
        assert derive.type_signature.result == state_type
        self._params = derive(state)

    def of(self, users: list[User]) -> np.ndarray:
        """The sum over `users` as one vector, float64."""
        import tensorflow as tf

        from sytff_policy.training.transfer import make_shard

        shard = make_shard(
            np.concatenate([np.zeros((0, self._width), np.float32), *[x for x, _ in users]]),
            np.concatenate([np.zeros(0, np.int32), *[y for _, y in users]]),
            np.concatenate([[0], np.cumsum([len(y) for _, y in users])]).astype(np.int64),
        )
        [sent] = self._transfer.send([shard])
        record = self._sum(self._weights, self._params, sent)
        return np.concatenate([np.ravel(part) for part in tf.nest.flatten(record)]).astype(float)


@lru_cache
def fixed() -> ShardSum:
    return ShardSum(FixedClipping(norm=CLIP), rate=0.3, width=WIDTH, units=4, batch=BATCH)


@lru_cache
def adaptive() -> ShardSum:
    clipping = AdaptiveClipping(initial_norm=CLIP)
    return ShardSum(clipping, rate=0.3, width=WIDTH, units=4, batch=BATCH)


def people(count: int = 6) -> list[User]:
    generator = np.random.default_rng(2)
    return [
        (
            generator.normal(size=(size, WIDTH)).astype(np.float32),
            generator.integers(0, 3, size).astype(np.int32),
        )
        for size in (np.arange(count) % 9 + 1)
    ]


CROWD = people()

values = st.one_of(
    st.sampled_from(
        [np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, 1e-40, -1e-45, 1.17e-38, 0.0, -0.0, 1.0]
    ),
    st.floats(width=32),
)


@st.composite
def adversaries(draw: st.DrawFn) -> User:
    """A user of any number of rows of anything, often one value for all of them."""
    rows = draw(st.sampled_from([0, 1, 2, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH, 50, 1000]))
    row = draw(st.lists(values, min_size=WIDTH, max_size=WIDTH))
    x = np.tile(np.array(row, np.float32), (rows, 1))
    for index, other in draw(st.dictionaries(st.integers(0, 49), values, max_size=4)).items():
        if index < rows:
            x[index, index % WIDTH] = other
    labels = draw(st.lists(st.integers(0, 2), min_size=1, max_size=5))
    return x, np.resize(np.array(labels, np.int32), rows)


def everything(value: float, rows: int = 7) -> User:
    return np.full((rows, WIDTH), value, np.float32), np.zeros(rows, np.int32)


@settings(max_examples=150)
@example(everything(np.nan), 0)
@example(everything(np.inf), 3)
@example(everything(-np.inf), 6)
@example(everything(1e30), 2)
@example(everything(3e38), 2)
@example(everything(1e-40), 2)
@example(everything(1.0, rows=0), 2)
@given(adversaries(), st.integers(0, len(CROWD)))
def test_adding_or_removing_a_unit_changes_the_sum_by_at_most_the_clip(
    adversary: User, position: int
) -> None:
    without = fixed().of(CROWD)
    with_them = fixed().of([*CROWD[:position], adversary, *CROWD[position:]])
    assert np.isfinite(with_them).all()
    # The sums themselves are rounded to single precision, coordinate by coordinate.
    rounded = np.linalg.norm(np.abs(without) + CLIP) * 2.0**-22
    assert np.linalg.norm(with_them - without) <= CLIP * (1 + ROUNDING) + rounded


@settings(max_examples=75)
@example(everything(np.nan))
@example(everything(1e30))
@given(adversaries())
def test_alone_a_unit_contributes_at_most_the_clip(adversary: User) -> None:
    contribution = fixed().of([adversary])
    assert np.linalg.norm(contribution) <= CLIP * (1 + ROUNDING)


@settings(max_examples=75)
@example(everything(np.nan))
@example(everything(1e-40))
@given(adversaries())
def test_with_an_adaptive_clip_a_unit_also_counts_for_half_at_most(adversary: User) -> None:
    contribution = adaptive().of([adversary])
    assert np.linalg.norm(contribution[:-1]) <= CLIP * (1 + ROUNDING)
    assert abs(contribution[-1]) == 0.5


def test_a_unit_of_a_million_rows_counts_as_one() -> None:
    generator = np.random.default_rng(0)
    rows = 1_000_000
    many = ShardSum(FixedClipping(norm=CLIP), rate=0.3, width=WIDTH, units=4, batch=1000)
    crowd = (
        generator.normal(size=(rows, WIDTH)).astype(np.float32),
        generator.integers(0, 3, rows).astype(np.int32),
    )
    norm = np.linalg.norm(many.of([crowd]))
    assert CLIP * (1 - ROUNDING) <= norm <= CLIP * (1 + ROUNDING)


def test_rounding_in_a_large_model_stays_within_the_margin_of_the_noise() -> None:
    large = ShardSum(FixedClipping(norm=1e-3), rate=0.5, width=1000, units=1000, batch=8)
    generator = np.random.default_rng(1)
    user = (
        generator.normal(size=(16, 1000)).astype(np.float32),
        generator.integers(0, 3, 16).astype(np.int32),
    )
    norm = np.linalg.norm(large.of([user]))
    assert 1e-3 * (1 - ROUNDING) <= norm <= 1e-3 * (1 + ROUNDING)
