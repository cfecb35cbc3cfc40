"""Poisson sampling of privacy units from the operating system's cryptographic source."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

_BITS = 64
_REST = _BITS - 8


def inclusion_threshold(clients_per_round: int, population: int) -> int:
    """floor(q 2^64) for q = clients_per_round / population: a 64-bit draw below it includes a unit.

    Rounded down, so that the chance of inclusion never exceeds the q that was accounted for.
    """
    if not 1 <= clients_per_round <= population:
        raise ValueError(f"sampling rate {clients_per_round}/{population} is not in (0, 1]")
    return (clients_per_round << _BITS) // population


def draw_cohort(
    clients_per_round: int, population: int, eligible: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Draws each eligible unit independently with probability clients_per_round / population.

    Every unit has a 64-bit draw of its own from `os.urandom`; nothing that leaves the node is
    derived from it, and it is not recorded. Of a draw only the first byte is read, unless that
    byte leaves the comparison open, so that a round costs a byte for a unit and not eight. Units
    that are not eligible (held out for evaluation) are never drawn, which leaves the others'
    probability, and so the accounting, as it is.

    Args:
      clients_per_round: Expected cohort size if all units were eligible.
      population: Number of privacy units N.
      eligible: Indices of eligible units, int64 [<= N].

    Returns:
      Indices of the drawn units in the order of `eligible`; often not `clients_per_round` many,
      and possibly none.
    """
    threshold = inclusion_threshold(clients_per_round, population)
    if threshold >> _BITS:
        return eligible.copy()
    first, rest = threshold >> _REST, threshold & ((1 << _REST) - 1)
    bytes_drawn = np.frombuffer(os.urandom(len(eligible)), dtype=np.uint8)
    included = bytes_drawn < first
    open_draws = np.flatnonzero(bytes_drawn == first)
    included[open_draws] = _draws_of_rest(len(open_draws)) < np.uint64(rest)
    return eligible[included]


def _draws_of_rest(count: int) -> npt.NDArray[np.uint64]:
    """The other 56 bits of `count` draws."""
    digits = np.zeros((count, 8), np.uint8)
    digits[:, 1:] = np.frombuffer(os.urandom(7 * count), np.uint8).reshape(count, 7)
    return digits.view(">u8").reshape(count).astype(np.uint64)
