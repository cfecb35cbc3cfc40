"""The federated round: what TFF's own algorithms do, faster, and with one user's harm contained."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sytff_policy._model import parse
from sytff_policy.model_spec import ModelSpec
from sytff_policy.request import (
    AdaptiveClipping,
    ClientOptimizer,
    FixedClipping,
    ServerOptimizer,
)

pytestmark = [pytest.mark.tff, pytest.mark.slow, pytest.mark.usefixtures("tff_runtime")]

FALSE_ALARM = 1e-6
WIDTH = 5


def mlp(hidden: int = 4) -> ModelSpec:
    return parse(
        ModelSpec,
        {
            "inputs": [{"name": "x", "shape": [WIDTH]}],
            "layers": [
                {"type": "Dense", "name": "h", "inputs": ["x"], "units": hidden,
                 "activation": "tanh"},
                {"type": "Dense", "name": "o", "inputs": ["h"], "units": 3},
            ],
            "output": "o",
        },
    )  # fmt: skip


class Setup:
    """A process over random users of uneven sizes."""

    def __init__(
        self,
        *,
        clipping: Any = None,
        noise: float = 0.0,
        clients: int = 8,
        client: ClientOptimizer | None = None,
        server: ServerOptimizer | None = None,
        epochs: int = 2,
        batch: int = 3,
        spec: ModelSpec | None = None,
    ) -> None:
        import tensorflow as tf

        from sytff_policy.training.aggregation import update_query
        from sytff_policy.training.functional import FunctionalModel, loss_fn
        from sytff_policy.training.process import FederatedRounds, LocalTraining
        from sytff_policy.training.transfer import SharedMemory

        self.model = FunctionalModel(spec or mlp())
        self.initial = self.model.initial_weights(7)
        self.process = FederatedRounds(
            weight_specs=[tf.TensorSpec(w.shape, tf.float32) for w in self.initial],
            transfer=SharedMemory([WIDTH], tf.float32, tf.int32),
            training=LocalTraining(
                self.model.predict,
                loss_fn("sparse_categorical_crossentropy", "linear"),
                client or ClientOptimizer(learning_rate=0.3),
                batch,
                epochs,
            ),
            query=update_query(clipping or FixedClipping(norm=0.5), noise, clients),
            server_optimizer=server or ServerOptimizer(),
        )
        self.state = self.process.initialize(self.initial)

    def round(self, users: list[tuple[np.ndarray, np.ndarray]], shards: int = 2) -> None:
        from sytff_policy.training.transfer import make_shard

        parts = [users[index::shards] for index in range(shards)]
        data = []
        for part in parts:
            sizes = [len(labels) for _, labels in part]
            data.append(
                make_shard(
                    np.concatenate([x for x, _ in part] or [np.zeros((0, WIDTH), np.float32)]),
                    np.concatenate([y for _, y in part] or [np.zeros(0, np.int32)]),
                    np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
                )
            )
        self.state = self.process.next(self.state, data)

    @property
    def weights(self) -> list[np.ndarray]:
        return [np.asarray(weight) for weight in self.state.weights]

    def change(self) -> np.ndarray:
        """The weights' movement from the start, as one vector."""
        pairs = zip(self.weights, self.initial, strict=True)
        return np.concatenate([(after - before).ravel() for after, before in pairs])


def people(count: int, seed: int = 0, rows: Any = None) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        size = int(generator.integers(1, 9)) if rows is None else rows
        made.append(
            (
                generator.normal(size=(size, WIDTH)).astype(np.float32),
                generator.integers(0, 3, size).astype(np.int32),
            )
        )
    return made


@pytest.mark.parametrize(
    "server",
    [
        ServerOptimizer(),
        ServerOptimizer(momentum=0.9, learning_rate=0.7),
        ServerOptimizer(name="adam", learning_rate=0.05),
    ],
    ids=lambda server: f"{server.name}-{server.momentum}",
)
def test_without_noise_the_weights_are_those_of_tffs_federated_averaging(
    server: ServerOptimizer,
) -> None:
    import tensorflow as tf
    import tensorflow_federated as tff

    from sytff_policy.training.process import build_server_optimizer

    users = people(8)
    ours = Setup(server=server)
    for _ in range(3):
        ours.round(users)

    def model_fn() -> Any:
        layers = tf.keras.layers
        model = tf.keras.Sequential(
            [layers.InputLayer((WIDTH,)), layers.Dense(4, activation="tanh"), layers.Dense(3)]
        )
        return tff.learning.models.from_keras_model(
            model,
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            input_spec=(
                tf.TensorSpec([None, WIDTH], tf.float32),
                tf.TensorSpec([None], tf.int32),
            ),
        )

    stock = tff.learning.algorithms.build_unweighted_fed_avg(
        model_fn,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.3),
        server_optimizer_fn=build_server_optimizer(server),
        model_aggregator=tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(0.0, 8.0, 0.5),
    )
    state = stock.initialize()
    begin = tff.learning.models.ModelWeights(trainable=ours.initial, non_trainable=[])
    state = stock.set_model_weights(state, begin)
    sets = [tf.data.Dataset.from_tensor_slices(user).batch(3).repeat(2) for user in users]
    for _ in range(3):
        state = stock.next(state, sets).state
    theirs = stock.get_model_weights(state).trainable
    for mine, other in zip(ours.weights, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_the_number_of_shards_changes_nothing() -> None:
    users = people(9)
    one, three = Setup(), Setup()
    one.round(users, shards=1)
    three.round(users, shards=3)
    np.testing.assert_allclose(one.change(), three.change(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e30], ids=str)
def test_one_user_of_nonsense_counts_as_no_update_and_harms_nobody(poison: float) -> None:
    users = people(6)
    bad = (np.full((2, WIDTH), poison, np.float32), np.zeros(2, np.int32))
    alone, together = Setup(), Setup()
    alone.round(users)
    together.round([*users, bad])
    assert np.isfinite(together.change()).all()
    # Adding the user moves the sum by at most the clip: nothing, or one clipped update.
    moved = np.linalg.norm(together.change() - alone.change()) * 8
    assert moved <= 0.5 * (1 + 1e-5)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 200])
def test_a_users_influence_is_at_most_the_clip(rows: int) -> None:
    users = people(5)
    loud = (np.full((rows, WIDTH), 50.0, np.float32), np.ones(rows, np.int32))
    without, with_user = Setup(), Setup()
    without.round(users)
    with_user.round([*users, loud])
    moved = np.linalg.norm(with_user.change() - without.change()) * 8
    assert moved <= 0.5 * (1 + 1e-5)
    assert moved > 0.1


def test_an_empty_cohort_is_a_round_like_any_other() -> None:
    setup = Setup(noise=1.0)
    setup.round([])
    assert np.isfinite(setup.change()).all()
    assert np.any(setup.change() != 0)
    assert setup.state.executed_noise_multiplier() >= 1.0


def _residuals(noise: float, rounds: int = 60) -> np.ndarray:
    """Noise on the sum, in units of the clip, from rounds over nobody."""
    setup = Setup(noise=noise, spec=mlp(hidden=20), clients=10)
    drawn = []
    before = setup.change()
    for _ in range(rounds):
        setup.round([])
        after = setup.change()
        drawn.append((after - before) * 10 / 0.5)
        before = after
    return np.array(drawn)


def _scale_p(sample: np.ndarray, stddev: float) -> float:
    statistic = float((sample**2).sum() / stddev**2)
    tail = stats.chi2.cdf(statistic, sample.size)
    return 2 * min(tail, 1 - tail)


def test_the_noise_has_the_claimed_scale_and_shape_and_wrong_scales_are_rejected() -> None:
    drawn = _residuals(1.5)
    assert _scale_p(drawn.ravel(), 1.5) > FALSE_ALARM
    for wrong in (1.5 * 2 / 3, 1.5 * 3 / 2):
        assert _scale_p(drawn.ravel(), wrong) < FALSE_ALARM
    assert stats.kstest(drawn.ravel() / 1.5, "norm").pvalue > FALSE_ALARM


def test_the_noise_is_independent_across_coordinates_and_rounds() -> None:
    drawn = _residuals(1.0)
    for first, second in ((drawn[:, ::2], drawn[:, 1::2]), (drawn[:-1], drawn[1:])):
        width = min(first.shape[1], second.shape[1])
        a, b = first[:, :width].ravel(), second[:, :width].ravel()
        assert stats.pearsonr(a, b).pvalue > FALSE_ALARM


def test_adaptive_clipping_moves_the_clip_as_tff_does_and_reports_the_effective_noise() -> None:
    setup = Setup(clipping=AdaptiveClipping(initial_norm=0.01), noise=0.5, clients=50, epochs=1)
    clips = []
    users = people(50)
    for _ in range(6):
        setup.round(users)
        assert setup.state.executed_noise_multiplier() >= 0.5
        clips.append(float(setup.state.aggregator[0][0].numerator_state.sum_state.l2_norm_clip))
    # Everyone is clipped at first, so the clip grows by about exp(learning_rate * quantile).
    assert clips == sorted(clips)
    assert clips[0] == pytest.approx(0.01 * math.exp(0.2 * 0.5), rel=0.2)


def test_the_executed_noise_is_never_below_the_admitted() -> None:
    for noise in (0.3, 0.7, 1.1, 3.3, 17.77):
        setup = Setup(noise=noise)
        setup.round(people(3))
        executed = setup.state.executed_noise_multiplier()
        assert noise <= executed <= noise * 1.0001


def test_events_that_are_not_gaussian_are_never_enough() -> None:
    import dp_accounting

    from sytff_policy.training.aggregation import effective_noise_multiplier

    for event in (
        dp_accounting.NoOpDpEvent(),
        dp_accounting.ComposedDpEvent([]),
        dp_accounting.ComposedDpEvent([dp_accounting.LaplaceDpEvent(1.0)]),
        dp_accounting.ComposedDpEvent([dp_accounting.GaussianDpEvent(0.0)]),
    ):
        assert not effective_noise_multiplier(event) >= 0.0
