"""The verifier's own accounting agrees with every filter and refuses charges that are another's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sytff_policy.ledger.verify.accounting import capacity, check_charge
from sytff_policy.ledger.verify.events import filter_of, mechanism_of_event
from sytff_policy.ledger.verify.report import Wrong
from sytff_policy.privacy import PrivacyFilter, RunMechanism, UnboundedLoss, make_filter

EPSILON, DELTA = Decimal(6), Decimal("1e-6")
FILTERS = [
    make_filter("rdp", EPSILON, DELTA, order=6),
    make_filter("rdp", EPSILON, DELTA, order="4.4"),
    make_filter("rdp", EPSILON, DELTA, order="7.25"),
    make_filter("zcdp", EPSILON, DELTA),
    make_filter("sum", EPSILON, DELTA, requests=1),
    make_filter("sum", EPSILON, DELTA, requests=7),
]
every_filter = pytest.mark.parametrize(
    "privacy_filter", FILTERS, ids=lambda f: f"{f.kind}-{f.parameters()}"
)


def verify(privacy_filter: PrivacyFilter, event: Any, charge: list[Decimal]) -> None:
    check_charge(filter_of(privacy_filter.to_json()), mechanism_of_event(event.to_json()), charge)


@every_filter
@settings(max_examples=20, deadline=None)
@given(
    rounds=st.integers(1, 3000),
    clients=st.integers(1, 500),
    noise=st.decimals("0.25", "12", places=2),
    evaluated=st.booleans(),
)
def test_the_verifier_accepts_every_charge(
    privacy_filter: PrivacyFilter, rounds: int, clients: int, noise: Decimal, evaluated: bool
) -> None:
    evaluation = Decimal("7.5") if evaluated else None
    event = RunMechanism(rounds, clients, 5000, noise, evaluation).event()
    try:
        charge = list(privacy_filter.charge(event).values)
    except UnboundedLoss:
        return
    verify(privacy_filter, event, charge)


@pytest.mark.parametrize(
    ("mechanism", "delta", "requests"),
    [
        (RunMechanism(108, 73, 1000, Decimal("406.5103"), Decimal(2)), "0.1", 3),
        (RunMechanism(198_635, 33_531, 100_000, Decimal("347.3075"), Decimal("0.4")), "0.1", 1),
        (RunMechanism(1, 558, 10**6, Decimal("3.2625"), Decimal(2)), "0.1", 3),
        (RunMechanism(319_551, 57, 100_000, Decimal("7.8596"), Decimal(60)), "0.001", 1),
        (RunMechanism(1000, 50, 5000, Decimal(1), Decimal(5)), "1e-20", 1000),
    ],
)
def test_the_verifier_accepts_certificates_at_the_edges(
    mechanism: RunMechanism, delta: str, requests: int
) -> None:
    privacy_filter = make_filter("sum", Decimal(50), Decimal(delta), requests=requests)
    event = mechanism.event()
    verify(privacy_filter, event, list(privacy_filter.charge(event).values))


@every_filter
@pytest.mark.parametrize("factor", ["0", "0.5", "0.999", "1.001", "2"])
def test_the_verifier_refuses_another_charge(privacy_filter: PrivacyFilter, factor: str) -> None:
    event = RunMechanism(200, 50, 5000, Decimal("0.9"), Decimal(6)).event()
    cost, *rest = privacy_filter.charge(event).values
    with pytest.raises(Wrong, match="not"):
        verify(privacy_filter, event, [cost * Decimal(factor), *rest])


@pytest.mark.parametrize("privacy_filter", FILTERS[:4], ids=lambda f: f"{f.kind}-{f.parameters()}")
def test_the_verifier_refuses_a_charge_one_step_too_small(privacy_filter: PrivacyFilter) -> None:
    event = RunMechanism(200, 50, 5000, Decimal("0.9"), Decimal(6)).event()
    (cost,) = privacy_filter.charge(event).values
    with pytest.raises(Wrong):
        verify(privacy_filter, event, [cost - Decimal("1e-9")])


@every_filter
def test_the_verifier_comes_to_the_same_capacity(privacy_filter: PrivacyFilter) -> None:
    theirs = capacity(filter_of(privacy_filter.to_json()))
    for ours, limit in zip(privacy_filter.capacity.values, theirs, strict=True):
        # The conversion constant is rounded up on its own, so ours may be one step below.
        assert ours <= limit <= ours + Decimal("1e-9")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("neighbouring_relation", "replace_one"),
        ("certificate", "pld-2"),
        ("requests", 0),
        ("kind", "pld"),
        ("order", 4),
    ],
)
def test_the_verifier_refuses_a_filter_that_nobody_can_have(key: str, value: object) -> None:
    document = {**FILTERS[-1].to_json(), key: value}
    with pytest.raises(Wrong):
        filter_of(document)


@pytest.mark.parametrize("order", ["4", "4.40", "1.5", "32.5", "4.405", "nan", 1, 257, 4.4, True])
def test_the_verifier_refuses_an_order_that_is_none(order: object) -> None:
    with pytest.raises(Wrong):
        filter_of({**FILTERS[0].to_json(), "order": order})
