"""Orders between integers: never below the definition, close to it, and worth having."""

from __future__ import annotations

from decimal import Decimal

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sytff_policy.privacy import InvalidFilter, UnboundedLoss, make_filter
from sytff_policy.privacy.exact import sampled_gaussian_rdp
from tests.privacy.oracles import renyi_by_quadrature, renyi_by_trapezoids, run_of


def admitted(epsilon: str, delta: str, order: int | str, event: object) -> int:
    made = make_filter("rdp", Decimal(epsilon), Decimal(delta), order=order)
    return int(made.capacity.values[0] / made.charge(event).values[0])


@settings(max_examples=25, deadline=None)
@given(
    clients=st.integers(1, 999),
    noise=st.decimals("0.3", "10", places=2),
    order=st.decimals("2.01", "31.99", places=2),
)
def test_a_charge_between_integers_is_at_least_the_renyi_divergence(
    clients: int, noise: Decimal, order: Decimal
) -> None:
    ours = sampled_gaussian_rdp(clients, 1000, noise, order)
    oracle = renyi_by_quadrature(f"{clients / 1000}", str(noise), str(order))
    assert mpmath.mpf(str(ours)) >= oracle * (1 - mpmath.mpf(10) ** -12)


@pytest.mark.parametrize(
    ("clients", "population", "noise", "order", "within"),
    [
        (1, 100, "1", "6.76", 1.001),
        (1, 1000, "0.6", "5.2", 1.45),
        (1, 1000, "0.6", "4.4", 1.15),
        (1, 10, "1", "2.3", 1.10),
        (1, 100, "2", "15.5", 1.02),
    ],
)
def test_where_such_orders_matter_the_bound_is_close(
    clients: int, population: int, noise: str, order: str, within: float
) -> None:
    truth = renyi_by_trapezoids(clients / population, float(noise), float(order))
    ours = float(sampled_gaussian_rdp(clients, population, Decimal(noise), Decimal(order)))
    assert truth <= ours * (1 + 1e-9)
    assert ours <= truth * within


def test_the_recorded_example_admits_hundreds_of_rounds_and_the_textbooks_order_one() -> None:
    event = run_of(1, 1, 100, "1")
    counts = {
        order: admitted("2", "1e-5", order, event) for order in ("6.76", "12.5", 7, 8, 12, 13)
    }
    assert counts == {"6.76": 724, "12.5": 1, 7: 784, 8: 879, 12: 1, 13: 0}


def test_at_small_noise_a_fractional_order_admits_more_than_twice_as_many_rounds() -> None:
    event = run_of(1, 1, 1000, "0.6")
    assert admitted("4", "1e-6", "4.4", event) == 8918
    assert max(admitted("4", "1e-6", order, event) for order in range(4, 20)) == 3491


@pytest.mark.parametrize("order", ["2.5", "7.25", "31.99"])
def test_without_sampling_every_order_is_exact(order: str) -> None:
    assert sampled_gaussian_rdp(5, 5, Decimal(2), Decimal(order)) == Decimal(order) / 8


@pytest.mark.parametrize(
    "order",
    ["1.5", "2.505", "32.5", "300", "4.50", "04.5", "+4.5", "nan", "inf", "-4.5", "", " 4.5", "x"],
)
def test_what_is_no_order_is_refused(order: str) -> None:
    with pytest.raises(InvalidFilter):
        make_filter("rdp", Decimal(8), Decimal("1e-5"), order=order)


@pytest.mark.parametrize("order", [1, 257, -3, 10**30, True, 2.5, 4.0, None, [4], Decimal("nan")])
def test_what_is_no_order_of_any_type_is_refused(order: object) -> None:
    with pytest.raises(InvalidFilter):
        make_filter("rdp", Decimal(8), Decimal("1e-5"), order=order)


def test_an_order_has_one_spelling() -> None:
    made = make_filter("rdp", Decimal(8), Decimal("1e-5"), order=Decimal("4.50"))
    assert made.parameters() == {"order": "4.5"}
    whole = make_filter("rdp", Decimal(8), Decimal("1e-5"), order=Decimal("4.0"))
    assert whole.parameters() == {"order": 4}


@settings(max_examples=40, deadline=None)
@given(
    clients=st.integers(1, 900),
    noise=st.decimals("0.3", "8", places=2),
    order=st.decimals("2.1", "20.9", places=1),
)
def test_between_integers_less_noise_and_more_clients_never_cost_less(
    clients: int, noise: Decimal, order: Decimal
) -> None:
    cost = sampled_gaussian_rdp(clients, 1000, noise, order)
    assert sampled_gaussian_rdp(clients, 1000, noise - Decimal("0.01"), order) >= cost
    assert sampled_gaussian_rdp(clients + 1, 1000, noise, order) >= cost


def test_no_noise_is_unbounded_at_every_order() -> None:
    with pytest.raises(UnboundedLoss):
        sampled_gaussian_rdp(1, 10, Decimal(0), Decimal("4.5"))
