"""What a runner does while it waits: everything that the first round of a job would pay for.

One round on a small model of no data imports, connects, traces and compiles what every job needs;
nothing of it is kept.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from sytff_policy.request import ClientOptimizer, FixedClipping, ServerOptimizer
from sytff_policy.training.aggregation import update_query
from sytff_policy.training.functional import loss_fn

# Everything that a job imports, so that it is there.
from sytff_policy.training.process import FederatedRounds, LocalTraining
from sytff_policy.training.trainer import Trainer
from sytff_policy.training.transfer import SharedMemory, make_shard

__all__ = ["Trainer", "warm_up"]


def warm_up() -> None:
    """Executes a round over two units that are zeros."""
    process = FederatedRounds(
        weight_specs=[tf.TensorSpec([1, 2], tf.float32)],
        transfer=SharedMemory([1], tf.float32, tf.int32),
        training=LocalTraining(
            lambda weights, x, training: tf.matmul(x, weights[0]),
            loss_fn("sparse_categorical_crossentropy", "linear"),
            ClientOptimizer(),
            1,
            1,
        ),
        query=update_query(FixedClipping(), 1.0, 2),
        server_optimizer=ServerOptimizer(),
    )
    shard = make_shard(
        np.zeros([1, 1], np.float32), np.zeros([1], np.int32), np.array([0, 1], np.int64)
    )
    process.next(process.initialize([np.zeros([1, 2], np.float32)]), [shard, shard])
