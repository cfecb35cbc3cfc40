"""Budgets that datasets share, caps inside them, versions of a dataset, and the writers' lock."""

import json
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create()
    connection = op.get_bind()
    connection.execute(sa.text("INSERT INTO node (id, bundle) VALUES (1, NULL)"))
    _move_budgets(connection)
    _move_runs(connection)
    for column in ("filter", "spent", "reserved"):
        op.execute(f"ALTER TABLE datasets DROP COLUMN {column}")
    op.execute("ALTER TABLE runs DROP COLUMN charge")


def downgrade() -> None:
    raise RuntimeError("the ledger is append-only: there is no way back; restore a backup instead")


def _create() -> None:
    op.create_table(
        "node",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("bundle", sa.String(71), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_node"),
    )
    op.create_table(
        "versions",
        sa.Column("version", sa.String(100), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_versions"),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.name"], name="fk_versions_dataset"),
    )
    op.create_table(
        "budgets",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("filter", sa.Text, nullable=False),
        sa.Column("spent", sa.Text, nullable=False),
        sa.Column("reserved", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_budgets"),
    )
    op.create_table(
        "dataset_budgets",
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("budget", sa.String(200), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("dataset", "budget", name="pk_dataset_budgets"),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.name"], name="fk_dataset_budgets_dataset"),
        sa.ForeignKeyConstraint(["budget"], ["budgets.name"], name="fk_dataset_budgets_budget"),
    )
    for name, values in (
        ("caps", [sa.Column("epsilon", sa.String(40), nullable=False)]),
        (
            "shares",
            [
                sa.Column("spent", sa.Text, nullable=False),
                sa.Column("reserved", sa.Text, nullable=False),
            ],
        ),
    ):
        op.create_table(
            name,
            sa.Column("budget", sa.String(200), nullable=False),
            sa.Column("scope", sa.String(20), nullable=False),
            sa.Column("subject", sa.String(200), nullable=False),
            *values,
            sa.PrimaryKeyConstraint("budget", "scope", "subject", name=f"pk_{name}"),
            sa.ForeignKeyConstraint(["budget"], ["budgets.name"], name=f"fk_{name}_budget"),
        )
    for column in (sa.Column("organization", sa.String(200)), sa.Column("charges", sa.Text)):
        column.nullable, column.server_default = False, sa.DefaultClause("")
        op.add_column("runs", column)


def _move_budgets(connection: sa.Connection) -> None:
    """Every dataset's budget becomes a budget of its name."""
    for statement in (
        "INSERT INTO budgets (name, filter, spent, reserved, revision) "
        "SELECT name, filter, spent, reserved, revision FROM datasets",
        "INSERT INTO dataset_budgets (dataset, budget, position) "
        "SELECT name, name, 0 FROM datasets",
        "INSERT INTO versions (version, dataset) SELECT version, name FROM datasets",
    ):
        connection.execute(sa.text(statement))
    for row in connection.execute(sa.text("SELECT name, filter FROM budgets")).all():
        # What was fixed without being named is named from now on.
        named = {**json.loads(row.filter), "neighbouring_relation": "add_or_remove_one"}
        if named["kind"] == "sum":
            named["certificate"] = "pld-1"
        connection.execute(
            sa.text("UPDATE budgets SET filter = :f WHERE name = :n"),
            {"f": json.dumps(named, separators=(",", ":"), sort_keys=True), "n": row.name},
        )


def _move_runs(connection: sa.Connection) -> None:
    """Charges by budget, and the shares of researchers and organizations, from the entries."""
    shares: dict[tuple[str, str, str], tuple[list[Decimal], list[Decimal]]] = {}
    rows = connection.execute(
        sa.text("SELECT run_id, decision_id, dataset, researcher, state, charge FROM runs")
    ).all()
    for row in rows:
        charge = json.loads(row.charge)
        asked_by = _body(connection, "decision", row.decision_id).get("researcher", {})
        organization = asked_by.get("organization", "") if isinstance(asked_by, dict) else ""
        connection.execute(
            sa.text("UPDATE runs SET charges = :c, organization = :o WHERE run_id = :r"),
            {
                "c": json.dumps({row.dataset: charge}, separators=(",", ":")),
                "o": organization,
                "r": row.run_id,
            },
        )
        spent = row.state != "reserved"
        if spent:
            charge = _body(connection, "settlement", row.run_id)["charge"]
        subjects = [("researcher", row.researcher), ("organization", organization)]
        for scope, subject in subjects:
            if subject:
                zero = [Decimal(0)] * len(charge)
                pair = shares.setdefault((row.dataset, scope, subject), (zero, list(zero)))
                side = pair[0 if spent else 1]
                for place, value in enumerate(charge):
                    side[place] += Decimal(value)
    for (budget, scope, subject), (spent_sum, reserved_sum) in shares.items():
        connection.execute(
            sa.text("INSERT INTO shares VALUES (:b, :s, :u, :spent, :reserved)"),
            {
                "b": budget,
                "s": scope,
                "u": subject,
                "spent": _text(spent_sum),
                "reserved": _text(reserved_sum),
            },
        )


def _body(connection: sa.Connection, kind: str, subject: str) -> dict[str, Any]:
    leaf = connection.execute(
        sa.text("SELECT leaf FROM entries WHERE kind = :k AND subject = :s"),
        {"k": kind, "s": subject},
    ).scalar_one()
    body: dict[str, Any] = json.loads(leaf)["body"]
    return body


def _text(values: list[Decimal]) -> str:
    texts = [format(value, "f") for value in values]
    texts = [text.rstrip("0").rstrip(".") if "." in text else text for text in texts]
    return json.dumps(texts, separators=(",", ":"))
