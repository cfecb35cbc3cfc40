"""The Merkle tree against a literal reading of RFC 9162, and against altered proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy.ledger.tree import (
    BLOCK,
    EMPTY_ROOT,
    Tree,
    TreeError,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(str(number).encode()) for number in range(3 * BLOCK + 77)]

# Roots of the trees over the first leaves of the reference log that certificate-transparency's own
# tests use, from the specification's inputs "", 00, 10, 2021, ...
CT_INPUTS = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
]
CT_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def grown(size: int) -> Tree:
    tree = Tree(lambda start, stop: LEAVES[start:stop])
    tree.extend(LEAVES[:size])
    return tree


def mth(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


@pytest.mark.parametrize("size", CT_ROOTS)
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    tree = Tree(lambda start, stop: [])
    tree.extend(leaf_hash(data) for data in CT_INPUTS[:size])
    assert tree.root().hex() == CT_ROOTS[size]


@given(st.integers(0, len(LEAVES)))
def test_the_root_is_the_specifications(size: int) -> None:
    assert root_of(LEAVES[:size]) == mth(LEAVES[:size]) == grown(len(LEAVES)).root(size)


@given(st.data())
def test_a_leaf_is_proved_in_every_size_and_nowhere_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    tree = grown(len(LEAVES))
    proof, root = tree.inclusion(index, size), tree.root(size)
    assert len(proof) <= (size - 1).bit_length()
    assert verify_inclusion(LEAVES[index], index, size, proof, root)
    other = data.draw(st.integers(0, len(LEAVES) - 1).filter(lambda value: value != index))
    assert not verify_inclusion(LEAVES[other], index, size, proof, root)
    assert not verify_inclusion(LEAVES[index], other, size, proof, root)
    assert not verify_inclusion(LEAVES[index], index, size, [*proof, root], root)
    assert not verify_inclusion(LEAVES[index], index, size, proof, LEAVES[other])
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        altered = [*proof[:place], proof[place][::-1], *proof[place + 1 :]]
        assert not verify_inclusion(LEAVES[index], index, size, altered, root)
        assert not verify_inclusion(LEAVES[index], index, size, proof[:-1], root)


@given(st.data())
def test_growth_is_proved_and_a_fork_is_not(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    old = data.draw(st.integers(1, size))
    tree = grown(len(LEAVES))
    proof, before, after = tree.consistency(old, size), tree.root(old), tree.root(size)
    assert verify_consistency(old, size, before, after, proof)
    assert not verify_consistency(old, size, LEAVES[0][::-1], after, proof)
    assert not verify_consistency(old, size, before, LEAVES[0][::-1], proof)
    assert not verify_consistency(old, size, before, after, [*proof, after])
    for place in range(len(proof)):
        altered = [*proof[:place], proof[place][::-1], *proof[place + 1 :]]
        assert not verify_consistency(old, size, before, after, altered)
        assert not verify_consistency(old, size, before, after, proof[:place])


def test_the_empty_tree_is_the_beginning_of_every_tree() -> None:
    assert verify_consistency(0, 5, EMPTY_ROOT, grown(5).root(), [])
    assert not verify_consistency(0, 5, LEAVES[0], grown(5).root(), [])
    assert grown(0).root() == EMPTY_ROOT


def test_growing_step_by_step_is_growing_at_once() -> None:
    slow = grown(0)
    for leaf in LEAVES:
        slow.extend([leaf])
    assert slow.root() == grown(len(LEAVES)).root()
    assert slow.size == len(LEAVES)


@pytest.mark.parametrize("ask", [(-1, 5), (5, 5), (0, 6), (0, 0)])
def test_leaves_that_are_not_there_have_no_proof(ask: tuple[int, int]) -> None:
    with pytest.raises(TreeError):
        grown(5).inclusion(*ask)


@pytest.mark.parametrize("ask", [(0, 5), (6, 5), (3, 6), (-1, 5)])
def test_sizes_that_never_were_have_no_proof(ask: tuple[int, int]) -> None:
    with pytest.raises(TreeError):
        grown(5).consistency(*ask)


def test_a_proof_reads_few_leaves() -> None:
    read: list[int] = []

    def counted(start: int, stop: int) -> list[bytes]:
        read.append(stop - start)
        return LEAVES[start:stop]

    tree = Tree(counted)
    tree.extend(LEAVES)
    tree.root()
    assert read == []
    tree.inclusion(300)
    tree.consistency(300)
    assert sum(read) <= 2 * BLOCK


def test_leaves_that_cannot_be_read_again_are_an_error() -> None:
    tree = Tree(lambda start, stop: [])
    tree.extend(LEAVES)
    with pytest.raises(TreeError, match="can be read"):
        tree.inclusion(3)


def test_something_that_is_no_hash_is_refused() -> None:
    with pytest.raises(TreeError, match="32 bytes"):
        grown(1).extend([b"short"])
