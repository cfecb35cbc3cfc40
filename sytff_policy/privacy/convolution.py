"""Exact convolution of distributions of privacy loss, rounded up.

A distribution is a row of integers, multiples of 2**-75 on an even grid of losses, and the mass of
an infinite loss. Products of polynomials are found with floating-point Fourier transforms of
15-bit limbs whose rounded results are the exact integers, by the bound quoted at `_exact_product`;
each result is checked against its rounding as well. So NumPy's version, its vector instructions and
the machine change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

CELLS = 4096
"""Points of the grid."""

ZERO_CELL = CELLS // 4
"""Which of them is loss 0."""

LIMB_BITS, LIMBS = 15, 5
ONE = 1 << (LIMB_BITS * LIMBS)
"""Mass 1."""

_BASE = 1 << LIMB_BITS
_SIZE = 2 * CELLS

Limbs = npt.NDArray[np.int64]


class InexactProduct(ArithmeticError):
    """A Fourier transform was less exact than any correct one: the result is not used."""


@dataclass(frozen=True)
class Masses:
    """An upper bound on a distribution of losses.

    Attributes:
      limbs: Mass of every grid point in base 2**15, least significant first: (LIMBS, CELLS).
      infinite: Mass of an infinite loss.
    """

    limbs: Limbs
    infinite: int

    def integers(self) -> list[int]:
        """Mass of every grid point."""
        high = (self.limbs[3] + (self.limbs[4] << LIMB_BITS)).tolist()
        low = (
            self.limbs[0] + (self.limbs[1] << LIMB_BITS) + (self.limbs[2] << 2 * LIMB_BITS)
        ).tolist()
        return [(a << 3 * LIMB_BITS) + b for a, b in zip(high, low, strict=True)]

    @property
    def finite(self) -> int:
        """Mass of all finite losses together."""
        return _sum_of(self.limbs)

    def times(self, other: Masses) -> Masses:
        """The distribution of the sum of two independent losses, rounded up."""
        low, grid = np.split(_exact_product(self.limbs, other.limbs), [ZERO_CELL], axis=1)
        kept = grid[:, :CELLS].copy()
        # Losses below the grid count as its lowest, those above it as infinite.
        kept[:, 0] += low.sum(axis=1)
        infinite = _sum_of(grid[:, CELLS:])
        mine, others = self.finite + self.infinite, other.finite
        infinite += _shift_up(self.infinite * (others + other.infinite) + other.infinite * mine)
        return Masses(_carried(kept), infinite)

    def power(self, count: int) -> Masses:
        """The distribution of the sum of `count` (>= 1) such losses, rounded up."""
        result = self
        for bit in bin(count)[3:]:
            result = result.times(result)
            if bit == "1":
                result = result.times(self)
        return result


def masses_from(values: npt.NDArray[np.float64], infinite: int) -> Masses:
    """Masses of the grid points from doubles, rounded up to multiples of 2**-75."""
    rest = np.ldexp(values, LIMB_BITS)
    limbs = np.empty((LIMBS, CELLS), dtype=np.int64)
    for index in range(LIMBS - 1, -1, -1):
        # Exact: floors, differences and scalings by powers of two of doubles that keep their bits.
        whole = np.floor(rest) if index else np.ceil(rest)
        limbs[index] = whole.astype(np.int64)
        rest = np.ldexp(rest - whole, LIMB_BITS)
    return Masses(_carried(limbs), infinite)


def _exact_product(one: Limbs, other: Limbs) -> Limbs:
    """Product of two polynomials, in units of 2**-75, rounded up: (LIMBS, 2 CELLS - 1).

    The error of a convolution by transforms of size 2**n is below
    |x| |y| ((1 + e)**(3n) (1 + e sqrt 5)**(3n + 1) (1 + b)**(3n) - 1) with e = 2**-53 and twiddle
    factors off by b (Percival, "Rapid multiplication modulo the sum and difference of highly
    composite numbers", 2003, Theorem 5.1). With n = 13 and b = 2**-52 the factor is below 2.3e-14.
    The bound is evaluated for these very limbs (a third of 0.5 for random ones), and so is the
    distance of the results to integers.
    """
    if not _error_bound(one, other) < 0.45:
        raise InexactProduct("a Fourier transform could be off by a half")
    left = np.fft.rfft(one.astype(np.float64), _SIZE, axis=1)
    right = left if other is one else np.fft.rfft(other.astype(np.float64), _SIZE, axis=1)
    columns = []
    for column in range(2 * LIMBS - 1):
        pairs = range(max(0, column - LIMBS + 1), min(LIMBS, column + 1))
        columns.append(sum(left[index] * right[column - index] for index in pairs))
    raw = np.fft.irfft(np.stack(columns), _SIZE, axis=1)[:, : _SIZE - 1]
    whole = np.rint(raw)
    if not float(np.max(np.abs(raw - whole))) < 0.25:
        raise InexactProduct("a Fourier transform is off by a quarter or more")
    return _upper_half(whole.astype(np.int64))


def _error_bound(one: Limbs, other: Limbs) -> float:
    norms = [np.sqrt((limbs.astype(np.float64) ** 2).sum(axis=1)) for limbs in (one, other)]
    return 2.3e-14 * float(np.convolve(norms[0], norms[1]).max())


def _upper_half(columns: Limbs) -> Limbs:
    """The columns above 2**75 after carrying, plus 1 wherever anything lies below."""
    carry = np.zeros(columns.shape[1], dtype=np.int64)
    below = np.zeros(columns.shape[1], dtype=bool)
    result = np.zeros((LIMBS, columns.shape[1]), dtype=np.int64)
    for index in range(2 * LIMBS):
        value = carry + columns[index] if index < len(columns) else carry
        if index < LIMBS:
            below |= (value & (_BASE - 1)) != 0
            carry = value >> LIMB_BITS
        elif index < 2 * LIMBS - 1:
            result[index - LIMBS] = value & (_BASE - 1)
            carry = value >> LIMB_BITS
        else:
            result[index - LIMBS] = value
    result[0] += below
    return result


def _carried(limbs: Limbs) -> Limbs:
    result = limbs.copy()
    for index in range(LIMBS - 1):
        result[index + 1] += result[index] >> LIMB_BITS
        result[index] &= _BASE - 1
    return result


def _sum_of(limbs: Limbs) -> int:
    sums = [int(value) for value in limbs.sum(axis=1)]
    combine: Callable[[int, int], int] = lambda total, value: (total << LIMB_BITS) + value  # noqa: E731
    return reduce(combine, reversed(sums), 0)


def _shift_up(value: int) -> int:
    return -(-value >> (LIMB_BITS * LIMBS))
