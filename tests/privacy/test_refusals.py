"""What is not finite, not exact or absurd is refused everywhere, and by its name."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import dp_accounting
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sytff_policy.canonical import canonical_bytes
from sytff_policy.privacy import (
    Composed,
    Gaussian,
    InvalidFilter,
    Loss,
    PoissonSampled,
    PrivacyFilter,
    Repeated,
    RunMechanism,
    UnboundedLoss,
    UnknownEvent,
    UnsupportedEvent,
    filter_from_json,
    make_filter,
)
from sytff_policy.privacy.exact import (
    QUANTUM,
    conversion_constant,
    round_down,
    round_up,
    sampled_gaussian_rdp,
)

EPSILON, DELTA = Decimal(8), Decimal("1e-5")
FILTERS = [
    make_filter("rdp", EPSILON, DELTA, order=4),
    make_filter("rdp", EPSILON, DELTA, order="4.5"),
    make_filter("zcdp", EPSILON, DELTA),
    make_filter("sum", EPSILON, DELTA, requests=10),
]
every_filter = pytest.mark.parametrize(
    "privacy_filter", FILTERS, ids=lambda f: f"{f.kind}-{f.parameters()}"
)
NOT_FINITE = [Decimal("nan"), Decimal("-nan"), Decimal("snan"), Decimal("inf"), Decimal("-inf")]
GAUSSIAN = Gaussian(Decimal(1))


@pytest.mark.parametrize(
    "noise",
    [
        *NOT_FINITE,
        Decimal(-1),
        Decimal("-1e-300"),
        Decimal("1e10"),
        Decimal("1e999999"),
        Decimal("1e-999999"),
        1.0,
        1,
        "1",
        None,
        float("nan"),
        True,
    ],
)
def test_a_noise_that_is_no_noise_makes_no_event(noise: Any) -> None:
    with pytest.raises(UnknownEvent):
        Gaussian(noise)


@pytest.mark.parametrize(
    ("clients", "population"),
    [(0, 10), (-1, 10), (11, 10), (True, 10), (1.0, 10), (1, 10.0), ("1", 10), (1, 10**13)],
)
def test_a_sampling_rate_that_is_none_makes_no_event(clients: Any, population: Any) -> None:
    with pytest.raises(UnknownEvent):
        PoissonSampled(clients, population, GAUSSIAN)


@pytest.mark.parametrize("count", [-1, 10**7 + 1, 1.0, True, "1", None, float("nan")])
def test_a_count_that_is_none_makes_no_event(count: Any) -> None:
    with pytest.raises(UnknownEvent):
        Repeated(count, GAUSSIAN)


def test_events_hold_only_events_of_their_own_vocabulary() -> None:
    laplace: Any = dp_accounting.LaplaceDpEvent(1.0)
    with pytest.raises(UnknownEvent, match="LaplaceDpEvent"):
        PoissonSampled(1, 2, laplace)
    with pytest.raises(UnknownEvent, match="LaplaceDpEvent"):
        Repeated(1, laplace)
    with pytest.raises(UnknownEvent):
        Composed((laplace,))
    with pytest.raises(UnknownEvent):
        Composed([Repeated(1, GAUSSIAN)])  # type: ignore[arg-type]


@every_filter
@pytest.mark.parametrize(
    "event",
    [
        dp_accounting.LaplaceDpEvent(1.0),
        dp_accounting.NonPrivateDpEvent(),
        dp_accounting.UnsupportedDpEvent(),
        dp_accounting.GaussianDpEvent(1.0),
        dp_accounting.SingleEpochTreeAggregationDpEvent(1.0, 10),
        dp_accounting.SampledWithoutReplacementDpEvent(10, 2, dp_accounting.GaussianDpEvent(1.0)),
        "gaussian",
        None,
        {"event": "gaussian", "noise_multiplier": "1"},
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_outside_the_theorem_is_refused_by_name(
    privacy_filter: PrivacyFilter, event: Any
) -> None:
    with pytest.raises(UnsupportedEvent, match=type(event).__name__):
        privacy_filter.charge(event)


def test_a_mechanism_that_a_filter_does_not_cover_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    privacy_filter = make_filter("zcdp", EPSILON, DELTA)
    monkeypatch.setattr(type(privacy_filter), "covers", (Gaussian,))
    with pytest.raises(UnsupportedEvent, match="zcdp has no valid charge for PoissonSampled"):
        privacy_filter.charge(RunMechanism(1, 1, 10, Decimal(1)).event())


@every_filter
@pytest.mark.parametrize("noise", ["5e-324", "1e-300", "1e-30", "0.0000001", "0"])
def test_noise_too_small_to_hide_anything_has_no_finite_charge(
    privacy_filter: PrivacyFilter, noise: str
) -> None:
    for mechanism in (
        RunMechanism(1, 1, 10, Decimal(noise)),
        RunMechanism(1, 1, 10, Decimal(5), Decimal(noise)),
        RunMechanism(10_000_000, 10, 10, Decimal(noise)),
    ):
        with pytest.raises(UnboundedLoss):
            privacy_filter.charge(mechanism.event())
        with pytest.raises(UnboundedLoss):
            privacy_filter.quick_charge(mechanism.event())


@every_filter
def test_the_largest_request_has_an_answer(privacy_filter: PrivacyFilter) -> None:
    event = RunMechanism(10_000_000, 10**12, 10**12, Decimal("0.5"), Decimal("0.5")).event()
    try:
        assert not privacy_filter.admits(privacy_filter.charge(event))
    except UnboundedLoss:
        return


@every_filter
@pytest.mark.parametrize("bad", [*NOT_FINITE, Decimal("-1e-9"), Decimal(-1), Decimal("1e7")])
def test_rounding_and_totals_refuse_what_is_no_loss(
    privacy_filter: PrivacyFilter, bad: Decimal
) -> None:
    with pytest.raises(UnboundedLoss):
        round_up(bad)
    if not bad.is_finite():
        with pytest.raises(ValueError, match="finite"):
            round_down(bad)
    if not bad.is_finite() or not bad > 0:
        with pytest.raises((ValueError, ArithmeticError)):
            Loss((bad,) * len(privacy_filter.units))
    with pytest.raises((ValueError, ArithmeticError)):
        privacy_filter.parse_loss([str(bad)] * len(privacy_filter.units))


@pytest.mark.parametrize(
    "order", [Decimal("nan"), Decimal("inf"), Decimal("1.9"), Decimal("32.5"), 1, -1]
)
def test_an_order_out_of_range_has_no_divergence(order: Any) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        sampled_gaussian_rdp(1, 10, Decimal(1), order)


@pytest.mark.parametrize("delta", [Decimal(0), Decimal(1), Decimal(-1), Decimal("nan")])
def test_a_delta_out_of_range_has_no_conversion(delta: Decimal) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        conversion_constant(Decimal(4), delta)


@pytest.mark.parametrize(
    ("epsilon", "delta"),
    [
        ("8", "1e-31"),
        ("8", "1e-400"),
        ("1e-10", "1e-5"),
        ("100001", "1e-5"),
        ("1e400", "1e-5"),
        ("8", "0." + "1" * 100),
        ("8", "-1e-5"),
    ],
)
def test_an_absurd_budget_makes_no_filter(epsilon: str, delta: str) -> None:
    for kind, parameters in (("rdp", {"order": 4}), ("zcdp", {}), ("sum", {"requests": 2})):
        with pytest.raises(InvalidFilter):
            make_filter(kind, Decimal(epsilon), Decimal(delta), **parameters)
    for value in (8.0, 8, "8", None, True):
        with pytest.raises(InvalidFilter):
            make_filter("zcdp", value, Decimal("1e-5"))  # type: ignore[arg-type]


GOLDEN_FILTERS = [
    b'{"delta":"0.00001","epsilon":"8","kind":"rdp",'
    b'"neighbouring_relation":"add_or_remove_one","order":4}',
    b'{"delta":"0.00001","epsilon":"8","kind":"rdp",'
    b'"neighbouring_relation":"add_or_remove_one","order":"4.5"}',
    b'{"delta":"0.00001","epsilon":"8","kind":"zcdp","neighbouring_relation":"add_or_remove_one"}',
    b'{"certificate":"pld-1","delta":"0.00001","epsilon":"8","kind":"sum",'
    b'"neighbouring_relation":"add_or_remove_one","requests":10}',
]


def test_golden_bytes_of_filters() -> None:
    assert [canonical_bytes(made.to_json()) for made in FILTERS] == GOLDEN_FILTERS


@every_filter
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("neighbouring_relation", "replace_one"),
        ("neighbouring_relation", None),
        ("kind", "pld"),
        ("kind", None),
        ("kind", ["rdp"]),
        ("epsilon", 8),
        ("epsilon", "8.0"),
        ("epsilon", "nan"),
        ("epsilon", "08"),
        ("delta", "1e-5"),
        ("delta", 0.00001),
        ("order", "4"),
        ("order", 4.5),
        ("requests", "10"),
        ("requests", True),
        ("certificate", "rdp"),
        ("certificate", None),
        ("certificate", "pld-2"),
        ("module", "os"),
    ],
)
def test_a_stored_filter_has_one_spelling(
    privacy_filter: PrivacyFilter, key: str, value: object
) -> None:
    document = copy.deepcopy(privacy_filter.to_json())
    document[key] = value
    with pytest.raises(InvalidFilter):
        filter_from_json(document)


@every_filter
def test_a_stored_filter_lacks_nothing(privacy_filter: PrivacyFilter) -> None:
    for key in privacy_filter.to_json():
        document = privacy_filter.to_json()
        del document[key]
        with pytest.raises(InvalidFilter):
            filter_from_json(document)


numbers = st.decimals("0", "1000000", allow_nan=False, places=25)


@given(value=numbers)
def test_a_charge_is_rounded_up_by_less_than_two_steps(value: Decimal) -> None:
    rounded = round_up(value)
    assert rounded >= value
    assert rounded - value < 2 * QUANTUM
    assert rounded % QUANTUM == 0


@given(value=numbers)
def test_a_capacity_is_rounded_down_by_less_than_two_steps(value: Decimal) -> None:
    rounded = round_down(value)
    assert rounded <= value
    assert value - rounded < 2 * QUANTUM
    assert rounded % QUANTUM == 0


@given(steps=st.integers(0, 10**14))
def test_what_is_on_the_grid_and_above_zero_is_never_made_cheaper(steps: int) -> None:
    value = steps * QUANTUM
    assert round_up(value) >= value >= round_down(value)


@pytest.mark.parametrize("privacy_filter", FILTERS[:3], ids=lambda f: f"{f.kind}-{f.parameters()}")
@settings(max_examples=30, deadline=None)
@given(
    rounds=st.integers(1, 500),
    clients=st.integers(1, 1000),
    noise=st.decimals("0.3", "20", places=3),
)
def test_a_sum_of_charges_is_never_below_the_charge_of_all_at_once(
    privacy_filter: PrivacyFilter, rounds: int, clients: int, noise: Decimal
) -> None:
    """Splitting a run over requests never saves anything."""
    whole = RunMechanism(2 * rounds, clients, 1000, noise).event()
    half = privacy_filter.charge(RunMechanism(rounds, clients, 1000, noise).event())
    assert privacy_filter.charge(whole).fits(half + half)


@every_filter
@settings(max_examples=30, deadline=None)
@given(
    rounds=st.integers(1, 500),
    clients=st.integers(1, 1000),
    noise=st.decimals("0.3", "20", places=3),
)
def test_what_the_quick_charge_admits_the_charge_admits(
    privacy_filter: PrivacyFilter, rounds: int, clients: int, noise: Decimal
) -> None:
    event = RunMechanism(rounds, clients, 1000, noise, Decimal(6)).event()
    assert privacy_filter.charge(event).fits(privacy_filter.quick_charge(event))


@every_filter
def test_there_is_no_tolerance_at_the_capacity(privacy_filter: PrivacyFilter) -> None:
    full = privacy_filter.capacity
    step = Loss((QUANTUM,) + (Decimal(0),) * (len(privacy_filter.units) - 1))
    assert privacy_filter.admits(full)
    assert not privacy_filter.admits(full + step)
    assert privacy_filter.admits(full - step)
    assert privacy_filter.epsilon_of(full) <= privacy_filter.epsilon
