"""Loss distributions in integers: exact, above the truth, near it, and the same everywhere."""

from __future__ import annotations

import hashlib
import math
from decimal import Decimal

import mpmath
import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from hypothesis import given, settings
from hypothesis import strategies as st

from sytff_policy.privacy import Composed, UnboundedLoss, pld_epsilon
from sytff_policy.privacy.certificate import certified_epsilon, renyi_epsilon
from sytff_policy.privacy.convolution import (
    CELLS,
    LIMB_BITS,
    LIMBS,
    ONE,
    ZERO_CELL,
    InexactProduct,
    Masses,
    masses_from,
)
from sytff_policy.privacy.pld import pld_bound, round_masses
from tests.privacy.oracles import analytic_gaussian_epsilon, run_of

GOLDEN = [
    (run_of(1000, 1, 100, "1", "5"), "1e-5", "1.995064547"),
    (run_of(100, 1, 10, "1", "5"), "1e-5", "7.111076995"),
    (run_of(10_000, 1, 1000, "0.6", "5"), "1e-6", "3.286742046"),
    (run_of(1, 1, 1, "5", "5"), "1e-5", "1.060792219"),
    (run_of(37, 3, 7, "1.7", "5"), "1e-7", "10.43312401"),
    (run_of(10, 1, 1000, "0.3", "5"), "1e-6", "10.481678773"),
    (run_of(100, 50, 6127, "1.1", "5"), "1e-12", "2.113537909"),
    (run_of(1_000_000, 1, 2, "900", "5"), "1e-6", "2.903395245"),
]
GOLDEN_MASSES = "570bc99f517cd106"
ROUNDS = [(1, 100, "1", 2.0**-9), (1, 1000, "0.3", 2.0**-7), (1, 1, "5", 2.0**-11)]


@pytest.mark.parametrize(("event", "delta", "recorded"), GOLDEN)
def test_a_certificate_has_these_digits_on_every_version(
    event: Composed, delta: str, recorded: str
) -> None:
    assert certified_epsilon(event.events, Decimal(delta)) == Decimal(recorded)


def test_the_masses_of_a_round_have_these_bits_on_every_version() -> None:
    found = hashlib.sha256()
    for clients, population, noise, step in [*ROUNDS, (3, 7, "1000", 2.0**-24)]:
        for removed in (True, False):
            masses = round_masses(clients, population, Decimal(noise), step, removed=removed)
            found.update(masses.limbs.astype("<i8").tobytes() + str(masses.infinite).encode())
    assert found.hexdigest()[:16] == GOLDEN_MASSES


@pytest.mark.parametrize("removed", [True, False])
@pytest.mark.parametrize(("clients", "population", "noise", "step"), ROUNDS)
def test_a_rounds_hockey_stick_is_exact_at_grid_points_and_never_below(
    clients: int, population: int, noise: str, step: float, removed: bool
) -> None:
    """What splitting each cell's mass between its ends preserves; mpmath is the oracle."""
    masses = round_masses(clients, population, Decimal(noise), step, removed=removed)
    integers = masses.integers()
    for index in range(ZERO_CELL - 700, ZERO_CELL + 2600, 217):
        with mpmath.workdps(40):
            epsilon = mpmath.mpf(index - ZERO_CELL) * step
            ours = mpmath.mpf(masses.infinite)
            for other in range(index + 1, CELLS):
                loss = mpmath.mpf(other - ZERO_CELL) * step
                ours += integers[other] * (1 - mpmath.exp(epsilon - loss))
            ours /= ONE
            truth = _hockey_stick(clients, population, noise, epsilon, removed)
            assert truth <= ours
            top = mpmath.mpf(CELLS - 1 - ZERO_CELL) * step
            beyond = masses.infinite * mpmath.exp(epsilon - top)
            assert ours <= truth * (1 + mpmath.mpf(10) ** -9) + (CELLS + beyond) / mpmath.mpf(ONE)


def _hockey_stick(
    clients: int, population: int, noise: str, epsilon: mpmath.mpf, removed: bool
) -> mpmath.mpf:
    q, z = mpmath.mpf(clients) / population, mpmath.mpf(noise)
    bound = epsilon if removed else -epsilon
    ratio = (mpmath.exp(bound) - 1 + q) / q
    if ratio <= 0:
        return 1 - mpmath.exp(epsilon) if removed else mpmath.mpf(0)
    x = z * z * mpmath.log(ratio) + mpmath.mpf(1) / 2
    if removed:
        under_q = mpmath.ncdf(-x / z)
        return (1 - q) * under_q + q * mpmath.ncdf((1 - x) / z) - mpmath.exp(epsilon) * under_q
    under_q = mpmath.ncdf(x / z)
    under_p = (1 - q) * under_q + q * mpmath.ncdf((x - 1) / z)
    return under_q - mpmath.exp(epsilon) * under_p


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_product_is_the_exact_one_rounded_up(seed: int) -> None:
    """Against Python's integers: polynomials as big numbers, one slot for a coefficient."""
    one, other = _random_masses(seed), _random_masses(seed + 1)
    product = one.times(other)
    slot = 2 * LIMB_BITS * LIMBS + 16
    left = sum(value << (slot * k) for k, value in enumerate(one.integers()))
    right = sum(value << (slot * k) for k, value in enumerate(other.integers()))
    exact, mask = left * right, (1 << slot) - 1
    cells = [-(-((exact >> (slot * k)) & mask) // ONE) for k in range(2 * CELLS - 1)]
    kept = cells[ZERO_CELL : ZERO_CELL + CELLS]
    kept[0] += sum(cells[:ZERO_CELL])
    assert product.integers() == kept
    assert product.infinite >= sum(cells[ZERO_CELL + CELLS :]) + one.infinite


def _random_masses(seed: int) -> Masses:
    random = np.random.default_rng(seed)
    weights = random.random(CELLS) ** random.integers(1, 40)
    return masses_from(weights / weights.sum(), int(random.integers(0, 2**40)))


def test_masses_too_large_for_an_exact_product_are_refused() -> None:
    huge = Masses(np.full((LIMBS, CELLS), (1 << LIMB_BITS) - 1, dtype=np.int64) * 64, 0)
    with pytest.raises(InexactProduct):
        huge.times(huge)


@pytest.mark.parametrize("rounds", [1, 10, 100])
@pytest.mark.parametrize("noise", ["0.5", "1", "5", "40"])
@pytest.mark.parametrize("delta", ["1e-5", "1e-9"])
def test_the_certificate_is_just_above_the_analytic_gaussian(
    rounds: int, noise: str, delta: str
) -> None:
    event = run_of(rounds, 7, 7, noise)
    truth = float(analytic_gaussian_epsilon(float(noise) / math.sqrt(rounds), delta))
    ours = float(certified_epsilon(event.events, Decimal(delta)))
    if truth > 80:
        assert truth <= ours <= float(renyi_epsilon(event.events, Decimal(delta)))
        return  # beyond the range of distributions
    assert truth <= ours <= truth * 1.01 + 1e-6


@pytest.mark.parametrize("noise", ["0.5", "1", "5"])
def test_dp_accountings_pld_is_the_analytic_gaussian(noise: str) -> None:
    truth = float(analytic_gaussian_epsilon(float(noise), "1e-5"))
    assert pld_epsilon(run_of(1, 3, 3, noise), 1e-5) == pytest.approx(truth, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rounds", "clients", "population", "noise", "delta"),
    [
        (1000, 1, 100, "1", 1e-5),
        (100, 1, 10, "1", 1e-5),
        (10_000, 1, 1000, "0.6", 1e-6),
        (37, 3, 7, "1.7", 1e-7),
        (200, 50, 6127, "0.8", 1e-6),
    ],
)
def test_the_certificate_lies_between_dp_accountings_optimistic_pld_and_a_little_above(
    rounds: int, clients: int, population: int, noise: str, delta: float
) -> None:
    event = run_of(rounds, clients, population, noise, "6")
    optimistic = _optimistic(clients / population, float(noise)).self_compose(rounds)
    optimistic = optimistic.compose(_optimistic(1.0, 6.0))
    ours = float(certified_epsilon(event.events, Decimal(repr(delta))))
    theirs = pld_epsilon(event, delta)
    assert theirs * 0.999 <= ours <= theirs * 1.03
    assert ours < float(renyi_epsilon(event.events, Decimal(repr(delta))))
    assert ours >= optimistic.get_epsilon_for_delta(delta)


def _optimistic(rate: float, noise: float) -> PrivacyLossDistribution:
    return privacy_loss_distribution.from_gaussian_mechanism(
        noise, pessimistic_estimate=False, sampling_prob=rate
    )


@pytest.mark.parametrize(
    "event",
    [
        run_of(10, 1, 100, "0.29"),
        run_of(1_000_001, 1, 10**6, "5"),
        run_of(10, 2, 3, "0.05"),
    ],
)
def test_where_distributions_would_take_long_the_renyi_bound_is_certified(event: Composed) -> None:
    delta = Decimal("1e-6")
    renyi = renyi_epsilon(event.events, delta)
    assert pld_bound(event.events, delta, renyi) is None
    assert certified_epsilon(event.events, delta) == renyi


def test_more_noise_than_the_grid_tells_apart_never_costs_more() -> None:
    delta = Decimal("1e-6")
    costs = [
        certified_epsilon(run_of(1000, 1, 3, noise).events, delta)
        for noise in ("200", "999", "1000", "1001", "5000", "1000000")
    ]
    assert costs == sorted(costs, reverse=True)


def test_no_noise_has_no_certificate() -> None:
    with pytest.raises(UnboundedLoss):
        certified_epsilon(run_of(1, 1, 10, "0").events, Decimal("1e-6"))
