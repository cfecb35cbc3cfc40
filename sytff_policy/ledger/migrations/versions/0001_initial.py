"""The log, the budget book, and the triggers that keep the log append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "entries",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("hash", sa.String(71), nullable=False),
        sa.Column("leaf", sa.Text, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=True),
        sa.Column("researcher", sa.String(200), nullable=True),
        sa.Column("subject", sa.String(80), nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_entries"),
        sa.UniqueConstraint("hash", name="uq_entries_hash"),
    )
    for column in ("kind", "dataset", "subject"):
        op.create_index(f"ix_entries_{column}", "entries", [column])
    op.create_table(
        "datasets",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.String(100), nullable=False),
        sa.Column("population", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("bundle", sa.String(71), nullable=True),
        sa.Column("filter", sa.Text, nullable=False),
        sa.Column("spent", sa.Text, nullable=False),
        sa.Column("reserved", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_datasets"),
        sa.UniqueConstraint("version", name="uq_datasets_version"),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(80), nullable=False),
        sa.Column("decision_id", sa.String(80), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("researcher", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("mechanism", sa.Text, nullable=False),
        sa.Column("charge", sa.Text, nullable=False),
        sa.Column("rounds_started", sa.BigInteger, nullable=False),
        sa.Column("evaluation_started", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
        sa.UniqueConstraint("decision_id", name="uq_runs_decision_id"),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.name"], name="fk_runs_dataset"),
    )
    op.create_index("ix_runs_state", "runs", ["state"])
    op.create_table(
        "usage",
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("researcher", sa.String(200), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("epsilon", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "researcher", "day", name="pk_usage"),
    )
    op.create_index("ix_usage_researcher", "usage", ["researcher"])
    op.create_table(
        "idempotency",
        sa.Column("researcher", sa.String(200), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("request_digest", sa.String(71), nullable=False),
        sa.Column("run_id", sa.String(80), nullable=False),
        sa.PrimaryKeyConstraint("researcher", "key", name="pk_idempotency"),
        sa.UniqueConstraint("run_id", name="uq_idempotency_run_id"),
    )
    _refuse_changes()


def downgrade() -> None:
    raise RuntimeError("the ledger is append-only: there is no way back; restore a backup instead")


def _refuse_changes() -> None:
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER entries_refuse_{verb.lower()} BEFORE {verb} ON entries "
                f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )
        # INSERT OR REPLACE deletes without firing delete triggers, so it needs one of its own.
        op.execute(
            "CREATE TRIGGER entries_refuse_replace BEFORE INSERT ON entries "
            "WHEN EXISTS (SELECT 1 FROM entries WHERE seq = NEW.seq OR hash = NEW.hash) "
            "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        )
    elif dialect == "postgresql":
        op.execute(
            "CREATE FUNCTION entries_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER entries_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON entries "
            "FOR EACH STATEMENT EXECUTE FUNCTION entries_refuse()"
        )
    else:
        raise RuntimeError(f"no append-only triggers for {dialect}: use SQLite or PostgreSQL")
