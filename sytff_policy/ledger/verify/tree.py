"""The Merkle tree of RFC 9162, read from left to right in memory that does not grow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


class Frontier:
    """Roots of the complete subtrees that the leaves so far make, largest first."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        """One more leaf, by its hash."""
        self.size += 1
        height, value = 0, leaf
        while self._peaks and self._peaks[-1][0] == height:
            value = _parent(self._peaks.pop()[1], value)
            height += 1
        self._peaks.append((height, value))

    def root(self) -> bytes:
        """Root of the tree over all leaves so far."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        value = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            value = _parent(left, value)
        return value


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to; None if it has another length than its place.

    Walks down from the root to see on which side each step lies, then up along the proof.
    """
    if not 0 <= index < size:
        return None
    sides: list[bool] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        right = index >= middle
        sides.append(right)
        low, high = (middle, high) if right else (low, middle)
    if len(sides) != len(path):
        return None
    value = leaf
    for right, step in zip(reversed(sides), path, strict=True):
        value = _parent(step, value) if right else _parent(value, step)
    return value


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
