"""The ledger's tables.

`entries` is the record: append-only, and the only thing that `verify` trusts. The other tables are
the book: a materialised view of the entries that makes decisions fast. Everything in it can be
recomputed from the entries, and `verify` does.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

HEAD = "0002"
"""The Alembic revision that this code reads and writes."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

entries = Table(
    "entries",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("hash", String(71), nullable=False, unique=True),
    Column("leaf", Text, nullable=False),
    Column("kind", String(40), nullable=False, index=True),
    Column("dataset", String(200), nullable=True, index=True),
    Column("researcher", String(200), nullable=True),
    Column("subject", String(80), nullable=True, index=True),
)

node = Table(
    "node",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("bundle", String(71), nullable=True),
)
"""One row: the node's active policy. Writers lock it first, so that they write one at a time."""

datasets = Table(
    "datasets",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("version", String(100), nullable=False, unique=True),
    Column("population", BigInteger, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("description", Text, nullable=False),
    Column("bundle", String(71), nullable=True),
    Column("revision", BigInteger, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("version", String(100), primary_key=True),
    Column("dataset", String(200), ForeignKey("datasets.name"), nullable=False),
)
"""Every version that was ever registered: its people's budget never starts again."""

budgets = Table(
    "budgets",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("filter", Text, nullable=False),
    Column("spent", Text, nullable=False),
    Column("reserved", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
)

dataset_budgets = Table(
    "dataset_budgets",
    metadata,
    Column("dataset", String(200), ForeignKey("datasets.name"), primary_key=True),
    Column("budget", String(200), ForeignKey("budgets.name"), primary_key=True),
    Column("position", Integer, nullable=False),
)

caps = Table(
    "caps",
    metadata,
    Column("budget", String(200), ForeignKey("budgets.name"), primary_key=True),
    Column("scope", String(20), primary_key=True),
    Column("subject", String(200), primary_key=True),
    Column("epsilon", String(40), nullable=False),
)

shares = Table(
    "shares",
    metadata,
    Column("budget", String(200), ForeignKey("budgets.name"), primary_key=True),
    Column("scope", String(20), primary_key=True),
    Column("subject", String(200), primary_key=True),
    Column("spent", Text, nullable=False),
    Column("reserved", Text, nullable=False),
)
"""What every researcher and organization has used of every budget."""

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(80), primary_key=True),
    Column("decision_id", String(80), nullable=False, unique=True),
    Column("dataset", String(200), ForeignKey("datasets.name"), nullable=False),
    Column("researcher", String(200), nullable=False),
    Column("organization", String(200), nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("mechanism", Text, nullable=False),
    Column("charges", Text, nullable=False),
    Column("rounds_started", BigInteger, nullable=False),
    Column("evaluation_started", Integer, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("dataset", String(200), primary_key=True),
    Column("researcher", String(200), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("epsilon", String(40), nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("researcher", String(200), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("request_digest", String(71), nullable=False),
    Column("run_id", String(80), nullable=False),
    UniqueConstraint("run_id"),
)

Index("ix_usage_researcher", usage.c.researcher)
