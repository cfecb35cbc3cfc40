"""Poisson sampling: every unit on its own, at the rate that was accounted for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sytff_policy.training.sampling import draw_cohort, inclusion_threshold

# Each statistical test below is wrong about honest code less than once in a million runs.
FALSE_ALARM = 1e-6


def test_the_threshold_never_exceeds_the_rate() -> None:
    for clients, population in [(1, 3), (2, 3), (50, 6127), (999_999, 1_000_000), (1, 2**40)]:
        assert inclusion_threshold(clients, population) * population <= clients << 64


def test_everyone_is_drawn_at_rate_one() -> None:
    everyone = np.arange(100)
    assert (draw_cohort(100, 100, everyone) == everyone).all()


@pytest.mark.parametrize(("clients", "population"), [(0, 10), (11, 10), (-1, 10)])
def test_what_is_no_rate_is_refused(clients: int, population: int) -> None:
    with pytest.raises(ValueError, match="sampling rate"):
        inclusion_threshold(clients, population)


def _inclusions(clients: int, population: int, rounds: int) -> np.ndarray:
    eligible = np.arange(population)
    drawn = np.zeros((rounds, population), bool)
    for index in range(rounds):
        drawn[index, draw_cohort(clients, population, eligible)] = True
    return drawn


def _binomial_p(successes: int, trials: int, rate: float) -> float:
    return float(stats.binomtest(successes, trials, rate).pvalue)


def test_inclusion_frequency_is_the_rate_and_the_test_rejects_others() -> None:
    drawn = _inclusions(30, 200, 2000)
    total, trials = int(drawn.sum()), drawn.size
    assert _binomial_p(total, trials, 30 / 200) > FALSE_ALARM
    for wrong in (31 / 200, 29 / 200):
        assert _binomial_p(total, trials, wrong) < FALSE_ALARM
    each = [_binomial_p(int(count), 2000, 30 / 200) for count in drawn.sum(axis=0)]
    assert min(each) > FALSE_ALARM / 200


def test_units_and_rounds_are_independent() -> None:
    drawn = _inclusions(50, 100, 4000)
    pairs = int((drawn[:, ::2] & drawn[:, 1::2]).sum())
    assert _binomial_p(pairs, 4000 * 50, 0.25) > FALSE_ALARM
    rounds = int((drawn[::2] & drawn[1::2]).sum())
    assert _binomial_p(rounds, 2000 * 100, 0.25) > FALSE_ALARM


def test_cohort_sizes_are_binomial_and_not_fixed() -> None:
    sizes = _inclusions(50, 100, 3000).sum(axis=1)
    variance = sizes.var(ddof=1)
    # (n - 1) s^2 / sigma^2 is close to chi-squared for a binomial of 100.
    low, high = stats.chi2.ppf([FALSE_ALARM, 1 - FALSE_ALARM], 2999) * 25 / 2999
    assert low < variance < high


def test_held_out_units_are_never_drawn() -> None:
    eligible = np.arange(0, 100, 2)
    for _ in range(50):
        assert set(draw_cohort(90, 100, eligible)) <= set(eligible)


def test_an_empty_cohort_is_possible() -> None:
    assert any(len(draw_cohort(1, 1000, np.arange(1000))) == 0 for _ in range(100))


def test_draws_are_the_operating_systems_bits_and_no_seed_repeats_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing that is released is derived from them, and no seed in the program decides them."""
    everyone = np.arange(1000)
    drawn = []
    for _ in range(2):
        np.random.seed(0)
        drawn.append(draw_cohort(500, 1000, everyone))
    assert not np.array_equal(drawn[0], drawn[1])
    # 501 / 1000 of 2^64 begins with the byte 128: smaller bytes include, larger ones do not, and
    # a unit with that byte draws seven more.
    rest = (501 * 2**64 // 1000) % 2**56
    draws = [
        bytes([127, 128, 129, 128] * 250),
        b"".join((rest - index % 2).to_bytes(7, "big") for index in range(500)),
    ]

    def bits(size: int) -> bytes:
        drawn = draws.pop(0)
        assert len(drawn) == size
        return drawn

    monkeypatch.setattr("sytff_policy.training.sampling.os.urandom", bits)
    included = np.isin(everyone % 4, [0, 3])
    np.testing.assert_array_equal(draw_cohort(501, 1000, everyone), everyone[included])
    assert draws == []
