"""Charges and limits, recomputed with mpmath from the recorded events."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import mpmath

from sytff_policy.ledger.verify.report import Wrong
from sytff_policy.ledger.verify.state import DatasetState

_STEP = Decimal("1e-9")
_LARGEST = Decimal(1_000_000)


def capacity(state: DatasetState) -> list[Decimal]:
    """An upper bound on what the filter may hold, a hair above the exact one."""
    if state.kind == "sum":
        return [state.epsilon, Decimal(state.parameter)]
    if state.kind == "rdp":
        value = mpmath.mpf(str(state.epsilon)) - _conversion(state.parameter, state.delta)
        return [decimal(value)]
    best = max(
        (mpmath.mpf(str(state.epsilon)) - _conversion(order, state.delta)) / order
        for order in _zcdp_orders()
    )
    return [decimal(best)]


def check_admitted(state: DatasetState) -> None:
    total = [a + b for a, b in zip(state.spent, state.reserved, strict=True)]
    if any(value > limit for value, limit in zip(total, capacity(state), strict=True)):
        raise Wrong("verify.overspent", "the filter cannot have admitted this")


def check_charge(state: DatasetState, event: dict[str, Any], charge: list[Decimal]) -> None:
    for stated, exact in zip(charge, _charge(state, event), strict=True):
        # Rounded up to the grid: never below the exact value, never a whole step above it.
        if not exact <= stated <= exact + 2 * _STEP:
            raise Wrong("verify.charge", f"the event costs {exact:.12f}, not {stated}")


def _charge(state: DatasetState, event: dict[str, Any]) -> list[Decimal]:
    parts = [part for part in event["of"] if part["count"]]
    if not parts:
        return [Decimal(0)] * len(state.spent)
    if state.kind == "zcdp":
        return [decimal(sum(part["count"] / (2 * _noise(part) ** 2) for part in parts))]
    if state.kind == "rdp":
        return [decimal(_rdp(parts, state.parameter))]
    share = Decimal(state.delta) / state.parameter
    best = min(_rdp(parts, order) + _conversion(order, share) for order in _sum_orders())
    return [decimal(max(best, mpmath.mpf(0))), Decimal(1)]


def _rdp(parts: list[dict[str, Any]], order: int) -> Any:
    return sum(part["count"] * _round_rdp(part["of"], order) for part in parts)


def _round_rdp(event: dict[str, Any], order: int) -> Any:
    """Mironov, Talwar, Zhang 2019, section 3.3, as an expectation over binomial counts."""
    with mpmath.workdps(50):
        if event["event"] == "gaussian":
            return order / (2 * mpmath.mpf(event["noise_multiplier"]) ** 2)
        noise = mpmath.mpf(event["of"]["noise_multiplier"])
        if event["clients"] == event["population"] or noise < mpmath.mpf("0.01"):
            return order / (2 * noise**2)
        q = mpmath.mpf(event["clients"]) / event["population"]
        terms = (
            mpmath.binomial(order, k)
            * mpmath.power(1 - q, order - k)
            * mpmath.power(q, k)
            * mpmath.exp(mpmath.mpf(k * k - k) / (2 * noise**2))
            for k in range(order + 1)
        )
        return mpmath.log(mpmath.fsum(terms)) / (order - 1)


def _noise(part: dict[str, Any]) -> Any:
    inner = part["of"]
    inner = inner["of"] if inner["event"] == "poisson_sampled" else inner
    return mpmath.mpf(inner["noise_multiplier"])


def _conversion(order: Any, delta: Decimal) -> Any:
    """Canonne, Kamath, Steinke 2020, Proposition 12."""
    with mpmath.workdps(50):
        a, d = mpmath.mpf(order), mpmath.mpf(str(delta))
        return mpmath.log1p(-1 / a) - mpmath.log(d * a) / (a - 1)


def _sum_orders() -> list[int]:
    return [*range(2, 33), 40, 48, 64, 96, 128, 192, 256]


def _zcdp_orders() -> list[Any]:
    with mpmath.workdps(60):
        return [1 + mpmath.mpf("0.01") * mpmath.mpf("1.06") ** k for k in range(230)]


def shape(event: dict[str, Any], population: int) -> tuple[int, bool]:
    """(rounds, evaluated) of a run's event, after checking that it is one."""
    if event["event"] != "composed" or not 1 <= len(event["of"]) <= 2:
        raise Wrong("verify.event", "the event is not a run's")
    rounds = event["of"][0]
    inner = rounds["of"]
    sound = (
        all(part["event"] == "repeated" for part in event["of"])
        and inner["event"] == "poisson_sampled"
        and inner["population"] == population
        and 1 <= inner["clients"] <= population
        and inner["of"]["event"] == "gaussian"
        and number(inner["of"]["noise_multiplier"]) > 0
        and isinstance(rounds["count"], int)
        and rounds["count"] >= 0
    )
    if len(event["of"]) == 2:
        last = event["of"][1]
        sound = sound and last["count"] == 1 and last["of"]["event"] == "gaussian"
        sound = sound and number(last["of"]["noise_multiplier"]) > 0
    if not sound:
        raise Wrong("verify.event", "the event is not one of this dataset's population")
    return rounds["count"], len(event["of"]) == 2


def same_mechanism(done: dict[str, Any], reserved: dict[str, Any]) -> bool:
    pairs = zip(done["of"], reserved["of"], strict=False)
    return all(a["of"] == b["of"] for a, b in pairs) and len(done["of"]) <= len(reserved["of"])


def numbers(values: list[str]) -> list[Decimal]:
    return [number(value) for value in values]


def number(text: Any) -> Decimal:
    value = Decimal(text) if isinstance(text, str) else None
    if value is None or not (value.is_finite() and 0 <= value <= _LARGEST):
        raise Wrong("verify.number", f"{text!r} is not an exact number in range")
    return value


def decimal(value: Any) -> Decimal:
    return Decimal(mpmath.nstr(value, 40, min_fixed=-mpmath.inf, max_fixed=mpmath.inf))
