"""Charges and limits, recomputed from the recorded events.

A charge is first held against a value in doubles, computed without cancellation and with a bound
on its error. Where that cannot tell, mpmath decides with 50 digits. Both are kept by event, so
that a log of many equal requests is checked fast.
"""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import Any

import mpmath

from sytff_policy.ledger.verify.distribution import certified_interval
from sytff_policy.ledger.verify.report import Wrong
from sytff_policy.ledger.verify.state import FilterState, Part

_STEP = Decimal("1e-9")
_LEAST_SAMPLED_NOISE = 0.01


def check_admitted(limit: FilterState, total: list[Decimal], name: str) -> None:
    """Refuses a total that a filter cannot have admitted."""
    if any(value > most for value, most in zip(total, capacity(limit), strict=True)):
        raise Wrong("verify.overspent", f"{name} cannot have admitted this")


@lru_cache(maxsize=4096)
def capacity(state: FilterState) -> tuple[Decimal, ...]:
    """What the filter may hold, cut down to the grid that charges lie on."""
    if state.kind == "sum":
        return (state.epsilon, Decimal(state.parameter))
    with mpmath.workdps(50):
        epsilon = mpmath.mpf(str(state.epsilon))
        if state.kind == "rdp":
            return (_on_grid(epsilon - _conversion(state.parameter, state.delta)),)
        orders = _zcdp_orders()
        return (_on_grid(max((epsilon - _conversion(a, state.delta)) / a for a in orders)),)


def check_charge(state: FilterState, parts: tuple[Part, ...], charge: list[Decimal]) -> None:
    """Refuses a charge that is not the event's, rounded up to the grid."""
    live = tuple(part for part in parts if part.times)
    if not live:
        if any(charge):
            raise Wrong("verify.charge", f"nothing was executed, and {charge[0]} charged")
        return
    if state.kind == "sum" and charge[1] != 1:
        raise Wrong("verify.charge", "a request counts once")
    key = (state.kind, state.parameter, state.delta, live)
    if state.kind == "sum":
        least, greatest = _certificate(*key[1:])
        if not least <= charge[0] <= greatest:
            raise Wrong(
                "verify.charge",
                f"the event is certified at {least:.9f} to {greatest:.9f}, not at {charge[0]}",
            )
        return
    value, error = _quick(*key)
    # Rounded up to the grid: never below the exact value, never a step above it.
    if value + error <= float(charge[0]) <= value - error + 0.999e-9:
        return
    exact = _exact(*key)
    if not exact <= charge[0] <= exact + _STEP:
        raise Wrong("verify.charge", f"the event costs {exact:.12f}, not {charge[0]}")


@lru_cache(maxsize=65_536)
def _certificate(
    requests: int | Decimal, delta: Decimal, live: tuple[Part, ...]
) -> tuple[Decimal, Decimal]:
    """The least and the greatest epsilon that method `pld-1` can have certified."""
    renyi = _exact("sum", requests, delta, live)
    # The conversion is rounded up on its own, and then the sum.
    least, greatest = renyi, renyi + 2 * _STEP
    interval = certified_interval(live, float(delta / requests), float(renyi))
    if interval is not None:
        least, greatest = min(least, Decimal(interval[0])), min(greatest, Decimal(interval[1]))
    return least, greatest


@lru_cache(maxsize=65_536)
def _quick(
    kind: str, parameter: int | Decimal, delta: Decimal, live: tuple[Part, ...]
) -> tuple[float, float]:
    """A charge in doubles, and a bound on its error; (0, inf) where there is none."""
    if kind == "zcdp":
        total = math.fsum(part.times / (2 * float(part.noise) ** 2) for part in live)
        return total, 1e-13 * total + 1e-15
    if isinstance(parameter, int):
        return _quick_rdp(live, parameter)
    return 0.0, math.inf


def _quick_rdp(live: tuple[Part, ...], order: int) -> tuple[float, float]:
    total = error = 0.0
    for part in live:
        value, wide = _quick_round(part.clients, part.population, part.noise, order)
        total += part.times * value
        error += part.times * wide
    return total, error + 1e-15 * total


@lru_cache(maxsize=65_536)
def _quick_round(clients: int, population: int, noise: str, order: int) -> tuple[float, float]:
    """Renyi divergence of one round in doubles: a sum of positive terms, by their logarithms."""
    z = float(noise)
    if clients == population or z < _LEAST_SAMPLED_NOISE:
        value = order / (2 * z * z)
        return value, 4e-16 * value
    rate = clients / population
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    terms, largest = [], 1.0
    for k in range(2, order + 1):
        loss = k * (k - 1) / (2 * z * z)
        # exp(loss) - 1: the ones of all terms add up to one, which the logarithm takes away.
        growth = loss + math.log(-math.expm1(-loss)) if loss > 0 else -math.inf
        weight = _log_binomial(order, k) + (order - k) * log_rest + k * log_rate
        largest = max(largest, abs(weight), abs(k * log_rate), loss)
        terms.append(weight + growth)
    top = max(terms)
    log_sum = top + math.log(math.fsum(math.exp(term - top) for term in terms))
    value = (
        log_sum + math.log1p(math.exp(-log_sum)) if log_sum > 0 else math.log1p(math.exp(log_sum))
    ) / (order - 1)
    # The logarithms are right to a few units in the last place of their largest part; an error
    # there is a relative error of the sum, which its logarithm only lessens.
    share = min(1.0, math.exp(min(log_sum, 0.0)))
    return value, (largest * 4e-15 * share + 1e-15 * value * order) / (order - 1) + 4e-16 * value


@lru_cache(maxsize=65_536)
def _log_binomial(order: int, k: int) -> float:
    return math.log(math.comb(order, k))


@lru_cache(maxsize=65_536)
def _exact(kind: str, parameter: int | Decimal, delta: Decimal, live: tuple[Part, ...]) -> Decimal:
    with mpmath.workdps(50):
        if kind == "zcdp":
            value = mpmath.fsum(part.times / (2 * mpmath.mpf(part.noise) ** 2) for part in live)
        elif kind == "rdp":
            value = _rdp(live, parameter)
        else:
            share = delta / parameter
            value = min(_rdp(live, order) + _conversion(order, share) for order in _SUM_ORDERS)
        return _decimal(max(value, mpmath.mpf(0)))


def _rdp(live: tuple[Part, ...], order: int | Decimal) -> Any:
    return mpmath.fsum(part.times * _round_rdp(*part[1:], order) for part in live)


@lru_cache(maxsize=65_536)
def _round_rdp(clients: int, population: int, noise: str, order: int | Decimal) -> Any:
    """Mironov, Talwar, Zhang 2019, section 3.3, as an expectation over binomial counts."""
    with mpmath.workdps(50):
        z = mpmath.mpf(noise)
        if clients == population or z < mpmath.mpf("0.01"):
            return mpmath.mpf(str(order)) / (2 * z**2)
        q = mpmath.mpf(clients) / population
        if not isinstance(order, int):
            return _fractional_rdp(q, z, mpmath.mpf(str(order)))
        terms = (
            mpmath.binomial(order, k)
            * mpmath.power(1 - q, order - k)
            * mpmath.power(q, k)
            * mpmath.exp(mpmath.mpf(k * k - k) / (2 * z**2))
            for k in range(order + 1)
        )
        return mpmath.log(mpmath.fsum(terms)) / (order - 1)


def _fractional_rdp(q: Any, z: Any, order: Any) -> Any:
    """The bound between integers: moments of the ratio less one, and Taylor's remainder."""
    with mpmath.workdps(120):
        n, spread = int(mpmath.floor(order)), 1 / (2 * z**2)
        moments = [
            q**k
            * mpmath.fsum(
                (-1) ** (k - j) * mpmath.binomial(k, j) * mpmath.exp(j * (j - 1) * spread)
                for j in range(k + 1)
            )
            for k in range(n + 1)
        ]
        total = mpmath.fsum(mpmath.binomial(order, k) * moments[k] for k in range(n + 1))
        last = mpmath.binomial(order, n + 1)
        mixtures = [mpmath.mpf(step) / 8 for step in range(9)]
        powers = [(1 - theta, theta * order + (1 - theta) * (n + 1)) for theta in mixtures]
        total += min(last**rest * q**b * mpmath.exp(b * (b - 1) * spread) for rest, b in powers)
        if n % 2 == 1:
            total += last * (1 - q) ** (order - n - 1) * q ** (n - 1) * moments[2]
        return mpmath.log(total) / (order - 1)


@lru_cache(maxsize=4096)
def _conversion(order: Any, delta: Decimal) -> Any:
    """Canonne, Kamath, Steinke 2020, Proposition 12."""
    with mpmath.workdps(50):
        a, d = mpmath.mpf(order), mpmath.mpf(str(delta))
        return mpmath.log1p(-1 / a) - mpmath.log(d * a) / (a - 1)


_SUM_ORDERS = (*range(2, 33), 40, 48, 64, 96, 128, 192, 256)


@lru_cache(maxsize=1)
def _zcdp_orders() -> list[Any]:
    with mpmath.workdps(60):
        return [1 + mpmath.mpf("0.01") * mpmath.mpf("1.06") ** k for k in range(230)]


def _on_grid(value: Any) -> Decimal:
    return _decimal(value).quantize(_STEP, rounding=ROUND_FLOOR)


def _decimal(value: Any) -> Decimal:
    return Decimal(mpmath.nstr(value, 40, min_fixed=-mpmath.inf, max_fixed=mpmath.inf))
