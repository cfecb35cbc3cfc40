"""The database under the ledger: connections, durability and migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from sytff_policy.errors import SytffError
from sytff_policy.ledger import schema

BUSY_TIMEOUT_MS = 30_000


class LedgerUnavailable(SytffError):
    """The database cannot be opened, read or written."""

    code = "ledger.unavailable"


class Store:
    """Transactions on one ledger database.

    SQLite runs in WAL mode with full synchronisation: a committed transaction survives a power
    cut. Writers take the write lock at BEGIN, so what a transaction reads is what it changes.

    Args:
      url: SQLAlchemy URL, such as `sqlite:////srv/node/ledger.db`.
      create: Whether to create or upgrade the schema; otherwise a wrong schema is an error.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        self.url = url
        self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            _configure_sqlite(self._engine)
        self._writer = self._engine.execution_options(sytff_write=True)
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

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent snapshot."""
        with _translated(self.url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start; commits on leaving."""
        with _translated(self.url), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._writer.begin() as connection:
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
                "open it with a matching release of sytff-policy"
            )


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise LedgerUnavailable(f"the ledger at {_shown(url)} failed: {error}") from error


def _shown(url: str) -> str:
    return sa.make_url(url).render_as_string(hide_password=True)


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
