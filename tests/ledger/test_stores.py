"""What the two databases promise: durability, locks, retries, backups."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sytff_policy.home import Home
from sytff_policy.ledger import Ledger, LedgerUnavailable, Store, store
from sytff_policy.ledger.witness import RolledBack
from tests.ledger import postgres
from tests.ledger.conftest import register
from tests.ledger.helpers import finish, reserve
from tests.ledger.postgres import Server
from tests.support import ALICE, ask, make_home


def scalar(connection: Connection, statement: str) -> object:
    return connection.exec_driver_sql(statement).scalar()


def test_sqlite_writes_ahead_and_waits_for_the_disk(sqlite_ledger: Ledger) -> None:
    with sqlite_ledger.store.write() as connection:
        assert scalar(connection, "PRAGMA journal_mode") == "wal"
        assert scalar(connection, "PRAGMA synchronous") == 2
        assert scalar(connection, "PRAGMA foreign_keys") == 1


def test_a_writer_of_sqlite_holds_the_lock_from_the_start(
    sqlite_ledger: Ledger, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "ledger.db", timeout=0, isolation_level=None)
    with sqlite_ledger.store.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_postgresql_waits_for_its_log_whatever_the_server_says(server: Server) -> None:
    url = server.database()
    with server.connect() as connection:
        connection.autocommit = True
        connection.execute("ALTER ROLE sytff SET synchronous_commit = off")
    try:
        ledger = Ledger.create(url, "node-test")
        with ledger.store.write() as writing:
            assert scalar(writing, "SHOW synchronous_commit") == "on"
            assert scalar(writing, "SHOW transaction_isolation") == "read committed"
        with ledger.store.read() as reading:
            assert scalar(reading, "SHOW transaction_isolation") == "repeatable read"
            assert scalar(reading, "SHOW transaction_read_only") == "on"
        ledger.close()
    finally:
        with server.connect() as connection:
            connection.autocommit = True
            connection.execute("ALTER ROLE sytff RESET synchronous_commit")


def test_a_writer_of_postgresql_locks_the_row_that_all_writers_lock(server: Server) -> None:
    url = server.database()
    ledger = register(Ledger.create(url, "node-test"))
    database = sa.make_url(url).database
    assert database is not None
    with server.connect(database) as other, ledger.store.write():
        other.execute("SET lock_timeout = '50ms'")
        with pytest.raises(Exception, match="lock timeout"):
            other.execute("SELECT id FROM node FOR UPDATE")
    ledger.close()


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_the_database_asks_for_again_is_done_again(server: Server, state: str) -> None:
    ledger = register(Ledger.create(server.database(), "node-test"))
    attempts = []

    def work(connection: Connection) -> str:
        attempts.append(len(attempts))
        if len(attempts) < 4:
            connection.exec_driver_sql(
                f"DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '{state}'; END $$"
            )
        return "done"

    assert ledger.store.transact(work) == "done"
    assert len(attempts) == 4
    ledger.close()


def test_another_failure_is_not_tried_again(server: Server) -> None:
    ledger = register(Ledger.create(server.database(), "node-test"))
    attempts = []

    def work(connection: Connection) -> None:
        attempts.append(len(attempts))
        connection.exec_driver_sql("SELECT 1 / 0")

    with pytest.raises(LedgerUnavailable, match="division by zero"):
        ledger.store.transact(work)
    assert len(attempts) == 1
    ledger.close()


def test_connections_that_were_closed_while_they_rested_are_replaced(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "IDLE_S", 0.0)
    ledger = register(Ledger.create(server.database(), "node-test"))
    with server.connect() as connection:
        connection.autocommit = True
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
        )
    finish(ledger, reserve(ledger))
    assert ledger.verify().ok
    ledger.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://host/ledger", "SQLite or PostgreSQL"),
        ("postgresql+nothing://host/ledger", "cannot be used"),
        ("postgresql+psycopg://sytff:secret@/x?host=/nowhere", "cannot be opened"),
    ],
)
def test_an_address_that_cannot_be_used_is_said_without_its_password(
    url: str, problem: str
) -> None:
    with pytest.raises(LedgerUnavailable, match=problem) as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_a_node_keeps_its_ledger_in_postgresql(server: Server, tmp_path: Path) -> None:
    with make_home(tmp_path, ledger=server.database()) as home:
        admission = home.gate.admit(ask(home), "registry", ALICE)
        assert admission.run_id is not None
        home.ledger.settle(admission.run_id, status="cancelled")
        folder = home.folder
    assert not (folder / "ledger.db").exists()
    with Home(folder) as again:
        assert again.ledger.verify().ok
        assert again.gate.check(ask(again), "registry", ALICE).allowed


def back_up(url: str, target: Path, server: Server | None) -> None:
    """As the documentation says."""
    if server is None:
        source = sqlite3.connect(url.removeprefix("sqlite:///"))
        source.execute("VACUUM INTO ?", (str(target),))
        source.close()
        return
    tool(server, "pg_dump", "--format=custom", f"--file={target}", sa.make_url(url).database or "")


def restore(url: str, source: Path, server: Server | None) -> None:
    """As the documentation says."""
    if server is None:
        path = Path(url.removeprefix("sqlite:///"))
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copy(source, path)
        return
    database = sa.make_url(url).database or ""
    tool(server, "dropdb", "--force", database)
    tool(server, "createdb", database)
    tool(server, "pg_restore", "--exit-on-error", f"--dbname={database}", str(source))


def tool(server: Server, name: str, *arguments: str) -> None:
    folder = postgres.binaries()
    assert folder is not None
    subprocess.run(
        [str(folder / name), "-h", str(server.folder), "-U", "sytff", *arguments], check=True
    )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_restores_a_node_and_an_older_one_is_refused(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: Server | None = None
    url = None
    if kind == "postgresql":
        server = request.getfixturevalue("server")
        url = server.database()
    with make_home(tmp_path, ledger=url) as home:
        folder = home.folder
    where = url or f"sqlite:///{folder / 'ledger.db'}"
    back_up(where, tmp_path / "older", server)
    with Home(folder) as home:
        run_id = home.gate.admit(ask(home), "registry", ALICE).run_id
        assert run_id is not None
        home.ledger.progress(run_id, rounds_started=10, evaluation_started=True)
        home.ledger.settle(run_id, status="completed")
        spent = home.ledger.dataset("registry").budget().spent
    back_up(where, tmp_path / "newest", server)

    restore(where, tmp_path / "newest", server)
    with Home(folder) as home:
        assert home.ledger.dataset("registry").budget().spent == spent > Decimal(0)
        assert home.ledger.verify().ok

    restore(where, tmp_path / "older", server)
    with pytest.raises(RolledBack):
        Home(folder)
