"""Bounds of the audit: right in cases that can be worked out, and never above the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sytff_policy.privacy.auditing import (
    EPSILON_LIMIT,
    gaussian_epsilon,
    gaussian_epsilon_bound,
    one_run_epsilon,
)


def test_all_guesses_right_gives_the_bound_that_can_be_solved_by_hand() -> None:
    # P[all of r right] = s^r with s = e^epsilon / (1 + e^epsilon), so s = error^(1/r).
    share = 0.05 ** (1 / 100)
    expected = math.log(share / (1 - share))
    assert one_run_epsilon(1000, 100, 100, 0.0, 0.05) == pytest.approx(expected, abs=1e-9)


def test_guessing_at_random_proves_nothing() -> None:
    assert one_run_epsilon(1000, 100, 50, 0.0, 0.05) == 0.0
    assert one_run_epsilon(1000, 100, 0, 1e-5, 0.05) == 0.0


def test_a_larger_delta_or_a_smaller_error_proves_less() -> None:
    bounds = [one_run_epsilon(1000, 100, 95, delta, 0.05) for delta in (0.0, 1e-5, 1e-4, 1e-2)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == 0.0
    assert one_run_epsilon(1000, 100, 95, 0.0, 1e-6) < bounds[0]


@pytest.mark.parametrize(
    "arguments",
    [(10, 11, 5, 0.0, 0.1), (10, 5, 6, 0.0, 0.1), (10, 5, 5, 2.0, 0.1), (10, 5, 5, 0.0, 0.0)],
)
def test_what_is_no_experiment_is_refused(arguments: tuple[int, int, int, float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        one_run_epsilon(*arguments)


def test_the_gaussian_epsilon_is_dp_accountings() -> None:
    from dp_accounting import GaussianDpEvent, pld

    for mu, delta in ((0.5, 1e-5), (1.0, 1e-6), (2.0, 1e-3)):
        accountant = pld.PLDAccountant()
        accountant.compose(GaussianDpEvent(1 / mu))
        expected = accountant.get_epsilon(delta)
        assert gaussian_epsilon(mu, delta) == pytest.approx(expected, rel=1e-3)


def test_randomized_response_is_bounded_by_its_epsilon_and_not_far_below() -> None:
    """Each bit is told truly with probability e / (1 + e): epsilon 1. A bound that exceeds it is
    wrong, which may happen once in a thousand; twelve experiments are made."""
    generator = np.random.default_rng(1)
    for _ in range(12):
        right = generator.random(5000) < math.e / (1 + math.e)
        bound = one_run_epsilon(5000, 5000, int(right.sum()), 0.0, 1e-3)
        assert 0.75 < bound <= 1.0


def test_normal_scores_are_bounded_by_their_shift_and_not_far_below() -> None:
    generator = np.random.default_rng(2)
    truth = gaussian_epsilon(1.0, 1e-5)
    for _ in range(12):
        bound = gaussian_epsilon_bound(
            generator.normal(1.0, 1.0, 1000).tolist(),
            generator.normal(0.0, 1.0, 1000).tolist(),
            1e-5,
            1e-3,
        )
        assert truth / 2 < bound <= truth


def test_scores_without_spread_are_as_bad_as_can_be_and_without_shift_they_are_nothing() -> None:
    assert gaussian_epsilon_bound([1.0] * 100, [0.0] * 100, 1e-5, 0.05) == EPSILON_LIMIT
    assert gaussian_epsilon_bound([0.0] * 100, [0.0] * 100, 1e-5, 0.05) == 0.0
    with pytest.raises(ValueError, match="100"):
        gaussian_epsilon_bound([1.0] * 99, [0.0] * 100, 1e-5, 0.05)
