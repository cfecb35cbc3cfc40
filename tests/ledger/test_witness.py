"""Rollback and forks: a node does not start on another database than the one that was witnessed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home
from sytff_policy.ledger.checkpoints import Checkpoints
from sytff_policy.ledger.notes import Note, PublicKey, Signature
from sytff_policy.ledger.verify import verify_export
from sytff_policy.ledger.view import closing_line
from sytff_policy.ledger.witness import (
    FileWitness,
    Forked,
    HttpWitness,
    RolledBack,
    WitnessMissing,
    WitnessUnavailable,
)
from tests.ledger.helpers import finish, reserve
from tests.ledger.test_checkpoints import Node
from tests.ledger.witnesses import Witness, running
from tests.support import ALICE, ask, make_home


def backup(database: Path, copy: Path) -> None:
    """What a careful administrator does: SQLite's own backup, the write-ahead log included."""
    source, target = sqlite3.connect(database), sqlite3.connect(copy)
    with target:
        source.backup(target)
    source.close()
    target.close()


def restore(copy: Path, database: Path) -> None:
    for path in database.parent.glob(database.name + "-*"):
        path.unlink()
    shutil.copyfile(copy, database)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_home(tmp_path).close()
    return tmp_path / "node"


def deny(folder: Path) -> None:
    with Home(folder) as node:
        record = node.ledger.dataset("registry")
        node.gate.admit(ask(node, rounds=10**6), record.name, ALICE)


def allow(folder: Path) -> None:
    with Home(folder) as node:
        node.gate.admit(ask(node), "registry", ALICE)


def grant(folder: Path) -> None:
    with Home(folder) as node:
        node.grant("registry", Decimal(1), by="owner")


@pytest.mark.parametrize("act", [deny, allow, grant])
def test_a_restored_backup_is_refused_and_says_how_to_proceed(
    home: Path, tmp_path: Path, act: Callable[[Path], None]
) -> None:
    backup(home / "ledger.db", tmp_path / "backup.db")
    act(home)
    backup(home / "ledger.db", tmp_path / "newest.db")
    restore(tmp_path / "backup.db", home / "ledger.db")
    before = (home / "ledger.db").read_bytes()
    with pytest.raises(RolledBack) as caught:
        Home(home)
    assert caught.value.kept > caught.value.size
    assert f"at least {caught.value.kept} entries" in str(caught.value)
    assert (home / "ledger.db").read_bytes() == before
    restore(tmp_path / "newest.db", home / "ledger.db")
    Home(home).close()


def test_a_fork_is_refused_although_it_is_longer(home: Path, tmp_path: Path) -> None:
    backup(home / "ledger.db", tmp_path / "backup.db")
    witness = home / "witness"
    shutil.copytree(witness, tmp_path / "witness")
    grant(home)
    branch = tmp_path / "branch"
    shutil.copytree(home, branch)
    restore(tmp_path / "backup.db", branch / "ledger.db")
    shutil.rmtree(branch / "witness")
    shutil.copytree(tmp_path / "witness", branch / "witness")
    for _ in range(3):
        deny(branch)
    backup(branch / "ledger.db", tmp_path / "fork.db")
    restore(tmp_path / "fork.db", home / "ledger.db")
    with pytest.raises(Forked, match="forked from its last checkpoint"):
        Home(home)


def _edit(statement: str) -> Callable[[Path], None]:
    def edit(database: Path) -> None:
        connection = sqlite3.connect(database)
        with connection:
            # An administrator who edits the log takes its guards away first.
            triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for (name,) in triggers.fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute(statement)
        connection.close()

    return edit


EDITS = {
    "the last entry deleted": _edit(
        "DELETE FROM entries WHERE seq = (SELECT MAX(seq) FROM entries)"
    ),
    "an entry deleted": _edit("DELETE FROM entries WHERE seq = 3"),
    "all entries deleted": _edit("DELETE FROM entries"),
    "an entry replaced": _edit(f"UPDATE entries SET hash = 'sha256:{'7' * 64}' WHERE seq = 2"),
    "entries renumbered": _edit("UPDATE entries SET seq = seq + 100 WHERE seq > 2"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_database_is_refused(home: Path, edit: str) -> None:
    grant(home)
    EDITS[edit](home / "ledger.db")
    with pytest.raises((RolledBack, Forked)):
        Home(home)


def test_a_database_that_is_ahead_of_its_witness_is_taken(home: Path, tmp_path: Path) -> None:
    """As after a crash between the commit and the witness."""
    shutil.copytree(home / "witness", tmp_path / "witness")
    grant(home)
    shutil.rmtree(home / "witness")
    shutil.copytree(tmp_path / "witness", home / "witness")
    with Home(home) as node:
        assert node.checkpoints.latest()[1].size == len(list(node.ledger.entries()))


def test_without_the_witness_file_the_node_does_not_start(home: Path, tmp_path: Path) -> None:
    shutil.move(home / "witness", tmp_path / "witness")
    with pytest.raises(WitnessMissing, match="Put the file back"):
        Home(home)
    shutil.rmtree(home / "witness")
    shutil.move(tmp_path / "witness", home / "witness")
    Home(home).close()


def test_the_checkpoint_of_an_export_can_take_the_lost_files_place(home: Path) -> None:
    grant(home)
    with Home.view(home) as view:
        note = view.checkpoint()
    assert note is not None
    shutil.rmtree(home / "witness")
    (home / "witness").mkdir()
    (home / "witness" / "checkpoint").write_text(note.signed_text)
    Home(home).close()


@pytest.mark.parametrize("content", ["", "nonsense", "log\n0\n", "x" * 2_000_000])
def test_a_damaged_witness_file_is_refused(home: Path, content: str) -> None:
    (home / "witness" / "checkpoint").write_text(content)
    with pytest.raises(WitnessUnavailable, match="not a signed checkpoint"):
        Home(home)


def test_what_a_power_cut_tore_does_not_count(home: Path) -> None:
    deny(home)  # the first decision records the operator's policy too
    deny(home)
    newest = home / "witness" / "checkpoint.newest"
    assert newest.exists()
    newest.write_bytes(b"")
    Home(home).close()


def test_others_may_read_what_is_kept_and_only_that(home: Path) -> None:
    deny(home)
    deny(home)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (home / "witness").iterdir()}
    assert modes == {"checkpoint": 0o644, "checkpoint.newest": 0o644, "checkpoint.lock": 0o600}
    assert (home / "secrets" / "ledger.key").stat().st_mode & 0o777 == 0o600


def test_a_checkpoint_of_another_node_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    make_home(tmp_path / "other").close()
    other = tmp_path / "other" / "node" / "witness" / "checkpoint"
    shutil.copy(other, home / "witness" / "checkpoint")
    with pytest.raises(WitnessUnavailable, match="not of sytff-policy/"):
        Home(home)


def test_an_unsigned_checkpoint_is_refused(home: Path) -> None:
    path = home / "witness" / "checkpoint"
    note = Note.parse(path.read_bytes())
    forged = note.signed_text.replace(note.signatures[0].line, "")
    path.write_text(forged + "— someone AAAAAAAAAA==\n")
    with pytest.raises(WitnessUnavailable, match="not signed by a key"):
        Home(home)


def test_a_running_node_notices_that_its_database_was_put_back(tmp_path: Path) -> None:
    node = Node(tmp_path / "node").begin()
    backup(node.path, tmp_path / "backup.db")
    node.train()
    node.plain.close()
    restore(tmp_path / "backup.db", node.path)
    with pytest.raises((RolledBack, Forked)):
        node.ledger.grant("registry", Decimal(1), by="owner")
    node.plain.close()


def test_a_witness_file_may_lie_elsewhere(tmp_path: Path) -> None:
    place = tmp_path / "other-disk" / "checkpoint"
    with Home.create(tmp_path / "node", {"witness": {"file": str(place)}}) as node:
        assert FileWitness(place).last() is not None
    assert not (tmp_path / "node" / "witness").exists()
    assert node.custody.witness.path == place


def test_a_node_of_a_release_that_signed_nothing_gets_a_key(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "node")
    home.close()
    folder = tmp_path / "node"
    _edit("DELETE FROM entries WHERE seq > 0")(folder / "ledger.db")
    shutil.rmtree(folder / "witness")
    (folder / "secrets" / "ledger.key").unlink()
    settings = json.loads((folder / "node.json").read_text())
    del settings["signer"], settings["witness"]
    (folder / "node.json").write_text(json.dumps(settings))
    with Home(folder) as node:
        assert [entry.kind for entry in node.ledger.entries()] == ["genesis", "key.activated"]
    Home(folder).close()


@pytest.mark.parametrize(
    "custody",
    [
        {"witness": "file"},
        {"witness": {"file": 3}},
        {"witness": {"http": [{"url": "https://w.example"}]}},
        {"witness": {"http": [{"url": "https://w.example", "key": "nonsense"}]}},
        {"signer": ""},
        {"signer": 7},
    ],
)
def test_malformed_settings_are_refused(tmp_path: Path, custody: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Home.create(tmp_path / "node", custody)


# --- HTTP witnesses -----------------------------------------------------------------------------


@pytest.fixture
def witness() -> Iterator[Witness]:
    with running() as made:
        yield made


def watched(node: Node, witness: Witness) -> None:
    witness.trust(node.signer.public_key)
    http = HttpWitness(witness.url, witness.key, timeout=30)
    node.checkpoints = Checkpoints(
        node.plain.store, node.signer, node.witness, [http], log_every=1000
    )
    node.ledger.store = type(node.ledger.store)(node.plain.store, node.checkpoints)  # type: ignore[call-arg]


@pytest.fixture
def node(tmp_path: Path, witness: Witness) -> Iterator[Node]:
    made = Node(tmp_path / "node")
    watched(made, witness)
    yield made.begin()
    made.plain.close()


def seen(witness: Witness, node: Node) -> int:
    return witness.logs[node.signer.public_key.name][1]


def test_the_witness_has_seen_what_may_have_drawn_noise(node: Node, witness: Witness) -> None:
    node.train()
    run = reserve(node.ledger)
    assert seen(witness, node) == len(node.kinds()) - 2
    node.ledger.progress(run, rounds_started=1, evaluation_started=False)
    assert seen(witness, node) == len(node.kinds())
    finish(node.ledger, run)
    assert seen(witness, node) == len(node.kinds())


def test_the_cosigned_checkpoint_is_kept(node: Node, witness: Witness) -> None:
    node.train()
    kept = node.checkpoints.cosigned.last()
    assert kept is not None
    keys = [node.signer.public_key, witness.key]
    assert kept[0].signed_by(keys) == keys
    assert kept[1].size == seen(witness, node)


def test_an_export_shows_that_the_witness_saw_all_of_it(node: Node, witness: Witness) -> None:
    node.train()
    note, _ = node.checkpoints.witnessed()
    lines = [*node.export()[:-1], closing_line(note).rstrip(b"\n")]
    report = verify_export(lines, keys=[node.key], witnesses=[witness.key.text])
    assert report.faults == []
    unwitnessed = verify_export(node.export(), witnesses=[witness.key.text])
    assert [fault.code for fault in unwitnessed.faults] == ["verify.unwitnessed"]
    cut = verify_export(lines[:-1], witnesses=[witness.key.text])
    assert [fault.code for fault in cut.faults] == ["verify.unwitnessed"]
    (signature,) = [item for item in note.signatures if item.name == witness.key.name]
    later = Signature(signature.name, signature.key_id, bytes(8) + signature.value[8:])
    forged = Note(note.text, (note.signatures[0], later))
    report = verify_export([*lines[:-1], closing_line(forged)], witnesses=[witness.key.text])
    assert [fault.code for fault in report.faults] == ["verify.signature"]


def test_a_folder_put_back_whole_is_refused_by_the_witness(
    node: Node, witness: Witness, tmp_path: Path
) -> None:
    node.plain.close()
    shutil.copytree(node.folder, tmp_path / "copy")
    node.train()
    node.plain.close()
    shutil.rmtree(node.folder)
    shutil.copytree(tmp_path / "copy", node.folder)
    again = Node(node.folder)
    watched(again, witness)
    with pytest.raises(RolledBack, match=witness.url):
        again.checkpoints.open()
    again.plain.close()


def test_a_fork_of_the_whole_folder_is_refused_by_the_witness(
    node: Node, witness: Witness, tmp_path: Path
) -> None:
    node.plain.close()
    shutil.copytree(node.folder, tmp_path / "copy")
    node.train()
    fork = Node(tmp_path / "copy")
    fork.checkpoints.open()
    for _ in range(3):
        fork.train()
    watched(fork, witness)
    with pytest.raises(Forked, match=witness.url):
        fork.checkpoints.open()
    fork.plain.close()


def test_two_different_logs_of_one_size_are_told_apart(
    node: Node, witness: Witness, tmp_path: Path
) -> None:
    node.plain.close()
    shutil.copytree(node.folder, tmp_path / "copy")
    node.ledger.grant("registry", Decimal(1), by="owner")
    fork = Node(tmp_path / "copy")
    fork.checkpoints.open()
    fork.ledger.grant("registry", Decimal(2), by="owner")
    watched(fork, witness)
    with pytest.raises(Forked):
        fork.checkpoints.open()
    fork.plain.close()


def test_noise_waits_for_a_witness_that_does_not_answer(node: Node, witness: Witness) -> None:
    run = reserve(node.ledger)
    witness.refuses = (503, b"")
    node.ledger.grant("registry", Decimal(1), by="owner")
    with pytest.raises(WitnessUnavailable, match="503"):
        node.ledger.progress(run, rounds_started=1, evaluation_started=False)
    witness.refuses = None
    node.ledger.progress(run, rounds_started=2, evaluation_started=False)
    assert seen(witness, node) == len(node.kinds())


@pytest.mark.parametrize(
    "refusal",
    [(200, b""), (200, b"nonsense"), (200, b"\xff"), (409, b"many"), (403, b""), (404, b"")],
)
def test_an_answer_that_proves_nothing_does_not_count(
    tmp_path: Path, witness: Witness, refusal: tuple[int, bytes]
) -> None:
    fresh = Node(tmp_path / "node")
    watched(fresh, witness)
    witness.refuses = refusal
    with pytest.raises(WitnessUnavailable):
        fresh.checkpoints.open()
    fresh.plain.close()


def test_a_cosignature_of_another_key_does_not_count(tmp_path: Path, witness: Witness) -> None:
    fresh = Node(tmp_path / "node")
    watched(fresh, witness)
    other = PublicKey(witness.key.name, bytes(31) + b"\x01", witness.key.algorithm)
    http = HttpWitness(witness.url, other)
    checkpoints = Checkpoints(fresh.plain.store, fresh.signer, fresh.witness, [http])
    with pytest.raises(WitnessUnavailable, match="did not sign"):
        checkpoints.open()
    fresh.plain.close()


def test_a_witness_that_cannot_be_reached_says_what_to_do(tmp_path: Path) -> None:
    with running() as gone:
        fresh = Node(tmp_path / "node")
        watched(fresh, gone)
    with pytest.raises(WitnessUnavailable, match="take it out of `witness`"):
        fresh.checkpoints.open()
    fresh.plain.close()


def test_a_node_follows_another_process_that_showed_the_witness_more(
    node: Node, witness: Witness
) -> None:
    other = Node(node.folder)
    watched(other, witness)
    other.checkpoints.open()
    for writer in (other, node, other, node):
        writer.train()
    assert seen(witness, node) == len(node.kinds())
    other.plain.close()


def test_an_address_that_is_none_is_refused(witness: Witness) -> None:
    with pytest.raises(WitnessUnavailable):
        HttpWitness("file:///etc/passwd", witness.key)
    with pytest.raises(WitnessUnavailable):
        HttpWitness(witness.url, PublicKey("w", bytes(32)))
