"""A log, its keys and a checkpoint, byte for byte: what was signed once must verify for good.

`python -m tests.ledger.test_golden` writes the files anew. Do that only for a new format, beside
the old files: a log that was signed keeps its bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sytff_policy.canonical import canonical_bytes
from sytff_policy.ledger import Ledger
from sytff_policy.ledger.checkpoints import Checkpoints, LogTree, origin_of
from sytff_policy.ledger.keys import FileSigner
from sytff_policy.ledger.notes import Checkpoint, Note, PublicKey
from sytff_policy.ledger.tree import verify_consistency
from sytff_policy.ledger.verify import verify_export
from sytff_policy.ledger.view import closing_line
from sytff_policy.ledger.witness import FileWitness

GOLDEN = Path(__file__).parent / "golden" / "signed"
NODE = "node-golden"


def signer(number: int) -> FileSigner:
    """A key that anyone can make: its seed is the hash of a word."""
    seed = hashlib.sha256(f"golden key {number}".encode()).digest()
    return FileSigner(origin_of(NODE), Ed25519PrivateKey.from_private_bytes(seed))


def made(folder: Path) -> dict[str, bytes]:
    """The files, made by the code as it is now."""
    ledger = Ledger.create(folder / "ledger.db", NODE)
    checkpoints = Checkpoints(ledger.store, signer(1), FileWitness(folder / "checkpoint"))
    checkpoints.open()
    first = checkpoints.latest()[0]
    for _ in range(3):
        checkpoints.record()
    checkpoints.rotate(signer(2))
    for _ in range(5):
        checkpoints.record()
    note = checkpoints.latest()[0]
    lines = [
        canonical_bytes({"hash": entry.hash, "leaf": entry.content}) + b"\n"
        for entry in ledger.entries()
    ]
    keys = "".join(f"{key.text}\n" for key in checkpoints.keys)
    tree = LogTree(ledger.store)
    with ledger.store.read() as connection:
        tree.sync(connection)
    old = Checkpoint.parse(first.text)
    proof = "".join(f"{step.hex()}\n" for step in tree.tree.consistency(old.size))
    ledger.close()
    return {
        "export.jsonl": b"".join(lines) + closing_line(note),
        "keys": keys.encode(),
        "first-checkpoint": first.signed_text.encode(),
        "consistency": proof.encode(),
    }


@contextlib.contextmanager
def stopped_clock() -> Iterator[None]:
    """Time in steps of a second from a fixed moment."""
    moments = (second * 10**9 for second in itertools.count(1_780_000_000))
    with mock.patch.object(time, "time_ns", side_effect=moments):
        yield


def read(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def test_the_code_makes_the_golden_files(tmp_path: Path) -> None:
    with stopped_clock():
        files = made(tmp_path)
    assert files == {path.name: path.read_bytes() for path in GOLDEN.iterdir()}


def test_the_golden_log_verifies_under_either_of_its_keys() -> None:
    keys = read("keys").decode().split()
    assert [PublicKey.parse(text) for text in keys] == [signer(n).public_key for n in (1, 2)]
    for key in keys:
        report = verify_export(
            read("export.jsonl").splitlines(),
            keys=[key],
            checkpoint=read("first-checkpoint").decode(),
        )
        assert report.faults == []
        assert report.keys == keys
        assert report.signed == report.entries == 11


def test_the_golden_checkpoints_are_consistent() -> None:
    last = read("export.jsonl").splitlines()[-1]
    notes = [Note.parse(read("first-checkpoint")), Note.parse(json.loads(last)["checkpoint"])]
    old, new = (Checkpoint.parse(note.text) for note in notes)
    proof = [bytes.fromhex(line) for line in read("consistency").decode().split()]
    assert verify_consistency(old.size, new.size, old.root, new.root, proof)


if __name__ == "__main__":
    import tempfile

    GOLDEN.mkdir(exist_ok=True)
    with stopped_clock(), tempfile.TemporaryDirectory() as folder:
        for name, content in made(Path(folder)).items():
            (GOLDEN / name).write_bytes(content)
