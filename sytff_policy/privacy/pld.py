"""Privacy loss distributions in integer arithmetic: the same digits on every platform.

`pld_bound` bounds epsilon of one request whose parameters are frozen, tighter than Renyi DP does
and in bounded time. It is not dp-accounting's PLD: that one takes from a second to minutes, and
its last digits depend on the versions of NumPy and SciPy. Here

- one round's distribution is put on a grid of losses by splitting the mass between two grid points
  so that both probabilities of the pair are kept: the least pessimistic choice on a grid
  (Doroshenko et al., "Connect the Dots: Tighter Discrete Approximations of Privacy Loss
  Distributions", PoPETs 2022). Only +, -, *, / and exact scalings of IEEE 754 doubles are used,
  which are correctly rounded everywhere, and the result is widened by more than their error;
- masses are then integers, multiples of 2**-75, rounded up; they are convolved exactly
  (`sytff_policy.privacy.convolution`), rounded up again, and mass that leaves the grid is moved to
  the next higher grid point or to an infinite loss.

Every step errs towards more loss, so the bound holds whatever the grid; the grid decides only how
tight it is. Both neighbours are bounded, a unit added and a unit removed, because neither
direction is known to dominate under composition (Lebeda et al., "Avoiding Pitfalls for Privacy
Accounting of Subsampled Mechanisms under Composition", 2024). That composing the pairs of single
rounds bounds rounds which depend on earlier ones: Zhu, Dong and Wang, "Optimal Accounting of
Differential Privacy via Characteristic Function", AISTATS 2022, Theorem 10.

This is no filter: across requests, whose parameters are chosen adaptively, PLDs must not be
composed. It certifies one request's own (epsilon_i, delta_i).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import numpy.typing as npt

from sytff_policy.privacy.convolution import CELLS, ONE, ZERO_CELL, Masses, masses_from
from sytff_policy.privacy.events import PoissonSampled, Repeated
from sytff_policy.privacy.exact import GUARD, precise

Floats = npt.NDArray[np.float64]

LEAST_NOISE = Decimal("0.3")
MOST_COUNT = 1_000_000
MOST_PARTS = 8
MOST_EPSILON = Decimal(100)
"""Beyond these there is no PLD bound: the work must stay bounded and the doubles exact."""

_MOST_NOISE = Decimal(1000)
_LEAST_EPSILON = Decimal("0.0001")
# Beyond these, noise counts as this much and the grid is as for this epsilon: still upper bounds.

_REACH = 10.0
# Chance of a standard normal beyond _REACH on either side is below 2e-23 < 2**-75.
_BEYOND = 1
_STEP = 0.125
# The cells' ends are found to within 5e-15 in the loss, so the points they stand for are off by far
# less than _LOSS_ERROR, and the shares of a cell's mass by 5e-15 / step of it. Exponentials,
# quadrature and sums err by less than 1e-12 of each mass. _wider covers both several times over;
# masses are tested against mpmath.
_LOSS_ERROR = Decimal(2) ** -40
_FINE = 1 << 64


def _wider(step: float) -> float:
    return 1.0 + 2.0**-34 + 2.0**-46 / step


def pld_bound(live: Sequence[Repeated], delta: Decimal, ceiling: Decimal) -> Decimal | None:
    """An upper bound on epsilon of `live` at `delta`, for add-or-remove-one neighbours.

    Args:
      live: The request's mechanisms, each at least once; all composed.
      delta: In (0, 1).
      ceiling: A bound that is known already. It sets the grid: coarser for a dearer request, and
        coarser grids hold all points of finer ones, so the bound keeps the order of requests.

    Returns:
      The bound, or None where this method gives none: noise, counts or epsilon outside the ranges
      above, or a bound above `ceiling`.
    """
    if not (ceiling <= MOST_EPSILON and 0 < len(live) <= MOST_PARTS):
        return None
    if not all(_gaussian(part) >= LEAST_NOISE and part.count <= MOST_COUNT for part in live):
        return None
    step = _grid_step(max(ceiling, _LEAST_EPSILON))
    found: list[Decimal] = []
    for removed in (True, False):
        bound = _direction_bound(live, delta, step, removed=removed)
        if bound is None:
            return None
        found.append(bound)
    with precise():
        best = max(found) + _LOSS_ERROR * sum(part.count for part in live)
    return best if best < ceiling else None


def _gaussian(part: Repeated) -> Decimal:
    event = part.event
    return (event.event if isinstance(event, PoissonSampled) else event).noise_multiplier


def _grid_step(ceiling: Decimal) -> float:
    """The least power of two with which the grid's positive part reaches 1.6 `ceiling`."""
    mantissa, exponent = math.frexp(1.6 * float(ceiling) / (CELLS - ZERO_CELL))
    return math.ldexp(1.0, exponent if mantissa > 0.5 else exponent - 1)


def _direction_bound(
    live: Sequence[Repeated], delta: Decimal, step: float, *, removed: bool
) -> Decimal | None:
    total: Masses | None = None
    for part in live:
        if isinstance(part.event, PoissonSampled):
            clients, population = part.event.clients, part.event.population
        else:
            clients, population = 1, 1
        noise = min(_gaussian(part), _MOST_NOISE)
        once = round_masses(clients, population, noise, step, removed=removed)
        many = once.power(part.count)
        total = many if total is None else total.times(many)
    return None if total is None else _epsilon(total, delta, step)


def _epsilon(total: Masses, delta: Decimal, step: float) -> Decimal | None:
    """The least epsilon >= 0 whose hockey-stick sum is at most `delta`, rounded up."""
    with precise():
        allowed = int((delta * ONE).to_integral_value(rounding=ROUND_FLOOR))
        shrink = int(
            ((-Decimal(step)).exp() * (1 - GUARD)).scaleb(40).to_integral_value(ROUND_FLOOR)
        )
    if total.infinite > allowed:
        return None
    masses = total.integers()
    # At a grid point: `above` is the mass of greater losses; `decayed` weighs each by
    # exp(point - loss), in units of _FINE, and is rounded down because it is subtracted.
    above = decayed = 0
    index = CELLS - 1
    while total.infinite + above - decayed // _FINE <= allowed:
        if index == ZERO_CELL:
            return Decimal(0)
        above += masses[index]
        decayed = (masses[index] * _FINE + decayed) * shrink // 10**40
        index -= 1
    with precise():
        # Between this point and the one above it, the sum is linear in e**epsilon.
        ratio = Decimal((total.infinite + above - allowed) * _FINE) / Decimal(decayed)
        point = Decimal(index - ZERO_CELL) * Decimal(step)
        return (point + ratio.ln()).quantize(Decimal("1e-20"), rounding=ROUND_CEILING)


def round_masses(
    clients: int, population: int, noise: Decimal, step: float, *, removed: bool
) -> Masses:
    """One Poisson-sampled Gaussian's losses on the grid of multiples of `step`, rounded up.

    With the sampling rate q and noise multiplier z the pair of outputs is
    P = (1 - q) N(0, z^2) + q N(1, z^2) and Q = N(0, z^2). The loss ln(P/Q) at x is
    ln(1 - q + q exp((2x - 1) / (2 z^2))), which increases in x.

    Args:
      clients: Numerator of q, which is rounded up to a double.
      population: Its denominator.
      noise: z, rounded down to a double. Both roundings can only raise the losses.
      step: Distance of grid points, a power of two.
      removed: Whether the losses are ln(P/Q) under P (a unit removed) or ln(Q/P) under Q (added).
    """
    q, z = _rate(clients, population), _noise(noise)
    pieces = _pieces(q, z, step)
    upper, lower = _split(pieces, q, z, step, removed=removed)
    low = pieces.cell if removed else -pieces.cell - 1
    values, infinite, wider = np.zeros(CELLS), _BEYOND, _wider(step)
    for index, mass in ((low, lower), (low + 1, upper)):
        place = np.clip(index + ZERO_CELL, 0, CELLS)
        sums = np.bincount(place, weights=mass, minlength=CELLS + 1)
        values += sums[:CELLS]
        infinite += math.ceil(float(sums[CELLS]) * wider * ONE)
    return masses_from(values * wider, infinite)


@dataclass(frozen=True)
class _Pieces:
    """Intervals of x, each inside one cell of the grid of losses.

    Attributes:
      cell: The loss lies in [cell * step, (cell + 1) * step], or beyond the grid.
      start, width: The interval.
      first, last: Where the loss is at the cell's ends; infinite where it never is.
    """

    cell: npt.NDArray[np.int64]
    start: Floats
    width: Floats
    first: Floats
    last: Floats


def _pieces(q: float, z: float, step: float) -> _Pieces:
    low, high = -_REACH * z, 1.0 + _REACH * z
    # A little beyond the grid on either side and in either direction: losses there go to its ends.
    cells = np.arange(-CELLS, CELLS + 1)
    ends = z * z * _log(np.maximum(_expm1(cells * step) / q + 1.0, 0.0)) + 0.5
    inside = ends[(ends > low) & (ends < high)]
    lattice = np.arange(math.ceil((high - low) / (_STEP * z))) * (_STEP * z) + low
    points = np.sort(np.concatenate([inside, lattice, [high]]))
    points = points[points <= high]
    start, width = points[:-1], np.diff(points)
    position = np.searchsorted(ends, start + 0.5 * width, side="right")
    ends = np.concatenate([[-np.inf], ends, [np.inf]])
    return _Pieces(position - 1 - CELLS, start, width, ends[position], ends[position + 1])


def _split(
    pieces: _Pieces, q: float, z: float, step: float, *, removed: bool
) -> tuple[Floats, Floats]:
    """(upper, lower): every piece's mass on the greater and the lesser loss of its cell's ends.

    In a cell [L, U] of ln(P/Q), P's mass is split into the integrals of
    (P - e^L Q) / (1 - e^(L - U)), at U, and of (e^U Q - P) / (e^(U - L) - 1), at L. The integrands
    are written so that nothing cancels. Q's mass is the same two, times e^(-loss).
    """
    square = z * z
    first, last = _finite(pieces.first), _finite(pieces.last)
    whole, at_u, at_l = (np.zeros_like(pieces.start) for _ in range(3))
    low_ratio = _exp(np.clip(pieces.cell, -CELLS, CELLS) * step)
    for node, weight in _NODES:
        offset = pieces.width * node
        x = pieces.start + offset
        exponent = -x * x / (2.0 * square)
        scale = weight * pieces.width / (z * _ROOT_TWO_PI)
        density = scale * _exp(exponent)
        ratio = (1.0 - q) + q * _exp((2.0 * x - 1.0) / (2.0 * square))
        whole += density * ratio if removed else density
        rise = q * scale * _exp(exponent + (2.0 * first - 1.0) / (2.0 * square))
        from_first = rise * _expm1(((pieces.start - first) + offset) / square)
        bottom = density * np.maximum(ratio - low_ratio, 0.0)
        at_u += np.where(np.isfinite(pieces.first), from_first, bottom)
        fall = q * scale * _exp(exponent + (2.0 * last - 1.0) / (2.0 * square))
        at_l -= fall * _expm1(-((last - pieces.start) - offset) / square)
    beyond = (pieces.cell < -CELLS) | (pieces.cell >= CELLS)
    growth = float(_expm1(np.array([step]))[0])
    # 1 - e^(-step) = growth / (1 + growth).
    at_u, at_l = np.maximum(at_u, 0.0) * (1.0 + growth) / growth, np.maximum(at_l, 0.0) / growth
    if removed:
        return np.where(beyond, whole, at_u), np.where(beyond, 0.0, at_l)
    added_upper, added_lower = at_l / low_ratio, at_u / (low_ratio * (1.0 + growth))
    return np.where(beyond, whole, added_upper), np.where(beyond, 0.0, added_lower)


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, 0.0)


def _rate(clients: int, population: int) -> float:
    rate = clients / population
    return min(1.0, float(np.nextafter(rate, 2.0)))


def _noise(noise: Decimal) -> float:
    return float(np.nextafter(float(noise), 0.0))


# NumPy's exp, expm1 and log differ in their last digits between versions and processors. These use
# correctly rounded operations alone, and are right to a few units in the last place.

_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_ROOT_TWO_PI = 2.5066282746310002
_NODES = tuple(
    (0.5 + 0.5 * sign * node, 0.5 * weight)
    for node, weight in (
        (0.1834346424956498, 0.3626837833783620),
        (0.5255324099163290, 0.3137066458778873),
        (0.7966664774136267, 0.2223810344533745),
        (0.9602898564975363, 0.1012285362903763),
    )
    for sign in (-1.0, 1.0)
)
"""Nodes and weights of Gauss and Legendre's eight-point rule on [0, 1]."""


def _taylor_expm1(x: Floats) -> Floats:
    total = np.zeros_like(x)
    for n in range(20, 1, -1):
        total = (total + 1.0) * x / float(n)
    return (total + 1.0) * x


def _exp(x: Floats) -> Floats:
    x = np.clip(x, -700.0, 700.0)
    power = np.rint(x / (_LN2_HIGH + _LN2_LOW))
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    return np.ldexp(1.0 + _taylor_expm1(rest), power.astype(np.int64))


def _expm1(x: Floats) -> Floats:
    return np.where(np.abs(x) < 0.5, _taylor_expm1(np.clip(x, -0.5, 0.5)), _exp(x) - 1.0)


def _log(x: Floats) -> Floats:
    mantissa, exponent = np.frexp(np.where(x > 0, x, 1.0))
    small = mantissa < 0.7071067811865476
    mantissa, exponent = np.where(small, 2 * mantissa, mantissa), exponent - small
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square = ratio * ratio
    series = np.zeros_like(ratio)
    for n in range(25, 0, -2):
        series = series * square + 1.0 / float(n)
    value = exponent * _LN2_HIGH + (2.0 * ratio * series + exponent * _LN2_LOW)
    return np.where(x > 0, value, -np.inf)
