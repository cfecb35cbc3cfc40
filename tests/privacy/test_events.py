"""Events survive their JSON, and nothing else becomes an event."""

from __future__ import annotations

from decimal import Decimal

import dp_accounting
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy.canonical import canonical_bytes
from sytff_policy.privacy import (
    Gaussian,
    PoissonSampled,
    Repeated,
    RunMechanism,
    UnknownEvent,
    from_json,
    to_dp_event,
)

runs = st.builds(
    RunMechanism,
    rounds=st.integers(0, 1000),
    clients_per_round=st.integers(1, 50),
    population=st.integers(50, 10**6),
    noise_multiplier=st.decimals("0", "1000", places=6),
    evaluation_noise=st.none() | st.decimals("0", "1000", places=6),
)


@given(runs)
def test_round_trip(run: RunMechanism) -> None:
    event = run.event()
    assert from_json(event.to_json()) == event


def test_golden_bytes() -> None:
    event = RunMechanism(10, 50, 6127, Decimal("1.10"), Decimal(5)).event()
    assert canonical_bytes(event.to_json()) == (
        b'{"event":"composed","of":[{"count":10,"event":"repeated","of":{"clients":50,'
        b'"event":"poisson_sampled","of":{"event":"gaussian","noise_multiplier":"1.1"},'
        b'"population":6127}},{"count":1,"event":"repeated","of":{"event":"gaussian",'
        b'"noise_multiplier":"5"}}]}'
    )


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "gaussian",
        {},
        {"event": "os.system"},
        {"event": ["gaussian"]},
        {"event": "gaussian"},
        {"event": "gaussian", "noise_multiplier": 1.0},
        {"event": "gaussian", "noise_multiplier": "1.0"},
        {"event": "gaussian", "noise_multiplier": "nan"},
        {"event": "gaussian", "noise_multiplier": "-1"},
        {"event": "gaussian", "noise_multiplier": "1", "module": "os"},
        {"event": "repeated", "count": -1, "of": {"event": "gaussian", "noise_multiplier": "1"}},
        {"event": "repeated", "count": True, "of": {"event": "gaussian", "noise_multiplier": "1"}},
        {"event": "composed", "of": {"event": "gaussian", "noise_multiplier": "1"}},
        {"event": "composed", "of": [{"event": "gaussian", "noise_multiplier": "1"}]},
        {
            "event": "poisson_sampled",
            "clients": 11,
            "population": 10,
            "of": {"event": "gaussian", "noise_multiplier": "1"},
        },
    ],
)
def test_what_is_no_event_is_refused(document: object) -> None:
    with pytest.raises(UnknownEvent):
        from_json(document)


def test_in_dp_accountings_words() -> None:
    event = Repeated(3, PoissonSampled(1, 4, Gaussian(Decimal("1.5"))))
    assert to_dp_event(event) == dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.25, dp_accounting.GaussianDpEvent(1.5)), 3
    )


def test_more_rounds_than_the_mechanism_has_cannot_have_been_executed() -> None:
    run = RunMechanism(10, 5, 100, Decimal(1))
    with pytest.raises(ValueError, match="11 rounds"):
        run.executed(11, evaluated=False)
    with pytest.raises(ValueError, match="never part"):
        run.executed(10, evaluated=True)
