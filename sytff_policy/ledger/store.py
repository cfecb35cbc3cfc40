"""The database under the ledger: connections, durability, locks and migrations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from sytff_policy.ledger import schema
from sytff_policy.ledger.errors import LedgerUnavailable
from sytff_policy.ledger.log import LAST_ENTRY

BUSY_TIMEOUT_MS = 30_000
CONNECTIONS = 16
"""Open connections of one process at most, when it has that many threads at work."""
RETRIES = 20
_SERIALIZATION = frozenset({"40001", "40P01"})
"""PostgreSQL's `serialization_failure` and `deadlock_detected`: nothing was done; try again."""
_MIGRATION_LOCK = 0x5397FF
IDLE_S = 1.0
"""A connection that rested longer is tried before it is used."""
_LAST_USED = "sytff_last_used"

_LOCK = sa.select(schema.node.c.id).where(schema.node.c.id == 1).with_for_update()

T = TypeVar("T")


class Store:
    """Transactions on one ledger database.

    SQLite runs in WAL mode with full synchronisation: a committed transaction survives a power
    cut. Writers take the write lock at BEGIN, so what a transaction reads is what it changes.

    PostgreSQL must be of version 15 or later. Writers lock the row of table `node` before they
    read anything, and read what was committed before the lock was theirs; so they too write one
    at a time. Readers see one snapshot. A commit waits for the write-ahead log, whatever the
    server's default is.

    Args:
      url: SQLAlchemy URL, such as `sqlite:////srv/node/ledger.db` or
        `postgresql+psycopg://sytff@/ledger?host=/run/postgresql`.
      create: Whether to create or upgrade the schema; otherwise a wrong schema is an error.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        self.url = url
        try:
            self._engine = _engine(url)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise LedgerUnavailable(f"the ledger's address cannot be used: {error}") from None
        if self.is_sqlite:
            _configure_sqlite(self._engine)
            self._reader = self._engine
            self._writer = self._engine.execution_options(sytff_write=True)
        else:
            _configure_postgresql(self._engine)
            self._reader = self._engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._writer = self._engine.execution_options(isolation_level="READ COMMITTED")
        try:
            if create:
                self._migrate()
            self._require_head()
        except sa.exc.SQLAlchemyError as error:
            self._engine.dispose()
            raise LedgerUnavailable(
                f"the ledger at {_shown(url)} cannot be opened: {error}"
            ) from None
        except LedgerUnavailable:
            self._engine.dispose()
            raise

    @classmethod
    def sqlite(cls, path: Path, *, create: bool = False) -> Store:
        """A store in one SQLite file."""
        if not create and not path.is_file():
            raise LedgerUnavailable(f"there is no ledger at {path}")
        return cls(f"sqlite:///{path}", create=create)

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent snapshot."""
        with _translated(self.url), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start; commits on leaving."""
        with _translated(self.url), self._locked() as connection:
            yield connection

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Does `work` in a write transaction, again if the database asks for that.

        Args:
          work: Called with a connection that holds the write lock; perhaps more than once, after
            everything that it wrote was undone.
        """
        for left in range(RETRIES, -1, -1):
            try:
                with self.write() as connection:
                    return work(connection)
            except LedgerUnavailable as error:
                if not left or not _may_try_again(error):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _locked(self) -> Iterator[Connection]:
        with self._writer.begin() as connection:
            # What is known of the transaction before is not known of this one.
            connection.info.pop(LAST_ENTRY, None)
            if not self.is_sqlite:
                connection.execute(_LOCK)
            yield connection

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._writer.begin() as connection:
            if not self.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _require_head(self) -> None:
        with self._engine.begin() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                raise LedgerUnavailable(f"{_shown(self.url)} holds no ledger")
            found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        if found != schema.HEAD:
            raise LedgerUnavailable(
                f"the ledger's schema is {found}, this version works with {schema.HEAD}; "
                "open it with a matching release of sytff-policy, or upgrade it with "
                "`sytff ledger upgrade`"
            )


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise LedgerUnavailable(f"the ledger at {_shown(url)} failed: {error}") from error


def _may_try_again(error: LedgerUnavailable) -> bool:
    cause = error.__cause__
    state = getattr(getattr(cause, "orig", None), "sqlstate", None)
    return state in _SERIALIZATION


def _shown(url: str) -> str:
    return sa.make_url(url).render_as_string(hide_password=True)


def _engine(url: str) -> Engine:
    sized = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_timeout": BUSY_TIMEOUT_MS / 1000}
    name = sa.make_url(url).get_backend_name()
    if name == "sqlite":
        return sa.create_engine(url, **sized)
    if name != "postgresql":
        raise LedgerUnavailable(f"a ledger is kept in SQLite or PostgreSQL, not in {name}")
    return sa.create_engine(url, **sized)


def _configure_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(dbapi_connection: Any, _record: Any) -> None:
        # The driver's own transaction handling would begin too late to lock before reading.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("sytff_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _configure_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(dbapi_connection: Any, _record: Any) -> None:
        if dbapi_connection.info.server_version < 150_000:
            raise LedgerUnavailable("the ledger needs PostgreSQL 15 or later")
        dbapi_connection.autocommit = True
        # Weaker settings of the server, the database or the role would lose committed spending.
        dbapi_connection.execute("SET synchronous_commit = on")
        dbapi_connection.execute("SET lock_timeout = '30s'")
        dbapi_connection.autocommit = False

    @event.listens_for(engine, "checkin")
    def _checkin(_dbapi_connection: Any, record: Any) -> None:
        record.info[_LAST_USED] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _checkout(dbapi_connection: Any, record: Any, _proxy: Any) -> None:
        # A connection that the server closed while it was idle is found before it is used. To ask
        # each time would cost every decision two round trips.
        if time.monotonic() - record.info.get(_LAST_USED, 0.0) < IDLE_S:
            return
        try:
            dbapi_connection.execute("SELECT 1")
            dbapi_connection.rollback()
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError from error
