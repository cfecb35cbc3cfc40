"""The Merkle tree of RFC 9162 over the log's leaf hashes.

`MTH`, `PATH` and `PROOF` below are the functions of sections 2.1.1, 2.1.3 and 2.1.4. Nothing of
the tree is stored in the database, where whoever edits entries could edit it too: a process reads
the leaf hashes once when it opens the log, and afterwards only what was appended. It keeps the
roots of complete subtrees of 256 leaves and more, about 0.25 MB for 10^6 leaves; the few leaf
hashes below them that a proof needs are read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256().digest()
"""Root of a tree without leaves."""

BLOCK_LEVEL = 8
BLOCK = 1 << BLOCK_LEVEL

ReadLeaves = Callable[[int, int], Sequence[bytes]]


class TreeError(ValueError):
    """A question about leaves or sizes that the tree does not have."""


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256 of a zero byte and the leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of a one byte and the two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Root of a tree with these leaf hashes."""
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        # A last node without a sibling moves up as it is, which is RFC 9162's split at the
        # largest power of two.
        level = paired if len(level) % 2 == 0 else [*paired, level[-1]]
    return level[0]


class Tree:
    """A growing tree that answers for every size it has had.

    Args:
      read_leaves: Called with (start, stop); returns those leaf hashes, all appended before.
    """

    def __init__(self, read_leaves: ReadLeaves) -> None:
        self._read = read_leaves
        self._levels: list[bytearray] = []
        self._tail: list[bytes] = []
        self._blocks = 0

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._blocks * BLOCK + len(self._tail)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Appends leaf hashes."""
        for leaf in leaves:
            if len(leaf) != HASH_SIZE:
                raise TreeError(f"a leaf hash has {HASH_SIZE} bytes, not {len(leaf)}")
            self._tail.append(leaf)
            if len(self._tail) == BLOCK:
                self._push(root_of(self._tail))
                self._tail = []

    def root(self, size: int | None = None) -> bytes:
        """MTH of the first `size` leaves; of all of them if not given."""
        wanted = self.size if size is None else size
        self._require(0 <= wanted <= self.size, f"size {wanted}")
        return self._subtree(0, wanted) if wanted else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """PATH: that leaf `index` is in the tree of `size` leaves."""
        whole = self.size if size is None else size
        self._require(0 <= index < whole <= self.size, f"leaf {index} in size {whole}")
        path: list[bytes] = []
        low, high = 0, whole
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._subtree(middle, high))
                high = middle
            else:
                path.append(self._subtree(low, middle))
                low = middle
        return path[::-1]

    def consistency(self, old: int, size: int | None = None) -> list[bytes]:
        """PROOF: that the tree of `size` leaves begins with the one of `old` leaves."""
        whole = self.size if size is None else size
        self._require(0 < old <= whole <= self.size, f"size {old} in size {whole}")
        proof: list[bytes] = []
        low, high, complete = 0, whole, True
        while old != high:
            middle = low + _split(high - low)
            if old <= middle:
                proof.append(self._subtree(middle, high))
                high = middle
            else:
                proof.append(self._subtree(low, middle))
                low, complete = middle, False
        if not complete:
            proof.append(self._subtree(low, high))
        return proof[::-1]

    def _push(self, block: bytes) -> None:
        self._blocks += 1
        carried, level, count = block, 0, self._blocks
        while True:
            if level == len(self._levels):
                self._levels.append(bytearray())
            nodes = self._levels[level]
            nodes += carried
            if count % 2:
                return
            carried = node_hash(
                bytes(nodes[-2 * HASH_SIZE : -HASH_SIZE]), bytes(nodes[-HASH_SIZE:])
            )
            level, count = level + 1, count // 2

    def _subtree(self, low: int, high: int) -> bytes:
        """MTH of leaves low..high, where `low` is a multiple of the power of two at or above."""
        count = high - low
        if count >= BLOCK and count & (count - 1) == 0:
            level = count.bit_length() - 1 - BLOCK_LEVEL
            at = (low // count) * HASH_SIZE
            return bytes(self._levels[level][at : at + HASH_SIZE])
        if count <= BLOCK:
            return root_of(self._leaves(low, high))
        middle = low + _split(count)
        return node_hash(self._subtree(low, middle), self._subtree(middle, high))

    def _leaves(self, low: int, high: int) -> Sequence[bytes]:
        start = self._blocks * BLOCK
        if low >= start:
            return self._tail[low - start : high - start]
        leaves = self._read(low, high)
        self._require(len(leaves) == high - low, f"leaves {low} to {high}, which can be read")
        return leaves

    @staticmethod
    def _require(holds: bool, what: str) -> None:
        if not holds:
            raise TreeError(f"the tree has no {what}")


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    node, last, value = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            value = node_hash(step, value)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, step)
        node, last = node >> 1, last >> 1
    return last == 0 and value == root


def verify_consistency(
    old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """RFC 9162, section 2.1.4.2. Every tree begins with the empty one."""
    if old == size:
        return not proof and old_root == root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old < size or not proof:
        return False
    steps = list(proof)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, step)
        node, last = node >> 1, last >> 1
    return last == 0 and first == old_root and second == root
