"""Lower confidence bounds on epsilon from an experiment: what an audit can prove of an engine.

A bound that exceeds the claimed epsilon refutes the claim, up to the stated chance of error. A
bound below it proves nothing but that this attack found nothing: the attack may be weak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

_NORMAL = NormalDist()
_STEPS = 60
EPSILON_LIMIT = 100.0


def one_run_epsilon(canaries: int, guesses: int, correct: int, delta: float, error: float) -> float:
    """Epsilon that one training run proves to be exceeded, by guessing which canaries were in it.

    Each of `canaries` units is included with probability 1/2, independently; for `guesses` of
    them the auditor says whether, and is right `correct` times. Under (epsilon, delta)-DP for
    adding or removing one unit, the number of right guesses is stochastically dominated, up to
    delta, by Binomial(guesses, e^epsilon / (1 + e^epsilon)).

    Source: Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS
    2023, Theorem 5.2 and Appendix D. Assumes nothing about the algorithm or the scores; the
    choice of whom to guess may depend on the outcome, the number of guesses may not.

    Args:
      canaries: Units that might have been included.
      guesses: Guesses made, at most `canaries`.
      correct: Right ones among them.
      delta: Delta of the claim.
      error: Chance that the bound is wrong, in (0, 1).

    Returns:
      A lower bound on epsilon, >= 0, rounded down; at most `EPSILON_LIMIT`.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError("guesses must be among the canaries, and right ones among the guesses")
    if not (0.0 < error < 1.0 and 0.0 <= delta <= 1.0):
        raise ValueError("error must be in (0, 1) and delta in [0, 1]")
    low, high = 0.0, EPSILON_LIMIT
    if not _one_run_p(canaries, guesses, correct, delta, low) < error:
        return 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _one_run_p(canaries, guesses, correct, delta, middle) < error:
            low = middle
        else:
            high = middle
    return low


def _one_run_p(canaries: int, guesses: int, correct: int, delta: float, epsilon: float) -> float:
    """Largest chance of so many right guesses under (epsilon, delta)-DP."""
    chance = 1.0 / (1.0 + math.exp(-epsilon))
    mass = [_binomial(guesses, k, chance) for k in range(guesses + 1)]
    beta = math.fsum(mass[correct:])
    alpha = running = 0.0
    for i in range(1, correct + 1):
        running += mass[correct - i]
        alpha = max(alpha, running / i)
    return min(1.0, beta + 2.0 * canaries * delta * alpha)


def _binomial(trials: int, successes: int, chance: float) -> float:
    if chance >= 1.0:
        return float(successes == trials)
    log = (
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(chance)
        + (trials - successes) * math.log1p(-chance)
    )
    return math.exp(log)


def gaussian_epsilon_bound(
    included: Sequence[float], excluded: Sequence[float], delta: float, error: float
) -> float:
    """Epsilon proven exceeded when scores are normal, shifted by inclusion.

    Bounds the shift mu between the scores of included and excluded canaries, in units of their
    spread, from below, and returns the epsilon of a Gaussian mechanism with that mu.

    Source: the estimator of Andrew, Kairouz, Oh, Oprea, McMahan and Suriyakumar, "One-shot
    Empirical Privacy Estimation for Federated Learning", ICLR 2024, with confidence bounds in
    place of its point estimate. Assumes independent, normal scores: true of a Gaussian mechanism
    on every unit, for canaries in orthogonal directions. Both groups should have 100 or more, for
    the normal approximations of the quantiles.

    Returns:
      A lower bound on epsilon, >= 0; `EPSILON_LIMIT` when the scores have no spread at all.
    """
    if not (len(included) >= 100 and len(excluded) >= 100):
        raise ValueError("at least 100 canaries must be in, and 100 out")
    shift = fmean(included) - fmean(excluded)
    quantile = _NORMAL.inv_cdf(1.0 - error / 3.0)
    spread = max(_upper_stdev(group, quantile) for group in (included, excluded))
    shift -= quantile * spread * math.sqrt(1 / len(included) + 1 / len(excluded))
    if shift <= 0.0:
        return 0.0
    return EPSILON_LIMIT if spread == 0.0 else gaussian_epsilon(shift / spread, delta)


def _upper_stdev(values: Sequence[float], quantile: float) -> float:
    """Upper confidence bound of a normal sample's stddev (Wilson and Hilferty 1931)."""
    degrees = len(values) - 1
    third = 2.0 / (9.0 * degrees)
    chi_squared = degrees * (1.0 - third - quantile * math.sqrt(third)) ** 3
    return stdev(values) * math.sqrt(degrees / chi_squared)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Epsilon at `delta` of a Gaussian mechanism with sensitivity over stddev `mu`, rounded down.

    Source: Balle and Wang, "Improving the Gaussian Mechanism for Differential Privacy", ICML
    2018, Theorem 8.
    """
    low, high = 0.0, EPSILON_LIMIT
    if _gaussian_delta(mu, high) > delta:
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _gaussian_delta(mu, middle) > delta:
            low = middle
        else:
            high = middle
    return low


def _gaussian_delta(mu: float, epsilon: float) -> float:
    # NormalDist.cdf rounds its far tail to zero; erfc does not.
    def tail(x: float) -> float:
        return 0.5 * math.erfc(x / math.sqrt(2.0))

    upper = tail(epsilon / mu - mu / 2.0)
    lower = tail(epsilon / mu + mu / 2.0)
    return upper - math.exp(epsilon) * lower
