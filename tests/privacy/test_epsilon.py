"""Epsilons of single requests, against values recorded from dp-accounting and against itself."""

from __future__ import annotations

import math
from decimal import Decimal

import dp_accounting
import pytest
from dp_accounting import pld, rdp

from sytff_policy.privacy import (
    Composed,
    Gaussian,
    PoissonSampled,
    Repeated,
    RunMechanism,
    pld_epsilon,
    rdp_epsilon,
    stated_epsilon,
)

# (clients, population, noise, rounds, delta), RDP and PLD epsilon to the digits recorded.
VECTORS = [
    ((1, 100, "1", 1000, 1e-5), 2.1014, 1.8282),
    ((1, 10, "1", 100, 1e-5), 7.8993, 7.0466),
    ((1, 1000, "0.6", 10_000, 1e-6), 3.9991, 3.1523),
    ((2, 3, "0.05", 10, 1e-5), 2267.0, 2202.0),
]


def event_of(clients: int, population: int, noise: str, rounds: int) -> Composed:
    inner = PoissonSampled(clients, population, Gaussian(Decimal(noise)))
    return Composed((Repeated(rounds, inner),))


@pytest.mark.parametrize(("parameters", "recorded", "_"), VECTORS)
def test_rdp_epsilon_is_the_recorded_one(
    parameters: tuple[int, int, str, int, float], recorded: float, _: float
) -> None:
    *mechanism, delta = parameters
    # dp-accounting 0.6 bounds fractional orders a little more loosely than 0.4.
    assert rdp_epsilon(event_of(*mechanism), delta) == pytest.approx(recorded, rel=1e-3)


@pytest.mark.parametrize(("parameters", "_", "__"), VECTORS)
def test_rdp_epsilon_is_dp_accountings(
    parameters: tuple[int, int, str, int, float], _: float, __: float
) -> None:
    clients, population, noise, rounds, delta = parameters
    accountant = rdp.RdpAccountant(
        neighboring_relation=dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    )
    accountant.compose(
        dp_accounting.SelfComposedDpEvent(
            dp_accounting.PoissonSampledDpEvent(
                clients / population, dp_accounting.GaussianDpEvent(float(noise))
            ),
            rounds,
        )
    )
    ours = rdp_epsilon(event_of(clients, population, noise, rounds), delta)
    assert ours == pytest.approx(accountant.get_epsilon(delta), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("parameters", "_", "recorded"), VECTORS[:3])
def test_pld_epsilon_is_the_recorded_one(
    parameters: tuple[int, int, str, int, float], _: float, recorded: float
) -> None:
    clients, population, noise, rounds, delta = parameters
    event = event_of(clients, population, noise, rounds)
    ours = pld_epsilon(event, delta)
    accountant = pld.PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(
        dp_accounting.SelfComposedDpEvent(
            dp_accounting.PoissonSampledDpEvent(
                clients / population, dp_accounting.GaussianDpEvent(float(noise))
            ),
            rounds,
        )
    )
    assert ours == pytest.approx(accountant.get_epsilon(delta), rel=1e-9)
    assert ours == pytest.approx(recorded, abs=1e-3)
    assert ours <= rdp_epsilon(event, delta)


def test_no_noise_is_unbounded_and_said_so() -> None:
    event = RunMechanism(10, 5, 100, Decimal(0)).event()
    assert rdp_epsilon(event, 1e-5) == math.inf
    assert pld_epsilon(event, 1e-5) == math.inf
    assert stated_epsilon(event, Decimal("1e-5")) is None


def test_a_noiseless_evaluation_makes_the_whole_request_unbounded() -> None:
    event = RunMechanism(10, 5, 100, Decimal(1), Decimal(0)).event()
    assert stated_epsilon(event, Decimal("1e-5")) is None


def test_the_announcements_example_has_an_epsilon_in_the_thousands() -> None:
    for delta in (1e-5, 1e-6):
        assert 2200 < rdp_epsilon(event_of(2, 3, "0.05", 10), delta) < 2400
