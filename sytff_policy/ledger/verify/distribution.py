"""A request's certificate in a `sum` ledger, recomputed: method `pld-1`, with doubles.

The accountant works with integers and integrates each cell of the grid. Here the cells are
differences of Gaussian tails, in doubles, and sums of losses come from floating-point transforms;
only the definition of the grid is shared. The answer is an interval, because doubles err: by less
than `_NOISE` a round in each mass, and 1e-6 in epsilon altogether.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sytff_policy.ledger.verify.state import Part

Floats = npt.NDArray[np.float64]

_CELLS, _ZERO = 4096, 1024
_NOISE = 4e-15


def certified_interval(
    live: tuple[Part, ...], delta: float, renyi: float
) -> tuple[float, float] | None:
    """(least, greatest) epsilon that method `pld-1` can state; None if it states the Renyi bound.

    Args:
      live: All that runs, composed; each at least once.
      delta: The request's share.
      renyi: Its Renyi bound, from which the grid follows.
    """
    in_range = all(float(part.noise) >= 0.3 and part.times <= 1_000_000 for part in live)
    if not (in_range and renyi <= 100 and len(live) <= 8):
        return None
    step = 2.0 ** math.ceil(math.log2(1.6 * max(renyi, 1e-4) / (_CELLS - _ZERO)))
    rounds = sum(part.times for part in live)
    noise = _NOISE * rounds
    # The method widens every mass of a round by this much.
    wider = rounds * (2.0**-34 + 2.0**-46 / step) * 1.01
    ends = []
    for share in (delta + noise, delta * (1 - wider) - noise):
        both = [_epsilon(_sum_of_losses(live, step, way), share, step) for way in (1, -1)]
        ends.append(min(max(both), renyi))
    slack = 1e-6 * max(1.0, renyi)
    return ends[0] - slack, ends[1] + slack


@lru_cache(maxsize=256)
def _sum_of_losses(live: tuple[Part, ...], step: float, way: int) -> tuple[Floats, float]:
    total: tuple[Floats, float] | None = None
    for part in live:
        once = _one_round(part, step, way)
        many = once
        for bit in bin(part.times)[3:]:
            many = _add(many, many)
            many = _add(many, once) if bit == "1" else many
        total = many if total is None else _add(total, many)
    if total is None:
        raise ValueError("nothing runs")
    return total


def _one_round(part: Part, step: float, way: int) -> tuple[Floats, float]:
    """Masses on the grid, and that of an infinite loss; `way` 1 removes a unit and -1 adds one."""
    q = part.clients / part.population if part.clients else 1.0
    z = min(float(part.noise), 1000.0)
    # One point more than is kept: what falls to it is beyond the grid.
    grid = np.arange(-_ZERO, _CELLS - _ZERO + 1) * step
    losses = grid if way == 1 else -grid[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = z * z * np.log(np.maximum(np.expm1(losses) / q + 1.0, 0.0)) + 0.5
    ends = np.concatenate([[-np.inf], ends, [np.inf]])
    under_q = _between(ends / z)
    under_p = (1.0 - q) * under_q + q * _between((ends - 1.0) / z)
    p, q_mass = under_p[1:-1], under_q[1:-1]
    upper = np.clip((p - np.exp(losses[:-1]) * q_mass) / -math.expm1(-step), 0.0, p)
    masses = np.zeros(_CELLS + 1)
    if way == 1:
        masses[:-1] += p - upper
        masses[1:] += upper
        below, beyond = under_p[0], under_p[-1]
    else:
        masses[1:] += ((p - upper) * np.exp(-losses[:-1]))[::-1]
        masses[:-1] += (upper * np.exp(-losses[1:]))[::-1]
        below, beyond = under_q[-1], under_q[0]
    masses[0] += below
    return masses[:-1], float(masses[-1] + beyond)


def _between(ends: Floats) -> Floats:
    """Mass of a standard normal between neighbouring ends, from the nearer tail."""
    erfc: Callable[[float], float] = math.erfc
    above = np.array([0.5 * erfc(x / math.sqrt(2.0)) for x in ends.tolist()])
    below = np.array([0.5 * erfc(-x / math.sqrt(2.0)) for x in ends.tolist()])
    masses = np.where(ends[:-1] >= 0, above[:-1] - above[1:], below[1:] - below[:-1])
    return np.maximum(masses, 0.0)


def _add(one: tuple[Floats, float], other: tuple[Floats, float]) -> tuple[Floats, float]:
    size = 2 * _CELLS
    product = np.fft.irfft(np.fft.rfft(one[0], size) * np.fft.rfft(other[0], size), size)
    kept = product[_ZERO : _ZERO + _CELLS].copy()
    kept[0] += product[:_ZERO].sum()
    infinite = float(product[_ZERO + _CELLS :].sum())
    return kept, infinite + one[1] + other[1] - one[1] * other[1]


def _epsilon(total: tuple[Floats, float], delta: float, step: float) -> float:
    masses, infinite = total
    if not infinite <= delta:
        return math.inf
    above = decayed = 0.0
    for index in range(_CELLS - 1, _ZERO - 1, -1):
        if infinite + above - decayed > delta:
            return (index - _ZERO) * step + math.log((infinite + above - delta) / decayed)
        above += float(masses[index])
        decayed = (float(masses[index]) + decayed) * math.exp(-step)
    return 0.0
