"""Datasets in the book: registration, new versions, policies and grants."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sytff_policy.errors import InvalidInput, NotFound
from sytff_policy.ledger import budgets, log
from sytff_policy.ledger.errors import BudgetChanged
from sytff_policy.ledger.records import DatasetRecord, dataset_of, text
from sytff_policy.ledger.schema import datasets, node, versions
from sytff_policy.privacy import PrivacyFilter
from sytff_policy.privacy.exact import precise

_FIND = sa.select(datasets).where(datasets.c.name == sa.bindparam("name"))
_NODE_POLICY = sa.select(node.c.bundle).where(node.c.id == 1)


def find(connection: Connection, name: str) -> DatasetRecord:
    """The dataset called `name`.

    Raises:
      NotFound: If there is none; the error lists those that exist.
    """
    row = connection.execute(_FIND, {"name": name}).one_or_none()
    if row is None:
        names = connection.execute(sa.select(datasets.c.name)).scalars().all()
        raise NotFound("dataset", name, list(names))
    return dataset_of(row, budgets.of_dataset(connection, name))


def find_all(connection: Connection) -> list[DatasetRecord]:
    """All datasets, by name."""
    rows = connection.execute(sa.select(datasets).order_by(datasets.c.name)).all()
    return [dataset_of(row, budgets.of_dataset(connection, row.name)) for row in rows]


def register(
    connection: Connection,
    *,
    name: str,
    version: str,
    population: int,
    owner: str,
    description: dict[str, Any],
    privacy_filter: PrivacyFilter | None,
    share_with: Sequence[str] = (),
) -> log.Entry:
    """Registers a dataset with its budgets, both fixed for good.

    Args:
      connection: A connection that holds the write lock.
      name: Name of the dataset, and of its own budget if it gets one.
      version: Digest of its rows.
      population: Number of privacy units.
      owner: Who registers.
      description: What anyone may know of it.
      privacy_filter: Filter of a budget of its own; None if it only shares others'.
      share_with: Datasets over the same people: every budget that they are charged to is charged
        for this one too.
    """
    _require_new(connection, name, version)
    shared: list[str] = []
    for other in share_with:
        for record in find(connection, other).budgets:
            if record.name not in shared:
                shared.append(record.name)
    if privacy_filter is None and not shared:
        raise InvalidInput("--epsilon", "is needed: the dataset would have no budget")
    own = [] if privacy_filter is None else [name]
    made = privacy_filter or budgets.find(connection, shared[0]).filter
    body = {
        "dataset": name,
        "version": version,
        "population": population,
        "owner": owner,
        "description": description,
        "filter": made.to_json(),
    }
    if shared:
        body["budgets"] = [*own, *shared]
    entry = log.append(connection, "dataset.registered", body, dataset=name)
    connection.execute(
        datasets.insert().values(
            name=name,
            version=version,
            population=population,
            owner=owner,
            description=text(description),
            revision=0,
        )
    )
    connection.execute(versions.insert().values(version=version, dataset=name))
    if privacy_filter is not None:
        budgets.create(connection, name, privacy_filter)
    budgets.attach(connection, name, [*own, *shared])
    return entry


def new_version(
    connection: Connection,
    name: str,
    *,
    version: str,
    population: int,
    description: dict[str, Any],
    by: str,
) -> log.Entry:
    """Replaces a dataset's rows; its people keep what they have spent, and their budget.

    Requests that were decided on the version before are settled against that version's population.
    """
    record = find(connection, name)
    _require_new(connection, None, version)
    entry = log.append(
        connection,
        "dataset.version",
        {
            "dataset": name,
            "version": version,
            "previous": record.version,
            "population": population,
            "description": description,
            "by": by,
        },
        dataset=name,
    )
    connection.execute(versions.insert().values(version=version, dataset=name))
    _change(
        connection,
        record,
        version=version,
        population=population,
        description=text(description),
    )
    return entry


def grant(connection: Connection, name: str, amount: Decimal, *, by: str) -> log.Entry:
    """Adds `amount` (> 0) to the epsilon of a dataset's first budget; never taken back."""
    dataset = find(connection, name)
    record = dataset.budgets[0]
    with precise():
        after = record.filter.with_epsilon(record.filter.epsilon + amount)
    body = {
        "dataset": name,
        "amount": amount,
        "by": by,
        "before": record.filter.to_json(),
        "after": after.to_json(),
    }
    if record.name != name:
        body["budget"] = record.name
    entry = log.append(connection, "budget.granted", body, dataset=name)
    budgets.move(connection, record, filter=text(after.to_json()))
    return entry


def activate(
    connection: Connection, name: str, bundle: str, *, revision: str, by: str
) -> log.Entry:
    """Makes `bundle` (a digest) the dataset's policy."""
    record = find(connection, name)
    entry = log.append(
        connection,
        "policy.activated",
        {
            "dataset": name,
            "bundle": bundle,
            "revision": revision,
            "previous": record.bundle,
            "by": by,
        },
        dataset=name,
    )
    _change(connection, record, bundle=bundle)
    return entry


def note_node_policy(connection: Connection, bundle: str) -> None:
    """Records the operator's policy when it is not the one that decided before."""
    previous = connection.execute(_NODE_POLICY).scalar_one()
    if previous != bundle:
        log.append(connection, "node.policy", {"bundle": bundle, "previous": previous})
        connection.execute(node.update().where(node.c.id == 1).values(bundle=bundle))


def _require_new(connection: Connection, name: str | None, version: str) -> None:
    taken = connection.execute(sa.select(datasets.c.name).where(datasets.c.name == name)).scalar()
    problem = "a dataset of this name exists"
    if taken is None:
        taken = connection.execute(
            sa.select(versions.c.dataset).where(versions.c.version == version)
        ).scalar()
        problem = "this data is registered"
    if taken is not None:
        raise InvalidInput(
            "NAME",
            f"{problem} as {taken!r}: its people's budget cannot be started again",
            value=name or version,
            remedy="Grant the existing dataset more budget, or register data that is new.",
            code="dataset.exists",
        )


def _change(connection: Connection, record: DatasetRecord, **values: Any) -> None:
    result = connection.execute(
        datasets.update()
        .where((datasets.c.name == record.name) & (datasets.c.revision == record.revision))
        .values(revision=record.revision + 1, **values)
    )
    if result.rowcount != 1:
        raise BudgetChanged(f"dataset {record.name!r} changed during the transaction")
