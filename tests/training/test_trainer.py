"""A run reads the rows of the people it draws, and of nobody else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.training.test_checkpoint import job

pytestmark = [pytest.mark.tff, pytest.mark.slow, pytest.mark.usefixtures("tff_runtime")]


class Spied:
    """Answers what a stored dataset answers, and notes who was read."""

    label_is_class = True
    population = 1000

    def __init__(self) -> None:
        self.read: list[np.ndarray] = []

    def holdout_mask(self, fraction: float) -> np.ndarray:
        return np.arange(self.population) < fraction * self.population

    def read_units(self, units: np.ndarray) -> Any:
        from sytff_policy.datasets import Cohort

        self.read.append(np.array(units))
        splits = np.arange(len(units) + 1, dtype=np.int64)
        return Cohort(np.zeros((len(units), 6), np.float32), np.zeros(len(units), np.int32), splits)


def test_only_the_drawn_are_read_round_by_round_and_the_held_out_only_to_evaluate() -> None:
    from sytff_policy.training.trainer import Hooks, Trainer

    dataset: Any = Spied()
    order: list[Any] = []

    def may_start(number: int, evaluation: bool) -> int:
        order.append((number, evaluation, len(dataset.read)))
        return number

    evaluation = {"noise_multiplier": 5.0, "holdout": 0.2}
    admitted = job(population=1000, clients_per_round=10, rounds=3, evaluation=evaluation)
    hooks = Hooks(may_start=may_start, round_done=lambda number: None)
    Trainer(admitted, dataset).run(hooks)
    # Two shards a round, none of them read before the round was granted.
    assert order == [(1, False, 0), (2, False, 2), (3, False, 4), (3, True, 6)]
    trained = np.concatenate(dataset.read[:6])
    assert (trained >= 200).all()
    # Expected are 24 of 800; more than 100 would not happen to an honest draw.
    assert len(trained) < 100
    np.testing.assert_array_equal(np.sort(np.concatenate(dataset.read[6:])), np.arange(200))
