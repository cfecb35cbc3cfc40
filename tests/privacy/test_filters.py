"""One conformance suite that every filter keeps, and what is particular to each."""

from __future__ import annotations

import math
from decimal import Decimal

import mpmath
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sytff_policy.privacy import (
    InvalidFilter,
    Loss,
    PrivacyFilter,
    RunMechanism,
    UnboundedLoss,
    filter_from_json,
    make_filter,
)
from sytff_policy.privacy.exact import conversion_constant, round_up, sampled_gaussian_rdp

EPSILON, DELTA = Decimal(8), Decimal("1e-5")
FILTERS = [
    make_filter("rdp", EPSILON, DELTA, order=4),
    make_filter("rdp", EPSILON, DELTA, order=32),
    make_filter("zcdp", EPSILON, DELTA),
    make_filter("sum", EPSILON, DELTA, requests=10),
]
every_filter = pytest.mark.parametrize(
    "privacy_filter", FILTERS, ids=lambda f: f"{f.kind}-{f.parameters()}"
)

mechanisms = st.builds(
    RunMechanism,
    rounds=st.integers(1, 2000),
    clients_per_round=st.integers(1, 1000),
    population=st.just(1000),
    noise_multiplier=st.decimals("0.2", "20", places=3),
    evaluation_noise=st.none() | st.decimals("0.5", "50", places=2),
)


@every_filter
def test_an_empty_budget_is_spent_by_nothing(privacy_filter: PrivacyFilter) -> None:
    assert privacy_filter.epsilon_of(privacy_filter.zero) == 0
    assert privacy_filter.admits(privacy_filter.zero)


@every_filter
def test_the_whole_capacity_is_at_most_the_budget(privacy_filter: PrivacyFilter) -> None:
    full = privacy_filter.capacity
    assert privacy_filter.admits(full)
    assert privacy_filter.epsilon_of(full) <= privacy_filter.epsilon


@every_filter
def test_one_step_beyond_the_capacity_is_refused(privacy_filter: PrivacyFilter) -> None:
    for index in range(len(privacy_filter.units)):
        values = list(privacy_filter.capacity.values)
        values[index] += Decimal("1e-9")
        assert not privacy_filter.admits(Loss(tuple(values)))


@every_filter
def test_json_round_trip(privacy_filter: PrivacyFilter) -> None:
    again = filter_from_json(privacy_filter.to_json())
    assert again.to_json() == privacy_filter.to_json()
    assert again.capacity == privacy_filter.capacity


@every_filter
@settings(max_examples=40)
@given(mechanism=mechanisms, more=st.integers(1, 50))
def test_less_noise_more_rounds_or_more_clients_never_costs_less(
    privacy_filter: PrivacyFilter, mechanism: RunMechanism, more: int
) -> None:
    base = privacy_filter.charge(mechanism.event())
    for dearer in (
        _with(mechanism, rounds=mechanism.rounds + more),
        _with(mechanism, clients_per_round=min(1000, mechanism.clients_per_round + more)),
        _with(mechanism, noise_multiplier=mechanism.noise_multiplier / (1 + more)),
        _with(mechanism, evaluation_noise=Decimal("0.4")),
    ):
        try:
            assert base.fits(privacy_filter.charge(dearer.event()))
        except UnboundedLoss:
            continue  # more than every finite charge


@every_filter
@settings(max_examples=40)
@given(mechanism=mechanisms, done=st.integers(0, 2000), evaluated=st.booleans())
def test_a_part_of_a_run_never_costs_more_than_the_run(
    privacy_filter: PrivacyFilter, mechanism: RunMechanism, done: int, evaluated: bool
) -> None:
    assume(done <= mechanism.rounds and (mechanism.evaluation_noise or not evaluated))
    part = privacy_filter.charge(mechanism.executed(done, evaluated=evaluated))
    assert part.fits(privacy_filter.charge(mechanism.event()))


@every_filter
@settings(max_examples=30)
@given(runs=st.lists(mechanisms, min_size=2, max_size=4))
def test_epsilon_does_not_depend_on_request_order(
    privacy_filter: PrivacyFilter, runs: list[RunMechanism]
) -> None:
    forwards = backwards = privacy_filter.zero
    for run in runs:
        forwards = forwards + privacy_filter.charge(run.event())
    for run in reversed(runs):
        backwards = backwards + privacy_filter.charge(run.event())
    assert privacy_filter.epsilon_of(forwards) == privacy_filter.epsilon_of(backwards)


@every_filter
def test_no_noise_has_no_charge(privacy_filter: PrivacyFilter) -> None:
    with pytest.raises(UnboundedLoss):
        privacy_filter.charge(RunMechanism(1, 1, 10, Decimal(0)).event())


@every_filter
@pytest.mark.parametrize("text", ["nan", "-1", "inf", "1e-3", "01", "", 1, 1.0, None])
def test_a_stored_loss_that_is_no_loss_is_refused(
    privacy_filter: PrivacyFilter, text: object
) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        privacy_filter.parse_loss([text] * len(privacy_filter.units))


@settings(max_examples=40)
@given(
    clients=st.integers(1, 999),
    noise=st.decimals("0.3", "10", places=2),
    order=st.integers(2, 64),
)
def test_a_charge_is_at_least_the_exact_renyi_divergence(
    clients: int, noise: Decimal, order: int
) -> None:
    """Against an oracle: the defining integral, by quadrature."""
    with mpmath.workdps(30):
        q, z = mpmath.mpf(clients) / 1000, mpmath.mpf(str(noise))
        mixture = lambda x: 1 - q + q * mpmath.exp((2 * x - 1) / (2 * z * z))  # noqa: E731
        peak = mpmath.mpf(order)
        moment = mpmath.quad(
            lambda x: mpmath.npdf(x, 0, z) * mixture(x) ** order,
            [-12 * z, 0, peak / 2, peak, peak + 12 * z],
        )
        oracle = mpmath.log(moment) / (order - 1)
        ours = mpmath.mpf(str(sampled_gaussian_rdp(clients, 1000, noise, order)))
        assert ours == pytest.approx(oracle, rel=1e-9, abs=1e-15)
    assert round_up(sampled_gaussian_rdp(clients, 1000, noise, order)) >= Decimal(str(ours))


def test_rdp_equals_dp_accountings_at_integer_orders_on_every_version() -> None:
    import dp_accounting
    from dp_accounting import rdp

    for q, z, order in [(0.01, 1.0, 7), (0.1, 1.0, 3), (0.001, 0.6, 4), (0.3, 3.3, 16)]:
        accountant = rdp.RdpAccountant([order])
        accountant.compose(dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(z)))
        ours = sampled_gaussian_rdp(round(q * 1000), 1000, Decimal(str(z)), order)
        assert float(ours) == pytest.approx(float(accountant._rdp[0]), rel=1e-9)


def test_golden_charges() -> None:
    """Recorded on Linux x86-64; a change of any digit changes what old ledgers mean."""
    event = RunMechanism(100, 50, 6127, Decimal("1.1"), Decimal(5)).event()
    assert {
        f"{f.kind}{f.parameters()}": f.charge(event).to_json() for f in FILTERS
    } == GOLDEN_CHARGES
    assert str(conversion_constant(Decimal(4), DELTA)) == "3.087861629"


GOLDEN_CHARGES: dict[str, list[str]] = {
    "rdp{'order': 4}": ["0.097641238"],
    "rdp{'order': 32}": ["826.599210218"],
    "zcdp{}": ["41.34231405"],
    "sum{'requests': 10, 'certificate': 'pld-1'}": ["0.966147013", "1"],
}


@pytest.mark.parametrize(
    ("kind", "epsilon", "delta", "parameters"),
    [
        ("rdp", "nan", "1e-5", {"order": 4}),
        ("rdp", "-1", "1e-5", {"order": 4}),
        ("rdp", "inf", "1e-5", {"order": 4}),
        ("rdp", "8.0000000001", "1e-5", {"order": 4}),
        ("rdp", "8", "0", {"order": 4}),
        ("rdp", "8", "1", {"order": 4}),
        ("rdp", "8", "nan", {"order": 4}),
        ("rdp", "8", "1e-5", {"order": 1}),
        ("rdp", "8", "1e-5", {"order": 2.5}),
        ("rdp", "8", "1e-5", {"order": True}),
        ("rdp", "8", "1e-5", {}),
        ("rdp", "0.1", "1e-5", {"order": 2}),
        ("zcdp", "8", "1e-5", {"order": 2}),
        ("sum", "8", "1e-5", {"requests": 0}),
        ("pld", "8", "1e-5", {}),
        ("best", "8", "1e-5", {}),
    ],
)
def test_what_is_no_filter_is_refused(
    kind: str, epsilon: str, delta: str, parameters: dict[str, object]
) -> None:
    with pytest.raises(InvalidFilter):
        make_filter(kind, Decimal(epsilon), Decimal(delta), **parameters)


@pytest.mark.parametrize("bad", [Decimal("nan"), Decimal("-1"), Decimal("inf"), Decimal(10) ** 7])
def test_rounding_refuses_what_is_no_loss(bad: Decimal) -> None:
    with pytest.raises(UnboundedLoss):
        round_up(bad)


def test_less_noise_never_costs_less_across_the_bound_for_tiny_noise() -> None:
    costs = [
        sampled_gaussian_rdp(10, 1000, Decimal(noise), 4)
        for noise in ("0.011", "0.0100001", "0.01", "0.0099999", "0.009")
    ]
    assert costs == sorted(costs)
    assert math.isfinite(float(costs[-1]))


def _with(mechanism: RunMechanism, **changes: object) -> RunMechanism:
    values = {**mechanism.__dict__, **changes}
    return RunMechanism(**values)
