"""A ledger in SQLite and one in PostgreSQL, each with one registered dataset."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from sytff_policy.ledger import Ledger
from sytff_policy.privacy import make_filter
from tests.ledger import postgres
from tests.ledger.postgres import Server

LEFT_OUT = (
    f"left out: this test on PostgreSQL (no PostgreSQL {postgres.OLDEST} or later here; "
    "Debian: apt-get install postgresql)"
)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server. What is tested here dies with clients, not with the machine."""
    if postgres.binaries() is None:
        pytest.skip(LEFT_OUT)
    with postgres.running({"fsync": "off", "full_page_writes": "off"}) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new ledger may be: in each of the stores."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    made: Server = request.getfixturevalue("server")
    return made.database()


def register(ledger: Ledger) -> Ledger:
    """Registers the dataset that most tests need."""
    ledger.register(
        name="registry",
        version="hmac-sha256:00",
        population=1000,
        owner="owner",
        description={"features": []},
        privacy_filter=make_filter("rdp", Decimal(8), Decimal("1e-5"), order=4),
        bundle="sha256:" + "0" * 64,
    )
    return ledger


@pytest.fixture
def ledger(where: str) -> Iterator[Ledger]:
    """A ledger in each of the stores."""
    made = register(Ledger.create(where, "node-test"))
    yield made
    made.close()


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger in SQLite, for what has nothing to do with the store."""
    made = register(Ledger.create(tmp_path / "ledger.db", "node-test"))
    yield made
    made.close()
