"""Budgets in the book: what several datasets may share, and the caps inside.

A budget belongs to people. Datasets over the same people are attached to the same budget, and a
request on any of them is charged to every budget of its dataset, or to none. Inside a budget the
use of every researcher and organization is kept, so that a cap counts what came before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sytff_policy.canonical import decimal_text
from sytff_policy.errors import InvalidInput, NotFound
from sytff_policy.ledger import log
from sytff_policy.ledger.errors import BudgetChanged
from sytff_policy.ledger.records import (
    EVERYONE,
    SCOPES,
    BudgetRecord,
    Limit,
    Scope,
    budget_of,
    text,
)
from sytff_policy.ledger.schema import budgets, caps, dataset_budgets, shares
from sytff_policy.privacy import Loss, PrivacyFilter
from sytff_policy.privacy.base import InvalidFilter

# Statements of every decision, made once: making them takes longer than running them.
_OF_DATASET = (
    sa.select(budgets)
    .join(dataset_budgets, dataset_budgets.c.budget == budgets.c.name)
    .where(dataset_budgets.c.dataset == sa.bindparam("dataset"))
    .order_by(dataset_budgets.c.position)
)
_MOVE = (
    budgets.update()
    .where((budgets.c.name == sa.bindparam("of")) & (budgets.c.revision == sa.bindparam("at")))
    .values(
        revision=sa.bindparam("next"),
        filter=sa.bindparam("filter"),
        spent=sa.bindparam("spent"),
        reserved=sa.bindparam("reserved"),
    )
)
_CAPS = sa.select(caps).where(caps.c.budget == sa.bindparam("budget"))
_OF_SUBJECT = (
    (shares.c.budget == sa.bindparam("of"))
    & (shares.c.scope == sa.bindparam("by"))
    & (shares.c.subject == sa.bindparam("who"))
)
_SHARE = sa.select(shares.c.spent, shares.c.reserved).where(_OF_SUBJECT)
_MOVE_SHARE = (
    shares.update()
    .where(_OF_SUBJECT)
    .values(spent=sa.bindparam("spent"), reserved=sa.bindparam("reserved"))
)
_ADD_SHARE = shares.insert()


def of_dataset(connection: Connection, dataset: str) -> tuple[BudgetRecord, ...]:
    """The budgets that a dataset's requests are charged to, in their order."""
    rows = connection.execute(_OF_DATASET, {"dataset": dataset}).all()
    return tuple(budget_of(row) for row in rows)


def find(connection: Connection, name: str) -> BudgetRecord:
    """The budget called `name`.

    Raises:
      NotFound: If there is none; the error lists those that exist.
    """
    row = connection.execute(sa.select(budgets).where(budgets.c.name == name)).one_or_none()
    if row is None:
        names = connection.execute(sa.select(budgets.c.name)).scalars().all()
        raise NotFound("budget", name, list(names))
    return budget_of(row)


def find_all(connection: Connection) -> list[BudgetRecord]:
    """All budgets, by name."""
    rows = connection.execute(sa.select(budgets).order_by(budgets.c.name)).all()
    return [budget_of(row) for row in rows]


def create(connection: Connection, name: str, privacy_filter: PrivacyFilter) -> BudgetRecord:
    """A new budget of which nothing is spent."""
    zero = text(privacy_filter.zero.to_json())
    connection.execute(
        budgets.insert().values(
            name=name,
            filter=text(privacy_filter.to_json()),
            spent=zero,
            reserved=zero,
            revision=0,
        )
    )
    return BudgetRecord(name, privacy_filter, privacy_filter.zero, privacy_filter.zero, 0)


def attach(connection: Connection, dataset: str, names: Iterable[str]) -> None:
    """Charges a dataset's requests to these budgets from now on."""
    connection.execute(
        dataset_budgets.insert(),
        [
            {"dataset": dataset, "budget": name, "position": position}
            for position, name in enumerate(names)
        ],
    )


def move(connection: Connection, record: BudgetRecord, **values: Any) -> None:
    """Changes a budget that is still as it was read.

    Raises:
      BudgetChanged: If it is not.
    """
    result = connection.execute(
        _MOVE,
        {
            "of": record.name,
            "at": record.revision,
            "next": record.revision + 1,
            "filter": text(record.filter.to_json()),
            "spent": text(record.spent.to_json()),
            "reserved": text(record.reserved.to_json()),
            **values,
        },
    )
    if result.rowcount != 1:
        raise BudgetChanged(f"the budget of {record.name!r} moved during the transaction")


def set_cap(
    connection: Connection,
    budget: str,
    scope: Scope,
    subject: str,
    epsilon: Decimal | None,
    *,
    by: str,
) -> log.Entry:
    """Caps what one researcher or organization may use of a budget; None takes the cap away.

    Args:
      connection: A connection that holds the write lock.
      budget: Name of the budget.
      scope: `researcher` or `organization`.
      subject: Who is capped; `*` is each one who has no cap of their own.
      epsilon: The cap, at the budget's delta.
      by: Who sets it.
    """
    record = find(connection, budget)
    if scope not in SCOPES or not subject:
        raise InvalidInput("scope", "caps a researcher or an organization", value=scope)
    if epsilon is not None:
        _require_useful(record.filter, epsilon)
    key = (caps.c.budget == budget) & (caps.c.scope == scope) & (caps.c.subject == subject)
    previous = connection.execute(sa.select(caps.c.epsilon).where(key)).scalar()
    if epsilon is None and previous is None:
        raise NotFound("cap", f"{scope} {subject}")
    entry = log.append(
        connection,
        "cap.set",
        {
            "budget": budget,
            "scope": scope,
            "subject": subject,
            "epsilon": epsilon,
            "previous": previous,
            "by": by,
        },
        dataset=budget,
        researcher=subject if scope == "researcher" and subject != EVERYONE else None,
    )
    connection.execute(caps.delete().where(key))
    if epsilon is not None:
        connection.execute(
            caps.insert().values(
                budget=budget, scope=scope, subject=subject, epsilon=decimal_text(epsilon)
            )
        )
    # Judgements under way were made without it.
    move(connection, record)
    return entry


def limits_for(
    connection: Connection, records: Iterable[BudgetRecord], researcher: str, organization: str
) -> tuple[Limit, ...]:
    """The caps that hold for a researcher, with what is used of them."""
    found = []
    for record in records:
        set_caps = connection.execute(_CAPS, {"budget": record.name}).all()
        by_subject = {(row.scope, row.subject): row.epsilon for row in set_caps}
        for scope, subject in _subjects(researcher, organization):
            epsilon = by_subject.get((scope, subject), by_subject.get((scope, EVERYONE)))
            if epsilon is not None:
                cap = record.filter.with_epsilon(Decimal(epsilon))
                spent, reserved = share(connection, record, scope, subject)
                found.append(Limit(record.name, scope, subject, cap, spent + reserved))
    return tuple(found)


def share(
    connection: Connection, record: BudgetRecord, scope: Scope, subject: str
) -> tuple[Loss, Loss]:
    """What one researcher or organization has spent and reserved of a budget."""
    return _share(connection, record, scope, subject) or (record.filter.zero, record.filter.zero)


def _share(
    connection: Connection, record: BudgetRecord, scope: Scope, subject: str
) -> tuple[Loss, Loss] | None:
    key = {"of": record.name, "by": scope, "who": subject}
    row = connection.execute(_SHARE, key).one_or_none()
    if row is None:
        return None
    parse = record.filter.parse_loss
    return parse(json.loads(row.spent)), parse(json.loads(row.reserved))


def all_shares(connection: Connection) -> dict[tuple[str, str, str], tuple[list[str], list[str]]]:
    """Spent and reserved of every budget by scope and subject."""
    rows = connection.execute(sa.select(shares)).all()
    return {
        (row.budget, row.scope, row.subject): (json.loads(row.spent), json.loads(row.reserved))
        for row in rows
    }


def count_share(
    connection: Connection,
    record: BudgetRecord,
    researcher: str,
    organization: str,
    *,
    spend: Loss | None = None,
    hold: Loss | None = None,
    free: Loss | None = None,
) -> None:
    """Moves the shares of a researcher and an organization along with the budget."""
    for scope, subject in _subjects(researcher, organization):
        found = _share(connection, record, scope, subject)
        spent, reserved = found or (record.filter.zero, record.filter.zero)
        spent = spent + spend if spend is not None else spent
        reserved = reserved + hold if hold is not None else reserved
        reserved = reserved - free if free is not None else reserved
        values = {"spent": text(spent.to_json()), "reserved": text(reserved.to_json())}
        if found is None:
            key = {"budget": record.name, "scope": scope, "subject": subject}
            connection.execute(_ADD_SHARE, {**key, **values})
        else:
            key = {"of": record.name, "by": scope, "who": subject}
            connection.execute(_MOVE_SHARE, {**key, **values})


def _subjects(researcher: str, organization: str) -> list[tuple[Scope, str]]:
    pairs: list[tuple[Scope, str]] = [("researcher", researcher)]
    if organization:
        pairs.append(("organization", organization))
    return pairs


def _require_useful(privacy_filter: PrivacyFilter, epsilon: Decimal) -> None:
    try:
        privacy_filter.with_epsilon(epsilon)
    except InvalidFilter as error:
        raise InvalidInput(
            "--epsilon", f"is not a cap of this budget: {error}", value=epsilon
        ) from None
