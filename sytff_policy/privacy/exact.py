"""Exact decimal arithmetic for charges and limits, with the direction of every rounding fixed.

Budget quantities are multiples of `QUANTUM`. Losses are rounded up, capacities down. Transcendental
functions are evaluated with 60 significant digits and widened by `GUARD` before that rounding, so
that the rounded value is a true bound and is the same on every platform and library version.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from functools import lru_cache

QUANTUM = Decimal("1e-9")
LARGEST = Decimal(1_000_000)
"""Losses above this are unbounded for every purpose here."""

GUARD = Decimal("1e-40")
"""Relative widening; far above the error of 60-digit arithmetic, far below `QUANTUM`."""

_CONTEXT = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN)
_SMALLEST_SAMPLED_NOISE = Decimal("0.01")
MAX_FRACTIONAL_ORDER = 32
_THETAS = tuple(Decimal(step) / 8 for step in range(9))
_CANCELLED = Decimal("1e-45")
"""Above what the alternating sums of a fractional order can lose to cancellation."""


class UnboundedLoss(ArithmeticError):
    """The privacy loss is infinite, or above `LARGEST`."""


@contextmanager
def precise() -> Iterator[None]:
    """60-digit arithmetic, with overflow and invalid operations raising."""
    with localcontext(_CONTEXT):
        yield


def exact(value: float | int | Decimal | str) -> Decimal:
    """The decimal that `value` is spelled as; floats by their shortest round-trip spelling.

    Raises:
      ValueError: If `value` is not finite.
    """
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def round_up(value: Decimal) -> Decimal:
    """The smallest multiple of `QUANTUM` that is not below `value` (a loss, >= 0).

    Raises:
      UnboundedLoss: If the value is not finite or above `LARGEST`.
    """
    if not (value.is_finite() and 0 <= value <= LARGEST):
        raise UnboundedLoss(f"{value} is not a privacy loss of at most {LARGEST}")
    with precise():
        return (value * (1 + GUARD)).quantize(QUANTUM, rounding=ROUND_CEILING)


def round_down(value: Decimal) -> Decimal:
    """The largest multiple of `QUANTUM` that is not above `value` (a capacity)."""
    if not value.is_finite():
        raise ValueError(f"{value} is not a finite limit")
    with precise():
        return (value - abs(value) * GUARD).quantize(QUANTUM, rounding=ROUND_FLOOR)


def on_grid(value: Decimal) -> Decimal:
    """`value` cut down to a multiple of `QUANTUM`; exact multiples stay as they are."""
    with precise():
        return value.quantize(QUANTUM, rounding=ROUND_FLOOR)


@lru_cache(maxsize=16384)
def sampled_gaussian_rdp(
    clients: int, population: int, noise_multiplier: Decimal, order: int | Decimal
) -> Decimal:
    """Renyi DP of one round of the Poisson-sampled Gaussian mechanism, add/remove neighbours.

    With q = clients / population and z = noise_multiplier, at an integer order a it is exactly

        1/(a-1) * ln( sum_{k=0..a} C(a,k) (1-q)^(a-k) q^k exp((k^2 - k) / (2 z^2)) )

    Source: Mironov, Talwar and Zhang, "Renyi Differential Privacy of the Sampled Gaussian
    Mechanism", 2019, section 3.3; that this direction bounds the other is their section 3.1. For
    q = 1 it is a / (2 z^2) at every order. Below z = 0.01, where the exponentials leave every
    useful range, the unsampled value is charged instead: sampling never increases a Renyi
    divergence, so it is an upper bound. At a fractional order the value is an upper bound too
    (`_fractional_moment`), above the exact one by 0.03% to a few percent where such orders matter.

    Args:
      clients: Expected cohort size, 1..population.
      population: Number of privacy units.
      noise_multiplier: z > 0.
      order: a, an integer >= 2 or a decimal in (2, 32).

    Returns:
      The unrounded value to 60 digits; callers round up.

    Raises:
      UnboundedLoss: If z is 0.
    """
    if not _is_order(order):
        raise ValueError(f"order {order!r} is not an integer >= 2 or a decimal in (2, 32)")
    if not 1 <= clients <= population:
        raise ValueError(f"sampling rate {clients}/{population} is not in (0, 1]")
    if not noise_multiplier.is_finite() or noise_multiplier < 0:
        raise ValueError(f"noise multiplier {noise_multiplier} is not a finite number >= 0")
    if noise_multiplier == 0:
        raise UnboundedLoss("no noise")
    with precise():
        scale = 1 / (2 * noise_multiplier * noise_multiplier)
        if clients == population or noise_multiplier < _SMALLEST_SAMPLED_NOISE:
            return order * scale
        rate = Decimal(clients) / Decimal(population)
        if order == int(order):
            moment = _integer_moment(rate, scale, int(order))
            return max(moment.ln(), Decimal(0)) / (order - 1)
        moment = _fractional_moment(rate, scale, Decimal(order))
        return max(moment.ln(), Decimal(0)) / (order - 1) + _CANCELLED


def _is_order(order: object) -> bool:
    if isinstance(order, int):
        return order >= 2
    if not (isinstance(order, Decimal) and order.is_finite() and order >= 2):
        return False
    return order < MAX_FRACTIONAL_ORDER or order == order.to_integral_value()


def _integer_moment(rate: Decimal, scale: Decimal, order: int) -> Decimal:
    total = Decimal(0)
    for k in range(order + 1):
        weight = math.comb(order, k) * (1 - rate) ** (order - k) * rate**k
        total += weight * (k * (k - 1) * scale).exp()
    return total


def _fractional_moment(rate: Decimal, scale: Decimal, order: Decimal) -> Decimal:
    """An upper bound on E[(1 + v)^a], v = q (exp((2x - 1) / (2 z^2)) - 1), x ~ N(0, z^2).

    Taylor's theorem with n = floor(a) gives (1 + v)^a = sum_{k<=n} C(a,k) v^k + R with
    R = (n+1) C(a,n+1) * integral_0^v (v - t)^n (1 + t)^(a-n-1) dt, and a - n - 1 is in (-1, 0).

    - v >= 0: (1 + t)^(a-n-1) is at most t^(a-n-1), and at most 1, so R <= v^a and
      R <= C(a,n+1) v^(n+1). So for every theta in [0, 1] with b = theta a + (1 - theta)(n + 1),
      R <= C(a,n+1)^(1-theta) v^b, and E[v^b; v >= 0] <= q^b exp((b^2 - b) / (2 z^2)).
    - v < 0: R <= 0 for even n. For odd n, 1 + t >= 1 - q and |v| <= q give
      R <= C(a,n+1) (1 - q)^(a-n-1) q^(n-1) v^2.

    E[v^k] is a finite alternating sum of exponentials.
    """
    n = int(order)
    growth = [(j * (j - 1) * scale).exp() for j in range(n + 1)]

    def moment(k: int) -> Decimal:
        signed = (math.comb(k, j) * (-1) ** (k - j) * growth[j] for j in range(k + 1))
        return rate**k * sum(signed, Decimal(0))

    binomial, total = Decimal(1), Decimal(0)
    for k in range(n + 1):
        total += binomial * moment(k)
        binomial *= (order - k) / (k + 1)
    log_rate = rate.ln()
    exponents = ((theta, theta * order + (1 - theta) * (n + 1)) for theta in _THETAS)
    total += min(
        ((1 - theta) * binomial.ln() + b * log_rate + b * (b - 1) * scale).exp()
        for theta, b in exponents
    )
    if n % 2:
        total += binomial * (1 - rate) ** (order - n - 1) * rate ** (n - 1) * moment(2)
    return total


@lru_cache(maxsize=4096)
def conversion_constant(order: Decimal, delta: Decimal) -> Decimal:
    """What turns Renyi DP at `order` into epsilon at `delta`, rounded up.

        epsilon = rdp + ln(1 - 1/a) - ln(a delta) / (a - 1)

    Source: Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy", 2020,
    Proposition 12.

    Args:
      order: a > 1.
      delta: In (0, 1).
    """
    if not (order > 1 and 0 < delta < 1):
        raise ValueError(f"order {order} must be above 1 and delta {delta} in (0, 1)")
    with precise():
        value = (1 - 1 / order).ln() - (order * delta).ln() / (order - 1)
        return (value + abs(value) * GUARD).quantize(QUANTUM, rounding=ROUND_CEILING)
