"""The federated round: batched virtual silos inside TFF.

Broadcast the model; every TFF client (a shard of the cohort) trains each of its units from that
model on the unit's own rows, zeroes what is not finite, clips, and returns the sum; TFF's DP
aggregator sums the shards and adds the noise; the server optimizer applies the mean.

Source: McMahan, Ramage, Talwar and Zhang, "Learning Differentially Private Recurrent Language
Models", ICLR 2018 (DP-FedAvg with a fixed denominator), and Reddi et al., "Adaptive Federated
Optimization", ICLR 2021 (the server optimizers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from sytff_policy.request import ClientOptimizer, ServerOptimizer
from sytff_policy.training.aggregation import (
    NoisyAggregation,
    ShardSumQuery,
    effective_noise_multiplier,
    executed_event,
    fresh_secret,
    zero_if_not_finite,
)
from sytff_policy.training.checkpoint import Arrays, pack, unpack
from sytff_policy.training.transfer import ShardData, Transfer

Weights = list[npt.NDArray[np.float32]]
Predict = Callable[[Sequence[tf.Tensor], tf.Tensor, bool], tf.Tensor]
ExampleLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class LocalTraining:
    """How one unit trains: SGD over its own rows, in their stored order.

    Attributes:
      predict: Pure function (weights, x, training) -> predictions.
      loss: Per-example loss (labels, predictions) -> [batch].
      optimizer: Step size and momentum.
      batch_size: Rows per step; the last batch of an epoch may be smaller.
      epochs: Passes over the rows.
    """

    predict: Predict
    loss: ExampleLoss
    optimizer: ClientOptimizer
    batch_size: int
    epochs: int

    def update(
        self,
        weights: Sequence[tf.Tensor],
        x: tf.Tensor,
        y: tf.Tensor,
        start: tf.Tensor,
        stop: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Trained weights minus `weights`, for the unit that owns rows start..stop of x and y."""
        size = tf.constant(self.batch_size, tf.int64)
        batches = (stop - start + size - 1) // size
        rate, momentum = self.optimizer.learning_rate, self.optimizer.momentum

        def step(
            index: tf.Tensor, now: list[tf.Tensor], velocity: list[tf.Tensor]
        ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
            low = start + (index % batches) * size
            high = tf.minimum(low + size, stop)
            with tf.GradientTape() as tape:
                tape.watch(now)
                predictions = self.predict(now, x[low:high], True)
                # The rate scales the loss, so that no pass over the weights is spent on it.
                loss = rate * tf.reduce_mean(self.loss(y[low:high], predictions))
            gradients = tape.gradient(loss, now, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
            if momentum:
                velocity = [momentum * v + g for v, g in zip(velocity, gradients, strict=True)]
                gradients = velocity
            moved = [w - g for w, g in zip(now, gradients, strict=True)]
            return index + 1, moved, velocity

        begin = [tf.identity(weight) for weight in weights]
        velocity = [tf.zeros_like(weight) for weight in weights] if momentum else []
        _, trained, _ = tf.while_loop(
            lambda index, *_: index < batches * self.epochs,
            step,
            (tf.constant(0, tf.int64), begin, velocity),
        )
        return [after - before for after, before in zip(trained, weights, strict=True)]


@dataclass(frozen=True)
class RoundState:
    """What one round hands to the next. `aggregator` holds the clip and the last event."""

    weights: Any
    optimizer: Any
    aggregator: Any

    def executed_noise_multiplier(self) -> float:
        """Effective noise multiplier that TFF's aggregator reports for the last round."""
        return effective_noise_multiplier(executed_event(self.aggregator))


class FederatedRounds:
    """The compiled process; one per run, so that compilation happens once.

    Args:
      weight_specs: Names, shapes and types of the trainable weights.
      transfer: How shards reach the workers.
      training: What each unit does.
      query: The round's query, as from `aggregation.update_query`.
      server_optimizer: How the mean update is applied.
    """

    def __init__(
        self,
        *,
        weight_specs: Sequence[tf.TensorSpec],
        transfer: Transfer,
        training: LocalTraining,
        query: ShardSumQuery,
        server_optimizer: ServerOptimizer,
    ) -> None:
        self._specs = list(weight_specs)
        self._optimizer = build_server_optimizer(server_optimizer)
        weights_type = tff.types.StructWithPythonType(
            [tff.types.TensorType(spec.dtype.as_numpy_dtype, spec.shape) for spec in self._specs],
            list,
        )
        self._transfer = transfer
        shard_sum = shard_sum_computation(query, training, weights_type, transfer)
        aggregator = NoisyAggregation(query, shard_sum.type_signature.result)
        self._initialize_aggregator = tff.federated_computation(lambda: aggregator.initialize())
        self._initialize_optimizer = tff.tensorflow.computation(
            lambda: self._optimizer.initialize(self._specs)
        )
        optimizer_type = self._initialize_optimizer.type_signature.result
        aggregator_type = aggregator.initialize.type_signature.result.member
        mean_type = aggregator.next.type_signature.result[1].member

        @tff.tensorflow.computation(optimizer_type, weights_type, mean_type)
        def apply_mean(state: Any, weights: Any, mean: Any) -> Any:
            gradients = [-tensor for tensor in tf.nest.flatten(mean)]
            return self._optimizer.next(state, list(weights), gradients)

        @tff.tensorflow.computation(aggregator_type)
        def sample_params(state: Any) -> Any:
            return query.derive_sample_params(state[0])

        @tff.federated_computation(
            tff.FederatedType(weights_type, tff.SERVER),
            tff.FederatedType(optimizer_type, tff.SERVER),
            tff.FederatedType(aggregator_type, tff.SERVER),
            aggregator.next.type_signature.parameter[1],
            tff.FederatedType(transfer.type, tff.CLIENTS),
        )
        def next_round(weights: Any, optimizer: Any, state: Any, secret: Any, data: Any) -> Any:
            params = tff.federated_broadcast(tff.federated_map(sample_params, state))
            at_clients = tff.federated_broadcast(weights)
            sums = tff.federated_map(shard_sum, (at_clients, params, data))
            after, mean = aggregator.next(state, secret, sums)
            moved = tff.federated_map(apply_mean, (optimizer, weights, mean))
            return moved[1], moved[0], after

        self._next_round = next_round

    def initialize(self, weights: Weights) -> RoundState:
        """State before the first round."""
        return RoundState(
            list(weights), self._initialize_optimizer(), self._initialize_aggregator()
        )

    def arrays(self, state: RoundState) -> Arrays:
        """The numbers of a state, for a checkpoint: all of it but the last event."""
        return {
            **pack("weights", tf.nest.flatten(state.weights)),
            **pack("optimizer", tf.nest.flatten(state.optimizer)),
            **pack("query", tf.nest.flatten(state.aggregator.query_state[0])),
        }

    def restore(self, arrays: Arrays, weights: Weights) -> RoundState:
        """The state that `arrays` were taken from.

        Args:
          arrays: As from `arrays`.
          weights: Weights of the same model, for their shapes.

        Raises:
          CheckpointUnreadable: If they are not of this process.
        """
        begin = self.initialize(weights)
        query, secret = begin.aggregator.query_state

        def filled(prefix: str, like: Any) -> Any:
            leaves = unpack(prefix, arrays, tf.nest.flatten(like))
            return tf.nest.pack_sequence_as(like, leaves)

        return RoundState(
            filled("weights", begin.weights),
            filled("optimizer", begin.optimizer),
            begin.aggregator._replace(query_state=(filled("query", query), secret)),
        )

    def next(self, state: RoundState, shards: Sequence[ShardData]) -> RoundState:
        """Runs one round. Noise is drawn in here.

        Args:
          state: State after the previous round.
          shards: One `make_shard` per TFF client; the same number every round.
        """
        data = self._transfer.send(shards)
        secret = fresh_secret()
        return RoundState(
            *self._next_round(state.weights, state.optimizer, state.aggregator, secret, data)
        )


def build_server_optimizer(spec: ServerOptimizer) -> Any:
    """TFF's optimizer for a request's `server_optimizer`."""
    optimizers = tff.learning.optimizers
    if spec.name == "sgd":
        return optimizers.build_sgdm(spec.learning_rate, spec.momentum or None)
    if spec.name == "adagrad":
        return optimizers.build_adagrad(spec.learning_rate, epsilon=spec.epsilon)
    build = optimizers.build_adam if spec.name == "adam" else optimizers.build_yogi
    return build(spec.learning_rate, beta_1=spec.beta_1, beta_2=spec.beta_2, epsilon=spec.epsilon)


def shard_sum_computation(
    query: ShardSumQuery, training: LocalTraining, weights_type: Any, transfer: Transfer
) -> Any:
    """What a TFF client computes: (weights, clipping parameters, shard) -> sum before noise."""
    inner = query.inner
    global_state = tff.tensorflow.computation(query.initial_global_state).type_signature.result
    derive = tff.tensorflow.computation(query.derive_sample_params, global_state)

    @tff.tensorflow.computation(weights_type, derive.type_signature.result, transfer.type)
    def shard_sum(weights: Any, params: Any, data: Any) -> Any:
        weights = list(weights)
        x, y, splits = transfer.receive(data)
        units = tf.shape(splits, tf.int64)[0] - 1
        # The shape of a preprocessed record, with nothing in it.
        template = inner.preprocess_record(params, [tf.zeros_like(w) for w in weights])
        nothing = tf.nest.map_structure(tf.zeros_like, template)

        def add_unit(index: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
            update = training.update(weights, x, y, splits[index], splits[index + 1])
            record = inner.preprocess_record(params, zero_if_not_finite(update))
            return index + 1, tf.nest.map_structure(tf.add, total, record)

        _, total = tf.while_loop(
            lambda index, _: index < units, add_unit, (tf.constant(0, tf.int64), nothing)
        )
        return total

    return shard_sum
