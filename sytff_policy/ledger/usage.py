"""Who has asked how often, and which idempotency keys were used."""

from __future__ import annotations

import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sytff_policy.canonical import decimal_text
from sytff_policy.ledger.errors import IdempotencyConflict
from sytff_policy.ledger.records import Standing, UsageRecord
from sytff_policy.ledger.schema import idempotency, usage
from sytff_policy.privacy.exact import precise

_USAGE = sa.select(usage.c.day, usage.c.requests, usage.c.epsilon).where(
    (usage.c.dataset == sa.bindparam("of")) & (usage.c.researcher == sa.bindparam("by"))
)
_COUNT = (
    usage.update()
    .where(
        (usage.c.dataset == sa.bindparam("of"))
        & (usage.c.researcher == sa.bindparam("by"))
        & (usage.c.day == sa.bindparam("on"))
    )
    .values(requests=sa.bindparam("requests"), epsilon=sa.bindparam("epsilon"))
)


def used_by(
    connection: Connection, dataset: str, researcher: str, day: str
) -> tuple[UsageRecord, UsageRecord]:
    """Usage of a dataset by a researcher: on a UTC day, and in all."""
    rows = connection.execute(_USAGE, {"of": dataset, "by": researcher}).all()
    with precise():
        of_day, in_all = (
            UsageRecord(
                sum(row.requests for row in some),
                sum((Decimal(row.epsilon) for row in some), Decimal(0)),
            )
            for some in ([row for row in rows if row.day == day], rows)
        )
    return of_day, in_all


def today() -> str:
    """The current UTC day."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def count(connection: Connection, current: Standing, researcher: str, epsilon: Decimal) -> None:
    """Counts one request more on the day that `current` was read."""
    dataset, before = current.record.name, current.today
    with precise():
        counted = {
            "requests": before.requests + 1,
            "epsilon": decimal_text(before.epsilon + epsilon),
        }
    if before.requests:
        key = {"of": dataset, "by": researcher, "on": current.day}
        connection.execute(_COUNT, {**key, **counted})
    else:
        first = {"dataset": dataset, "researcher": researcher, "day": current.day}
        connection.execute(usage.insert(), {**first, **counted})


def claim(
    connection: Connection, researcher: str, key: str, request_digest: str, run_id: str
) -> None:
    check_key(connection, researcher, key, request_digest)
    connection.execute(
        idempotency.insert().values(
            researcher=researcher, key=key, request_digest=request_digest, run_id=run_id
        )
    )


def check_key(connection: Connection, researcher: str, key: str, request_digest: str) -> None:
    """Refuses an idempotency key that this researcher has used.

    Raises:
      IdempotencyConflict: Naming the run that the key started.
    """
    row = connection.execute(
        sa.select(idempotency).where(
            (idempotency.c.researcher == researcher) & (idempotency.c.key == key)
        )
    ).one_or_none()
    if row is not None:
        same = row.request_digest == request_digest
        raise IdempotencyConflict(key, row.run_id, same_request=same)
