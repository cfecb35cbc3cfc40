"""Checkpoints in the log and beside it, the succession of keys, and what a verifier makes of it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.canonical import canonical_bytes
from sytff_policy.ledger import Ledger
from sytff_policy.ledger.checkpoints import Checkpoints, WitnessedStore, origin_of
from sytff_policy.ledger.keys import FileSigner, KeyUnavailable, Signer, sign_note
from sytff_policy.ledger.log import leaf_hash
from sytff_policy.ledger.notes import Checkpoint, Note
from sytff_policy.ledger.tree import root_of
from sytff_policy.ledger.verify import Report, verify_export
from sytff_policy.ledger.view import closing_line
from sytff_policy.ledger.witness import FileWitness
from sytff_policy.privacy import make_filter
from tests.ledger.helpers import finish, reserve

NODE = "node-test"


class Node:
    """A ledger with a key and a witness file."""

    def __init__(
        self, folder: Path, where: str = "", *, log_every: int = 5, node: str = NODE
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.path = folder / "ledger.db"
        self.where = where or str(self.path)
        if not (folder / "key").exists():
            Ledger.create(self.where, node).close()
            FileSigner.generate(folder / "key", origin_of(node))
        self.plain = Ledger.open(self.where)
        self.witness = FileWitness(folder / "witness" / "checkpoint")
        self.signer: Signer = FileSigner.load(folder / "key")
        self.checkpoints = Checkpoints(
            self.plain.store, self.signer, self.witness, log_every=log_every
        )
        self.ledger = Ledger(WitnessedStore(self.plain.store, self.checkpoints))

    def begin(self) -> Node:
        self.checkpoints.open()
        self.ledger.register(
            name="registry",
            version="hmac-sha256:00",
            population=1000,
            owner="owner",
            description={"features": []},
            privacy_filter=make_filter("rdp", Decimal(80), Decimal("1e-5"), order=4),
            bundle="sha256:" + "0" * 64,
        )
        return self

    def train(self) -> None:
        finish(self.ledger, reserve(self.ledger))

    @property
    def key(self) -> str:
        return self.signer.public_key.text

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.plain.entries()]

    def export(self) -> list[bytes]:
        stream = io.BytesIO()
        self.plain.export(stream)
        note, _ = self.checkpoints.latest()
        return [*stream.getvalue().splitlines(), closing_line(note).rstrip(b"\n")]

    def verify(self, *keys: str, lines: list[bytes] | None = None) -> Report:
        return verify_export(lines or self.export(), keys=keys or [self.key])


@pytest.fixture
def node(tmp_path: Path, where: str) -> Iterator[Node]:
    made = Node(tmp_path / "node", where).begin()
    yield made
    made.plain.close()


def codes(report: Report) -> list[str]:
    return [fault.code for fault in report.faults]


def test_after_every_write_the_witness_has_a_checkpoint_of_the_whole_log(node: Node) -> None:
    for _ in range(3):
        node.train()
        leaves = [bytes.fromhex(e.hash.removeprefix("sha256:")) for e in node.plain.entries()]
        note, checkpoint = node.witness.last() or pytest.fail("nothing is kept")
        assert checkpoint == Checkpoint(origin_of(NODE), len(leaves), root_of(leaves))
        assert note.signed_by([node.signer.public_key])


def test_a_decision_alone_is_witnessed_too(node: Node) -> None:
    reserve(node.ledger)
    kept = node.witness.last()
    assert kept is not None
    assert kept[1].size == len(node.kinds())


def test_the_log_has_its_key_and_checkpoints_as_entries(node: Node) -> None:
    for _ in range(6):
        node.train()
    kinds = node.kinds()
    assert kinds[:2] == ["genesis", "key.activated"]
    assert kinds.count("checkpoint") >= 4
    report = node.verify()
    assert report.faults == []
    assert report.signed == report.entries
    assert report.keys == [node.key]


def test_an_export_without_the_readers_key_verifies_and_names_its_own(node: Node) -> None:
    node.train()
    report = verify_export(node.export())
    assert report.ok
    assert report.keys == [node.key]


def test_many_threads_write_and_every_checkpoint_is_right(node: Node) -> None:
    def write() -> None:
        for _ in range(8):
            node.ledger.grant("registry", Decimal(1), by="owner")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert node.kinds().count("budget.granted") == 32
    assert node.verify().faults == []


def test_two_processes_write_by_turns_and_the_witness_moves_forwards(node: Node) -> None:
    other = Node(node.folder, node.where)
    other.checkpoints.open()
    sizes = []
    for writer in (node, other, node, other):
        writer.train()
        kept = node.witness.last()
        assert kept is not None
        sizes.append(kept[1].size)
    assert sizes == sorted(set(sizes))
    assert node.verify().faults == []
    other.plain.close()


def rotated(node: Node, name: str = "second") -> FileSigner:
    successor = FileSigner.generate(node.folder / name, origin_of(NODE))
    node.checkpoints.rotate(successor)
    return successor


def test_after_a_rotation_either_key_vouches_for_the_whole_log(node: Node) -> None:
    node.train()
    second = rotated(node)
    node.train()
    third = rotated(node, "third")
    node.train()
    keys = [node.key, second.public_key.text, third.public_key.text]
    for key in keys:
        report = node.verify(key)
        assert report.faults == []
        assert report.keys == keys


def test_the_old_key_no_longer_signs_after_a_rotation(node: Node) -> None:
    rotated(node)
    stale = Checkpoints(node.plain.store, node.signer, node.witness)
    with pytest.raises(KeyUnavailable, match="the log's is"):
        stale.open()


def test_a_key_is_not_used_twice(node: Node) -> None:
    with pytest.raises(KeyUnavailable):
        node.checkpoints.rotate(node.signer)
    other = FileSigner.generate(node.folder / "other", "sytff-policy/node-other")
    with pytest.raises(KeyUnavailable):
        node.checkpoints.rotate(other)
    assert node.verify().faults == []


def _change(node: Node, statement: str) -> None:
    with node.plain.store.write() as connection:
        if node.plain.store.is_sqlite:
            names = connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            )
            for name in names.scalars().all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("ALTER TABLE entries DISABLE TRIGGER USER")
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize("column", ["kind", "dataset", "researcher", "subject"])
def test_a_column_that_says_another_thing_than_its_leaf_is_found(node: Node, column: str) -> None:
    """No hash covers the columns, and the node looks entries up by them."""
    node.train()
    assert node.plain.verify().ok
    seq = node.kinds().index("settlement")
    _change(node, f"UPDATE entries SET {column} = 'other' WHERE seq = {seq}")
    faults = node.plain.verify().faults
    assert (seq, "verify.column") in [(fault.seq, fault.code) for fault in faults]


# --- What a forger may try ----------------------------------------------------------------------


def entries_of(lines: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines if not line.startswith(b'{"checkpoint"')]


def chained(entries: list[dict[str, Any]]) -> list[bytes]:
    """Numbers, links and hashes made anew, as a careful forger does."""
    previous = "sha256:" + "0" * 64
    for seq, entry in enumerate(entries):
        entry["leaf"]["seq"], entry["leaf"]["prev"] = seq, previous
        entry["hash"] = previous = leaf_hash(canonical_bytes(entry["leaf"]))
    return [canonical_bytes(entry) for entry in entries]


def signed_anew(entries: list[dict[str, Any]], signer: Signer) -> list[bytes]:
    """Every checkpoint made anew as well, with the forger's key."""
    origin = signer.public_key.name
    for place, entry in enumerate(entries):
        kind, body = entry["leaf"]["kind"], entry["leaf"]["body"]
        chained(entries)
        if kind == "genesis":
            body["node_id"] = origin.removeprefix("sytff-policy/")
        elif kind == "key.activated":
            body["key"] = signer.public_key.text
        elif kind == "checkpoint":
            body["note"] = _note(entries[:place], signer)
    lines = chained(entries)
    return [*lines, canonical_bytes({"checkpoint": _note(entries, signer)})]


def _note(entries: list[dict[str, Any]], signer: Signer) -> str:
    leaves = [bytes.fromhex(item["hash"].removeprefix("sha256:")) for item in entries]
    checkpoint = Checkpoint(signer.public_key.name, len(leaves), root_of(leaves))
    return sign_note(checkpoint.text, signer).signed_text


def place_of(entries: list[dict[str, Any]], kind: str) -> int:
    return next(i for i, entry in enumerate(entries) if entry["leaf"]["kind"] == kind)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "node").begin()
    for _ in range(4):
        made.train()
    yield made
    made.plain.close()


def test_a_consistent_forgery_is_found_at_the_first_checkpoint_after_it(busy: Node) -> None:
    entries = entries_of(busy.export())
    place = place_of(entries, "dataset.registered")
    entries[place]["leaf"]["body"]["owner"] = "mallory"
    report = busy.verify(lines=chained(entries))
    assert report.first is not None
    assert report.first.code == "verify.root"
    assert report.first.seq == place_of(entries, "checkpoint")


def test_a_log_signed_anew_with_another_key_is_not_trusted(busy: Node, tmp_path: Path) -> None:
    forger = FileSigner.generate(tmp_path / "forger", origin_of(NODE))
    forged = signed_anew(entries_of(busy.export()), forger)
    assert verify_export(forged, keys=[forger.public_key.text]).ok
    assert codes(busy.verify(lines=forged)) == ["verify.untrusted"]


def test_one_checkpoint_signed_anew_with_another_key_is_found(busy: Node, tmp_path: Path) -> None:
    forger = FileSigner.generate(tmp_path / "forger", origin_of(NODE))
    entries = entries_of(busy.export())
    place = place_of(entries, "checkpoint")
    entries[place]["leaf"]["body"]["note"] = _note(entries[:place], forger)
    report = busy.verify(lines=chained(entries))
    assert report.first is not None
    assert (report.first.seq, report.first.code) == (place, "verify.signature")


def test_a_rotation_that_the_old_key_did_not_sign_is_found(busy: Node, tmp_path: Path) -> None:
    forger = FileSigner.generate(tmp_path / "forger", origin_of(NODE))
    lines = busy.export()[:-1]
    entries = entries_of(lines)
    key = forger.public_key.text
    leaves = [bytes.fromhex(item["hash"].removeprefix("sha256:")) for item in entries]
    claim = Checkpoint(origin_of(NODE), len(leaves), root_of(leaves), (f"next-key {key}",))
    note = sign_note(claim.text, forger).signed_text
    body = {"key": key, "note": note}
    entries.append(json.loads(json.dumps(entries[-1])))
    entries[-1]["leaf"] |= {"kind": "key.activated", "body": body}
    lines = chained(entries)
    report = busy.verify(lines=[*lines, canonical_bytes({"checkpoint": _note(entries, forger)})])
    assert report.first is not None
    assert (report.first.seq, report.first.code) == (len(entries) - 1, "verify.signature")


def test_two_logs_spliced_are_found_where_the_second_begins(busy: Node, tmp_path: Path) -> None:
    other = Node(tmp_path / "other", node="node-other").begin()
    for _ in range(4):
        other.train()
    ours, theirs = entries_of(busy.export()), entries_of(other.export())
    cut = len(ours) - 5
    report = busy.verify(lines=[canonical_bytes(e) for e in ours[:cut] + theirs[cut:]])
    assert report.first is not None
    assert report.first.seq == cut
    chained_report = busy.verify(lines=chained(ours[:3] + theirs[3:]))
    assert "verify.signature" in codes(chained_report)
    other.plain.close()


def test_every_truncation_is_found(busy: Node) -> None:
    lines = busy.export()
    for length in range(1, len(lines) - 1):
        report = busy.verify(lines=lines[:length])
        assert not report.ok, length
        assert "verify.unsigned" in codes(report)
        closed = busy.verify(lines=[*lines[:length], lines[-1]])
        assert "verify.truncated" in codes(closed)


def test_a_truncation_to_an_older_checkpoint_is_found_with_a_newer_one(busy: Node) -> None:
    old = busy.export()
    busy.train()
    newer, _ = busy.checkpoints.latest()
    assert busy.verify(lines=old).ok
    report = verify_export(old, keys=[busy.key], checkpoint=newer.signed_text)
    assert codes(report) == ["verify.truncated"]
    current = verify_export(busy.export(), keys=[busy.key], checkpoint=newer.signed_text)
    assert current.ok


def test_an_older_checkpoint_from_elsewhere_must_be_of_this_log(busy: Node) -> None:
    old, _ = busy.checkpoints.latest()
    busy.train()
    assert verify_export(busy.export(), checkpoint=old.signed_text).ok
    entries = entries_of(busy.export())
    entries[place_of(entries, "dataset.registered")]["leaf"]["body"]["owner"] = "mallory"
    report = verify_export(signed_anew(entries, busy.signer), checkpoint=old.signed_text)
    assert codes(report) == ["verify.root"]


def test_lines_after_the_closing_checkpoint_are_found(busy: Node) -> None:
    lines = busy.export()
    assert "verify.after_end" in codes(busy.verify(lines=[*lines, lines[3]]))


def test_every_changed_byte_of_the_closing_checkpoint_is_found(busy: Node) -> None:
    *lines, closing = busy.export()
    for position in range(0, len(closing), 3):
        altered = bytearray(closing)
        altered[position] ^= 1
        assert not busy.verify(lines=[*lines, bytes(altered)]).ok, position


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"note": None}, "verify.checkpoint"),
        ({"note": "text\n\n"}, "verify.checkpoint"),
        ({}, "verify.checkpoint"),
        ({"note": "", "more": 1}, "verify.checkpoint"),
    ],
)
def test_a_malformed_checkpoint_is_found(busy: Node, change: dict[str, Any], code: str) -> None:
    entries = entries_of(busy.export())
    place = place_of(entries, "checkpoint")
    entries[place]["leaf"]["body"] = change
    report = busy.verify(lines=chained(entries))
    assert report.first is not None
    assert (report.first.seq, report.first.code) == (place, code)


def test_a_log_without_its_key_is_not_trusted(busy: Node) -> None:
    entries = entries_of(busy.export())
    place = place_of(entries, "key.activated")
    del entries[place]
    assert not busy.verify(lines=chained(entries)).ok


def test_a_malformed_key_from_the_reader_is_an_error(busy: Node) -> None:
    with pytest.raises(ValueError, match="not a public key"):
        busy.verify("nonsense")


def test_a_checkpoint_says_what_tlog_checkpoint_says(node: Node) -> None:
    note, checkpoint = node.checkpoints.latest()
    lines = note.signed_text.split("\n")
    assert lines[0] == "sytff-policy/node-test"
    assert lines[1] == str(checkpoint.size)
    assert len(lines) == 6
    assert lines[3] == lines[5] == ""
    assert Note.parse(note.signed_text) == note
