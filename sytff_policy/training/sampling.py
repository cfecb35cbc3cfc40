"""Poisson sampling of privacy units from the operating system's cryptographic source."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

_BITS = 64


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

    Every unit has a draw of its own from `os.urandom`; nothing that leaves the node is derived
    from it, and it is not recorded. Units that are not eligible (held out for evaluation) are
    never drawn, which leaves the others' probability, and so the accounting, as it is.

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
    draws = np.frombuffer(os.urandom(8 * len(eligible)), dtype=np.uint64)
    return eligible[draws < np.uint64(threshold)]
