"""Without noise, our weights and clips are those of TFF's own federated averaging."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sytff_policy._model import parse
from sytff_policy.model_spec import ModelSpec
from sytff_policy.request import (
    AdaptiveClipping,
    ClientOptimizer,
    FixedClipping,
    ServerOptimizer,
)

pytestmark = [pytest.mark.tff, pytest.mark.slow, pytest.mark.usefixtures("tff_runtime")]

BATCH = 4
ROUNDS = 4
RATE = 0.2
CLASSES = 3
# Many rows, one, exactly one batch, rows that do not fill a batch, and none.
SIZES = (61, 1, 4, 7, 3, 1, 12, 0, 5)

User = tuple[np.ndarray, np.ndarray]


def dense(name: str, source: str, units: int, activation: str = "linear") -> dict[str, Any]:
    return {
        "type": "Dense",
        "name": name,
        "inputs": [source],
        "units": units,
        "activation": activation,
    }


def model(kind: str) -> tuple[ModelSpec, list[str]]:
    """A specification, and the Keras layers that say the same."""
    if kind == "logistic":
        shape, layers = [6], [dense("out", "x", CLASSES)]
    elif kind == "mlp":
        shape = [6]
        layers = [
            dense("h", "x", 9, "relu"),
            dense("g", "h", 5, "tanh"),
            dense("out", "g", CLASSES),
        ]
    else:
        shape = [8, 8, 1]
        layers = [
            {
                "type": "Conv2D",
                "name": "c",
                "inputs": ["x"],
                "filters": 4,
                "kernel_size": [3, 3],
                "activation": "relu",
            },
            {"type": "MaxPooling2D", "name": "p", "inputs": ["c"], "pool_size": [2, 2]},
            {"type": "Flatten", "name": "f", "inputs": ["p"]},
            dense("out", "f", CLASSES),
        ]
    spec = {"inputs": [{"name": "x", "shape": shape}], "layers": layers, "output": "out"}
    return parse(ModelSpec, spec), shape


def keras_model(kind: str) -> Any:
    import tensorflow as tf

    layers = tf.keras.layers
    body = {
        "logistic": [],
        "mlp": [layers.Dense(9, activation="relu"), layers.Dense(5, activation="tanh")],
        "cnn": [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten()],
    }[kind]
    return tf.keras.Sequential([layers.InputLayer(model(kind)[1]), *body, layers.Dense(CLASSES)])


def people(kind: str) -> list[User]:
    generator = np.random.default_rng(3)
    shape = model(kind)[1]
    return [
        (
            generator.normal(size=(size, *shape)).astype(np.float32),
            generator.integers(0, CLASSES, size).astype(np.int32),
        )
        for size in SIZES
    ]


def ours(
    kind: str, server: ServerOptimizer, clipping: Any, epochs: int, momentum: float = 0.0
) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """First weights, last weights, and the clip after each round if it adapts."""
    import tensorflow as tf

    from sytff_policy.training.aggregation import update_query
    from sytff_policy.training.functional import FunctionalModel, loss_fn
    from sytff_policy.training.process import FederatedRounds, LocalTraining
    from sytff_policy.training.transfer import SharedMemory, make_shard

    spec, shape = model(kind)
    functional = FunctionalModel(spec)
    initial = functional.initial_weights(11)
    process = FederatedRounds(
        weight_specs=[tf.TensorSpec(weight.shape, tf.float32) for weight in initial],
        transfer=SharedMemory(shape, tf.float32, tf.int32),
        training=LocalTraining(
            functional.predict,
            loss_fn("sparse_categorical_crossentropy", "linear"),
            ClientOptimizer(learning_rate=RATE, momentum=momentum),
            BATCH,
            epochs,
        ),
        query=update_query(clipping, 0.0, len(SIZES)),
        server_optimizer=server,
    )
    users = people(kind)
    shards = [
        make_shard(
            np.concatenate([x for x, _ in part]),
            np.concatenate([y for _, y in part]),
            np.concatenate([[0], np.cumsum([len(y) for _, y in part])]).astype(np.int64),
        )
        for part in (users[::2], users[1::2])
    ]
    state = process.initialize(initial)
    clips = []
    for _ in range(ROUNDS):
        state = process.next(state, shards)
        if isinstance(clipping, AdaptiveClipping):
            clips.append(_clip(state.aggregator[0][0]))
    return initial, [np.asarray(weight) for weight in state.weights], clips


def theirs(
    kind: str,
    server: ServerOptimizer,
    aggregator: Any,
    epochs: int,
    initial: list[np.ndarray],
    momentum: float = 0.0,
) -> tuple[list[np.ndarray], list[float]]:
    """What `build_unweighted_fed_avg` makes of the same people."""
    import tensorflow as tf
    import tensorflow_federated as tff

    from sytff_policy.training.process import build_server_optimizer

    shape = model(kind)[1]
    input_spec = (tf.TensorSpec([None, *shape], tf.float32), tf.TensorSpec([None], tf.int32))

    def model_fn() -> Any:
        return tff.learning.models.from_keras_model(
            keras_model(kind),
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            input_spec=input_spec,
        )

    process = tff.learning.algorithms.build_unweighted_fed_avg(
        model_fn,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(RATE, momentum or None),
        server_optimizer_fn=build_server_optimizer(server),
        model_aggregator=aggregator,
    )
    begin = tff.learning.models.ModelWeights(trainable=initial, non_trainable=[])
    state = process.set_model_weights(process.initialize(), begin)
    data = [
        tf.data.Dataset.from_tensor_slices(user).batch(BATCH).repeat(epochs)
        for user in people(kind)
    ]
    clips = []
    for _ in range(ROUNDS):
        state = process.next(state, data).state
        clips.append(_clip(state.aggregator[0]))
    return process.get_model_weights(state).trainable, clips


def _clip(query_state: Any) -> float:
    numerator = query_state.numerator_state
    return float(getattr(numerator, "sum_state", numerator).l2_norm_clip)


def assert_equal(mine: list[np.ndarray], other: list[np.ndarray], start: list[np.ndarray]) -> None:
    """Equal to 1e-5 of the weights, and of how far they have moved to 1e-4."""
    for after, wanted, before in zip(mine, other, start, strict=True):
        np.testing.assert_allclose(after, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
        moved = np.linalg.norm(wanted - before)
        assert moved > 0.01
        assert np.linalg.norm(after - wanted) <= 1e-4 * moved


SERVERS = {
    "sgd": ServerOptimizer(),
    "momentum": ServerOptimizer(learning_rate=0.7, momentum=0.9),
    "adam": ServerOptimizer(name="adam", learning_rate=0.05),
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("kind", ["logistic", "mlp", "cnn"])
def test_the_weights_are_those_of_tffs_federated_averaging(kind: str, server: str) -> None:
    import tensorflow_federated as tff

    # Some of the updates are clipped at this norm, and some are not.
    clip = 0.6
    start, mine, _ = ours(kind, SERVERS[server], FixedClipping(norm=clip), epochs=3)
    aggregator = tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(
        0.0, float(len(SIZES)), clip
    )
    other, _ = theirs(kind, SERVERS[server], aggregator, 3, start)
    assert_equal(mine, other, start)


def test_momentum_at_the_clients_is_that_of_tff() -> None:
    import tensorflow_federated as tff

    start, mine, _ = ours("mlp", SERVERS["sgd"], FixedClipping(norm=0.6), 2, momentum=0.9)
    aggregator = tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(
        0.0, float(len(SIZES)), 0.6
    )
    other, _ = theirs("mlp", SERVERS["sgd"], aggregator, 2, start, momentum=0.9)
    assert_equal(mine, other, start)


@pytest.mark.parametrize(("initial", "quantile"), [(0.05, 0.5), (5.0, 0.8)])
def test_the_clip_adapts_as_in_tff(initial: float, quantile: float) -> None:
    """With no noise on the count either, so that both follow one trajectory."""
    import tensorflow_federated as tff

    clipping = AdaptiveClipping(
        initial_norm=initial, target_quantile=quantile, learning_rate=0.5,
        clipped_count_stddev=1e-7,
    )  # fmt: skip
    start, mine, clips = ours("mlp", SERVERS["sgd"], clipping, 2)
    aggregator = tff.aggregators.DifferentiallyPrivateFactory.gaussian_adaptive(
        0.0,
        float(len(SIZES)),
        initial_l2_norm_clip=initial,
        target_unclipped_quantile=quantile,
        learning_rate=0.5,
        clipped_count_stddev=1e-7,
    )
    other, wanted = theirs("mlp", SERVERS["sgd"], aggregator, 2, start)
    np.testing.assert_allclose(clips, wanted, rtol=1e-5)
    assert max(clips) / min(clips) > 1.2
    assert_equal(mine, other, start)


@pytest.mark.parametrize("transfer", ["InCall", "SharedMemory"])
def test_both_ways_to_the_worker_hand_over_the_same_rows(transfer: str) -> None:
    import tensorflow as tf
    import tensorflow_federated as tff

    from sytff_policy.training import transfer as module

    made = getattr(module, transfer)([2, 3], tf.float32, tf.int32)
    same = _identity(made)
    computation = tff.federated_computation(
        lambda data: tff.federated_map(same, data), tff.FederatedType(made.type, tff.CLIENTS)
    )
    generator = np.random.default_rng(0)
    # Shrinking and growing: nothing of an earlier cohort may be left.
    for rows in (5, 0, 1, 9, 3):
        x = generator.normal(size=(rows, 2, 3)).astype(np.float32)
        y = generator.integers(0, 9, rows).astype(np.int32)
        splits = np.array([0, rows], np.int64)
        [(features, labels, row_splits)] = computation(made.send([module.make_shard(x, y, splits)]))
        np.testing.assert_array_equal(features, x)
        np.testing.assert_array_equal(labels, y)
        np.testing.assert_array_equal(row_splits, splits)


def _identity(transfer: Any) -> Callable[..., Any]:
    import tensorflow_federated as tff

    return tff.tensorflow.computation(lambda sent: transfer.receive(sent), transfer.type)
