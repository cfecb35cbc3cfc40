"""Three ways to run the same DP round: plain TensorFlow, stock TFF, and this project's engine.

Each engine is built once for a cohort; every call of `round` trains each user from the current
weights, clips, sums, adds noise, divides by the cohort's size and moves the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from benchmarks.workloads import User, Workload
from sytff_policy.request import ClientOptimizer, FixedClipping, ServerOptimizer
from sytff_policy.training.aggregation import update_query
from sytff_policy.training.functional import FunctionalModel, loss_fn
from sytff_policy.training.process import FederatedRounds, LocalTraining
from sytff_policy.training.transfer import ShardData, SharedMemory, make_shard


class Engine(Protocol):
    """One way to run a round."""

    def round(self) -> None:
        """Runs one round on the engine's cohort."""


class PlainTensorFlow:
    """One `tf.function` a round over the whole cohort, written without this project's code."""

    def __init__(self, workload: Workload, users: Sequence[User]) -> None:
        self._x = np.concatenate([x for x, _ in users])
        self._y = np.concatenate([y for _, y in users])
        self._splits = np.concatenate([[0], np.cumsum([len(y) for _, y in users])]).astype(np.int64)
        self._weights = [
            tf.Variable(weight) for weight in FunctionalModel(workload.spec).initial_weights(7)
        ]
        self._round = tf.function(_plain_round(workload, self._weights))

    def round(self) -> None:
        self._round(tf.constant(self._x), tf.constant(self._y), tf.constant(self._splits))
        # Waits for the result, as the others do by handing it over.
        self._weights[-1].numpy()


class StockTFF:
    """`build_unweighted_fed_avg` with `DifferentiallyPrivateFactory.gaussian_fixed`."""

    def __init__(self, workload: Workload, users: Sequence[User]) -> None:
        def model_fn() -> Any:
            return tff.learning.models.from_keras_model(
                _keras_model(workload),
                loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                input_spec=(
                    tf.TensorSpec([None, *workload.shape], tf.float32),
                    tf.TensorSpec([None], tf.int32),
                ),
            )

        self._process = tff.learning.algorithms.build_unweighted_fed_avg(
            model_fn,
            client_optimizer_fn=tff.learning.optimizers.build_sgdm(workload.client_rate),
            server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
            model_aggregator=tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(
                workload.noise, float(workload.users), workload.clip
            ),
        )
        self._state = self._process.initialize()
        self._data = [
            tf.data.Dataset.from_tensor_slices(user).batch(workload.batch).repeat(workload.epochs)
            for user in users
        ]

    def round(self) -> None:
        self._state = self._process.next(self._state, self._data).state


class VirtualSilos:
    """This project's engine: shards of users as TFF clients."""

    def __init__(self, workload: Workload, users: Sequence[User], shards: int = 2) -> None:
        model = FunctionalModel(workload.spec)
        initial = model.initial_weights(7)
        self._process = FederatedRounds(
            weight_specs=[tf.TensorSpec(weight.shape, tf.float32) for weight in initial],
            transfer=SharedMemory(workload.shape, tf.float32, tf.int32),
            training=LocalTraining(
                model.predict,
                loss_fn("sparse_categorical_crossentropy", "linear"),
                ClientOptimizer(learning_rate=workload.client_rate),
                workload.batch,
                workload.epochs,
            ),
            query=update_query(FixedClipping(norm=workload.clip), workload.noise, workload.users),
            server_optimizer=ServerOptimizer(),
        )
        self._state = self._process.initialize(initial)
        self._shards = [
            _shard([users[index] for index in part])
            for part in np.array_split(np.arange(len(users)), shards)
        ]

    def round(self) -> None:
        self._state = self._process.next(self._state, self._shards)
        self._state.executed_noise_multiplier()


ENGINES = {"plain": PlainTensorFlow, "stock": StockTFF, "ours": VirtualSilos}


def _shard(users: Sequence[User]) -> ShardData:
    return make_shard(
        np.concatenate([x for x, _ in users]),
        np.concatenate([y for _, y in users]),
        np.concatenate([[0], np.cumsum([len(y) for _, y in users])]).astype(np.int64),
    )


def _plain_forward(kind: str, w: Sequence[tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    if kind == "logistic":
        return tf.matmul(x, w[0]) + w[1]
    if kind == "mlp":
        return tf.matmul(tf.nn.relu(tf.matmul(x, w[0]) + w[1]), w[2]) + w[3]
    for kernel, bias in ((w[0], w[1]), (w[2], w[3])):
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return tf.matmul(tf.reshape(x, [-1, 5 * 5 * 32]), w[4]) + w[5]


def _plain_round(workload: Workload, variables: Sequence[tf.Variable]) -> Any:
    batch = workload.batch

    def local(weights: list[tf.Tensor], x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
        rows = tf.shape(x)[0]
        steps = (rows + batch - 1) // batch

        def step(index: tf.Tensor, now: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            low = (index % steps) * batch
            with tf.GradientTape() as tape:
                tape.watch(now)
                logits = _plain_forward(workload.model, now, x[low : low + batch])
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(y[low : low + batch], logits)
                )
            gradients = tape.gradient(loss, now)
            return index + 1, [
                w - workload.client_rate * g for w, g in zip(now, gradients, strict=True)
            ]

        _, trained = tf.while_loop(
            lambda index, _: index < steps * workload.epochs, step, (tf.constant(0), weights)
        )
        return [after - before for after, before in zip(trained, weights, strict=True)]

    def one_round(x: tf.Tensor, y: tf.Tensor, splits: tf.Tensor) -> None:
        weights = [tf.convert_to_tensor(variable) for variable in variables]

        def add_user(index: tf.Tensor, total: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            low, high = splits[index], splits[index + 1]
            update = local(weights, x[low:high], y[low:high])
            finite = tf.math.is_finite(tf.linalg.global_norm(update))
            update = [tf.where(finite, tensor, tf.zeros_like(tensor)) for tensor in update]
            update, _ = tf.clip_by_global_norm(update, workload.clip)
            return index + 1, [t + u for t, u in zip(total, update, strict=True)]

        _, total = tf.while_loop(
            lambda index, _: index < tf.shape(splits)[0] - 1,
            add_user,
            (tf.constant(0), [tf.zeros_like(w) for w in weights]),
        )
        for variable, tensor in zip(variables, total, strict=True):
            noise = tf.random.normal(tensor.shape, stddev=workload.noise * workload.clip)
            variable.assign_add((tensor + noise) / workload.users)

    return one_round


def _keras_model(workload: Workload) -> Any:
    layers = tf.keras.layers
    body = {
        "logistic": [],
        "mlp": [layers.Dense(200, activation="relu")],
        "cnn": [
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
        ],
    }[workload.model]
    return tf.keras.Sequential(
        [layers.InputLayer(workload.shape), *body, layers.Dense(workload.classes)]
    )
