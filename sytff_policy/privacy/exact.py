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


@lru_cache(maxsize=4096)
def sampled_gaussian_rdp(
    clients: int, population: int, noise_multiplier: Decimal, order: int
) -> Decimal:
    """Renyi DP of one round of the Poisson-sampled Gaussian mechanism, at an integer order.

    With q = clients / population and z = noise_multiplier, add/remove neighbours:

        1/(a-1) * ln( sum_{k=0..a} C(a,k) (1-q)^(a-k) q^k exp((k^2 - k) / (2 z^2)) )

    Source: Mironov, Talwar and Zhang, "Renyi Differential Privacy of the Sampled Gaussian
    Mechanism", 2019, section 3.3. For q = 1 this is a / (2 z^2). Below z = 0.01, where the
    exponentials leave every useful range, the unsampled value is charged instead: sampling never
    increases a Renyi divergence, so it is an upper bound.

    Args:
      clients: Expected cohort size, 1..population.
      population: Number of privacy units.
      noise_multiplier: z > 0.
      order: a, an integer >= 2.

    Returns:
      The unrounded value to 60 digits; callers round up.

    Raises:
      UnboundedLoss: If z is 0.
    """
    if not (isinstance(order, int) and order >= 2):
        raise ValueError(f"order {order!r} is not an integer of at least 2")
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
        total = Decimal(0)
        for k in range(order + 1):
            weight = math.comb(order, k) * (1 - rate) ** (order - k) * rate**k
            total += weight * (k * (k - 1) * scale).exp()
        return max(total.ln(), Decimal(0)) / (order - 1)


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
