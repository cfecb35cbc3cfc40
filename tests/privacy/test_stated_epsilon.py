"""The stated epsilon is searched for, and is the one that the whole grid of orders has."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sytff_policy.privacy import RunMechanism, rdp_epsilon, to_dp_event


def on_the_whole_grid(run: RunMechanism, delta: float) -> float:
    from dp_accounting import NeighboringRelation, rdp

    accountant = rdp.RdpAccountant(None, NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(to_dp_event(run.event()))
    return float(accountant.get_epsilon(delta))


@pytest.mark.slow
@settings(max_examples=60)
@given(
    rounds=st.integers(1, 10_000),
    population=st.integers(10, 10**7),
    share=st.floats(1e-4, 1),
    noise=st.floats(0.3, 30).map(lambda value: Decimal(repr(round(value, 3)))),
    evaluation=st.sampled_from([None, Decimal(1), Decimal(5)]),
    delta=st.floats(1e-9, 1e-3),
)
def test_searching_the_orders_finds_what_trying_all_finds(
    rounds: int,
    population: int,
    share: float,
    noise: Decimal,
    evaluation: Decimal | None,
    delta: float,
) -> None:
    clients = max(1, int(share * population))
    run = RunMechanism(rounds, clients, population, noise, evaluation)
    assert rdp_epsilon(run.event(), delta) == on_the_whole_grid(run, delta)
