"""Nodes that are missing something, or that somebody altered: refused, named, no traceback."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sytff_policy.home import Home
from tests.cli.command import Sytff
from tests.cli.conftest import write_request
from tests.support import ALICE, ask

NOBODY = 65534
CHECK = ("request", "check", "request.json")


def sql(node: Path, *statements: str) -> None:
    """Changes the ledger as somebody with the file in hands could: its triggers dropped first."""
    connection = sqlite3.connect(node / "ledger.db")
    with connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in rows.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0
    connection.close()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "is not a node; make one with `sytff init node`"),
        (b"", "node.json"),
        (b"{}", "another format"),
        (b"[]", "another format"),
        (b'{"format": 1}', "node.json is damaged"),
        (b'{"format": 1, "node_id": "node-1", "node_policy": []}', "node.json is damaged"),
        (b'{"format": 2, "node_id": "node-1"}', "another format"),
        (b"\xff", "node.json"),
        (b'{"format": 1', "node.json"),
    ],
    ids=str,
)
def test_a_folder_that_is_no_node(
    content: bytes | None, expected: str, sytff: Sytff, node: Path
) -> None:
    (node / "node.json").unlink()
    if content is not None:
        (node / "node.json").write_bytes(content)
    write_request(Path("request.json"))
    for arguments in (("dataset", "list"), CHECK, ("ledger", "verify")):
        said = sytff.refused(*arguments)
        assert said.startswith("--home: ")
        assert expected in said
        assert sytff(*arguments, "--json").document["error"] == "home.invalid"


def missing(node: Path) -> None:
    for file in node.glob("ledger.db*"):
        file.unlink()


def emptied(node: Path) -> None:
    missing(node)
    (node / "ledger.db").touch()


def no_database(node: Path) -> None:
    missing(node)
    (node / "ledger.db").write_bytes(b"no database at all, but some text instead of one" * 100)


def scrambled(node: Path) -> None:
    file = node / "ledger.db"
    content = bytearray(file.read_bytes())
    for place in range(4096, len(content), 7):
        content[place] ^= 0x5A
    file.write_bytes(content)


def of_a_newer_version(node: Path) -> None:
    sql(node, "UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize("damage", [missing, emptied, no_database, scrambled, of_a_newer_version])
def test_a_ledger_that_cannot_be_opened(
    damage: Callable[[Path], None], sytff: Sytff, node: Path
) -> None:
    damage(node)
    write_request(Path("request.json"))
    for arguments in (("dataset", "list"), CHECK, ("ledger", "list"), ("ledger", "export")):
        said = sytff.refused(*arguments, code=1)
        assert "ledger" in said
        assert "SELECT" not in said
        assert "sqlalche.me" not in said
        assert sytff(*arguments, "--json").document["error"] == "ledger.unavailable"


@pytest.mark.parametrize("damage", [missing, emptied, no_database, scrambled])
def test_a_ledger_that_cannot_be_opened_does_not_verify(
    damage: Callable[[Path], None], sytff: Sytff, node: Path
) -> None:
    damage(node)
    result = sytff("ledger", "verify")
    assert result.code == 5
    assert "[verify.unreadable]" in result.out
    document = sytff("ledger", "verify", "--json").document
    assert (document["verified"], document["faults"][0]["seq"]) == (False, -1)


def test_a_locked_ledger_is_no_forged_one(
    sytff: Sytff, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sytff_policy.ledger.store.BUSY_TIMEOUT_MS", 1)
    connection = sqlite3.connect(node / "ledger.db", isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        said = sytff.refused("ledger", "verify", code=1)
    finally:
        connection.close()
    assert "locked" in said
    assert sytff("ledger", "verify").code == 0


@pytest.mark.parametrize(
    ("statement", "position"),
    [
        ('UPDATE entries SET leaf = replace(leaf, \'"epsilon":"8"\', \'"epsilon":"9"\')', "2"),
        ("UPDATE entries SET hash = replace(hash, 'sha256:', 'sha256:0') WHERE seq = 2", "2"),
        ("UPDATE entries SET leaf = 'no JSON' WHERE seq = 1", "1"),
        ("UPDATE entries SET leaf = '{\"kind\":5}' WHERE seq = 1", "1"),
        ("UPDATE entries SET leaf = '[]' WHERE seq = 0", "0"),
        ("UPDATE entries SET leaf = x'ff00' WHERE seq = 1", "1"),
        ("DELETE FROM entries WHERE seq = 1", "1"),
    ],
)
def test_an_altered_entry_does_not_verify_and_is_named(
    statement: str, position: str, sytff: Sytff, node: Path
) -> None:
    sql(node, statement)
    result = sytff("ledger", "verify")
    assert result.code == 5
    assert f"\n  entry {position}: " in result.out
    seqs = [fault["seq"] for fault in sytff("ledger", "verify", "--json").document["faults"]]
    assert int(position) in seqs
    # Reading on is possible, for who has to find out what happened.
    assert sytff("ledger", "list").code == 0
    assert sytff.json("ledger", "list")["entries"]
    assert sytff("ledger", "show", "2").code == 0


def test_an_entry_that_is_no_json_is_shown_as_it_is(sytff: Sytff, node: Path) -> None:
    sql(node, "UPDATE entries SET leaf = 'no JSON' WHERE seq = 1")
    assert "is not an entry that can be read: verify the ledger" in sytff("ledger", "list").out
    shown = sytff.json("ledger", "show", "1")
    assert (shown["leaf"], shown["text"]) == (None, "no JSON")
    # It is in no selection, and in no table: a table that left it out would not be the ledger.
    assert [
        entry["leaf"]["seq"]
        for entry in sytff.json("ledger", "list", "--kind", "genesis")["entries"]
    ] == [0]
    said = sytff.refused("ledger", "export", "table.csv", code=1)
    assert "entry 1 is malformed: verify the ledger first" in said
    assert not Path("table.csv").exists()


def test_an_emptied_log_does_not_verify(sytff: Sytff, node: Path) -> None:
    sql(node, "DELETE FROM entries")
    result = sytff("ledger", "verify")
    assert result.code == 5
    assert "[verify.empty]" in result.out


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE budgets SET spent = '[\"1\"]'",
        "UPDATE budgets SET filter = replace(filter, '\"8\"', '\"80\"')",
        "UPDATE budgets SET filter = '{}'",
        "UPDATE budgets SET spent = 'no JSON'",
        "DELETE FROM datasets",
    ],
)
def test_an_altered_book_does_not_verify(statement: str, sytff: Sytff, node: Path) -> None:
    sql(node, statement)
    result = sytff("ledger", "verify")
    assert result.code == 5
    assert "\n  the ledger: " in result.out
    assert "[verify.book]" in result.out


def test_an_altered_policy_denies_everything(sytff: Sytff, node: Path) -> None:
    write_request(Path("request.json"))
    [bundle] = (node / "bundles").iterdir()
    rules = bundle / "policy.rego"
    rules.chmod(0o600)
    rules.write_text("package sytff.dataset\n\ndeny contains 1 if false\n")
    for arguments in (CHECK, (*CHECK, "--role", "guest")):
        result = sytff(*arguments, "--json")
        assert result.code == 3
        codes = {reason["code"] for reason in result.document["reasons"]}
        assert "policy.bundle_unusable" in codes
        assert result.document["counter_proposals"] == []


def test_a_missing_policy_denies_everything(sytff: Sytff, node: Path) -> None:
    write_request(Path("request.json"))
    shutil.rmtree(node / "bundles")
    result = sytff(*CHECK, "--json")
    assert result.code == 3
    assert "policy.bundle_unusable" in {r["code"] for r in result.document["reasons"]}


def test_a_missing_key_ends_what_needs_it_alone(
    sytff: Sytff, node: Path, no_runtime_needed: None
) -> None:
    (node / "secrets" / "dataset.key").unlink()
    write_request(Path("request.json"))
    assert sytff(*CHECK).code == 0
    said = sytff.refused("train", "request.json", "--out", "out", code=1)
    assert "dataset.key" in said
    assert sytff.json("budget", "show", "registry")["budget"]["reserved"] == 0
    assert not Path("out").exists()


@pytest.mark.parametrize("content", [b"\xff", b"no key at all", b"a+b+c"])
def test_damaged_public_keys_are_named(content: bytes, sytff: Sytff, node: Path) -> None:
    (node / "ledger.keys").write_bytes(content)
    for arguments in (("ledger", "verify"), ("keys", "show"), ("dataset", "list")):
        said = sytff.refused(*arguments, code=1)
        assert "ledger.keys is not a list of public keys" in said
        assert sytff(*arguments, "--json").document["error"] == "key.unavailable"


@pytest.mark.parametrize("content", [b"", b"\xff", b"no checkpoint\n"])
def test_a_damaged_checkpoint_is_named(content: bytes, sytff: Sytff, node: Path) -> None:
    for file in (node / "witness").iterdir():
        file.write_bytes(content)
    for arguments in (("ledger", "verify"), ("dataset", "list")):
        said = sytff.refused(*arguments, code=1)
        assert "is not a signed checkpoint" in said


def test_missing_rows_cost_no_budget(sytff: Sytff, node: Path, no_runtime_needed: None) -> None:
    shutil.rmtree(node / "datasets")
    write_request(Path("request.json"))
    result = sytff("train", "request.json", "--out", "out", "--json")
    assert result.code in (1, 2)
    assert "error" in result.document
    budget = sytff.json("budget", "show", "registry")["budget"]
    assert (budget["reserved"], budget["spent"]) == (0, 0)


def test_a_run_whose_supervisor_is_gone_is_settled_at_the_next_command(
    sytff: Sytff, node: Path
) -> None:
    with Home(node) as home:
        run_id = home.gate.admit(ask(home), "registry", ALICE).run_id
        assert run_id is not None
        home.ledger.progress(run_id, rounds_started=4, evaluation_started=False)
    budget = sytff.json("budget", "show", "registry")["budget"]
    assert budget["reserved"] == 0
    assert budget["spent"] > 0
    [settled] = sytff.json("ledger", "list", "--kind", "settlement")["entries"]
    assert settled["leaf"]["body"]["code"] == "run.interrupted"
    assert sytff("ledger", "verify").code == 0


@pytest.fixture
def read_only(node: Path) -> Iterator[Path]:
    """The node as somebody sees it who may read it and not write to it."""
    with tempfile.TemporaryDirectory() as outside:
        shutil.copytree(node, Path(outside, "node"))
        is_root = os.geteuid() == 0
        paths = [Path(outside), *Path(outside).rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        if is_root:
            # No permission stops root, so these commands run as somebody else.
            os.seteuid(NOBODY)
        try:
            yield Path(outside, "node")
        finally:
            if is_root:
                os.seteuid(0)
            for path in paths:
                path.chmod(0o755)


def test_a_node_that_may_not_be_written_says_so(sytff: Sytff, node: Path, read_only: Path) -> None:
    for arguments in (
        ("dataset", "list"),
        ("budget", "grant", "registry", "--epsilon", "1"),
    ):
        said = sytff.refused(*arguments, "--home", read_only, code=1)
        assert "readonly" in said or "ermission denied" in said
    assert "DIR: cannot be made: Permission denied" in sytff.refused("init", read_only / "new")


def test_an_auditor_needs_no_right_to_write(sytff: Sytff, node: Path, read_only: Path) -> None:
    home = ("--home", read_only)
    assert sytff.json("ledger", "verify", *home)["verified"]
    assert sytff.json("ledger", "list", *home) == sytff.json("ledger", "export", *home)
    assert sytff.json("ledger", "show", "0", *home)["leaf"]["kind"] == "genesis"
    assert len(sytff.json("keys", "show", *home)["keys"]) == 1
