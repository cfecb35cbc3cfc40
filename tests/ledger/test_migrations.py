"""Ledgers of every released schema are brought to the present one, and lose nothing by it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import sytff_policy.ledger
from sytff_policy.ledger import BudgetExceeded, Ledger, LedgerUnavailable
from sytff_policy.ledger.schema import HEAD, metadata
from sytff_policy.privacy import RunMechanism
from tests.ledger.helpers import reserve

GOLDEN = Path(__file__).parent / "golden"
FIRST = json.loads((GOLDEN / "ledger-0001.json").read_text())
"""Every row of a ledger that the first release wrote: runs completed, failed, cancelled and open,
a denial, a grant, two filters."""


def upgrade(connection: sa.Connection, revision: str) -> None:
    config = Config()
    folder = Path(sytff_policy.ledger.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@pytest.fixture
def first_release(where: str) -> str:
    """A database as the first release left it."""
    engine = sa.create_engine(where)
    with engine.begin() as connection:
        upgrade(connection, "0001")
        for table, rows in FIRST.items():
            columns = sa.MetaData()
            columns.reflect(connection, only=[table])
            connection.execute(columns.tables[table].insert(), rows)
    engine.dispose()
    return where


def test_a_ledger_of_the_first_release_is_refused_until_it_is_upgraded(first_release: str) -> None:
    with pytest.raises(LedgerUnavailable, match=f"schema is 0001.*works with {HEAD}"):
        Ledger.open(first_release)


def test_an_upgraded_ledger_verifies_and_keeps_what_was_spent(first_release: str) -> None:
    ledger = Ledger.create(first_release, "node-test")
    assert [entry.hash for entry in ledger.entries()] == [row["hash"] for row in FIRST["entries"]]
    report = ledger.verify()
    assert report.ok, report.faults
    for row in FIRST["datasets"]:
        record = ledger.dataset(row["name"])
        assert record.spent.to_json() == json.loads(row["spent"])
        assert record.reserved.to_json() == json.loads(row["reserved"])
        assert (record.version, record.population) == (row["version"], row["population"])
    ledger.close()


def test_an_upgraded_ledger_knows_what_everyone_used(first_release: str) -> None:
    ledger = Ledger.create(first_release, "node-test")
    ledger.cap("registry", "organization", "clinic", Decimal(5), by="owner")
    ledger.cap("registry", "researcher", "*", Decimal(5), by="owner")
    clinic = ledger.standing("registry", "surgeon", "clinic").limits
    assert clinic[0].used == clinic[1].used
    alice = ledger.standing("registry", "alice").limits[0]
    bob = ledger.standing("registry", "bob").limits[0]
    assert bob.used.is_zero()
    assert alice.used + clinic[0].used == ledger.dataset("registry").used
    ledger.close()


def test_work_goes_on_after_an_upgrade(first_release: str) -> None:
    ledger = Ledger.create(first_release, "node-test")
    (open_run,) = ledger.open_runs()
    ledger.settle(open_run.run_id, status="failed", code="run.interrupted")
    ledger.grant("registry", Decimal(1), by="owner")
    ledger.grant("sums", Decimal(1), by="owner")
    run = RunMechanism(2, 20, 300, Decimal(3))
    run_id = reserve(ledger, run)
    ledger.progress(run_id, rounds_started=2, evaluation_started=False)
    ledger.settle(run_id, status="completed")
    with pytest.raises(BudgetExceeded):
        reserve(ledger, RunMechanism(5000, 20, 300, Decimal(1)))
    report = ledger.verify()
    assert report.ok, report.faults
    ledger.close()


def test_an_upgraded_ledger_has_the_tables_that_the_code_speaks_of(first_release: str) -> None:
    Ledger.create(first_release, "node-test").close()
    engine = sa.create_engine(first_release)
    inspector = sa.inspect(engine)
    found = {
        table: (
            {column["name"]: column["nullable"] for column in inspector.get_columns(table)},
            inspector.get_pk_constraint(table)["constrained_columns"],
        )
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }
    engine.dispose()
    assert found == {
        table.name: (
            {column.name: column.nullable for column in table.columns},
            [column.name for column in table.primary_key],
        )
        for table in metadata.sorted_tables
    }


def test_there_is_no_way_back(ledger: Ledger) -> None:
    config = Config()
    folder = Path(sytff_policy.ledger.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    with ledger.store.write() as connection:
        config.attributes["connection"] = connection
        with pytest.raises(RuntimeError, match="append-only"):
            command.downgrade(config, "0001")
