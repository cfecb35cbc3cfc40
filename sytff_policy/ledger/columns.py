"""The columns beside each leaf, held against the leaf.

Leaves are hashed; the columns by which the node and auditors look entries up are not. Whoever
changes a column hides a fault from the node, or an entry from a reader, without touching a hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sytff_policy.ledger.records import EVERYONE
from sytff_policy.ledger.schema import entries
from sytff_policy.ledger.verify import Fault


class Columns(NamedTuple):
    """What an entry can be looked up by."""

    kind: str
    dataset: str | None
    researcher: str | None
    subject: str | None


def check_columns(connection: Connection) -> Iterator[Fault]:
    """Every entry that would be looked up by something else than what it says."""
    query = sa.select(entries.c.seq, entries.c.leaf, *(entries.c[name] for name in Columns._fields))
    query = query.order_by(entries.c.seq).execution_options(yield_per=1000)
    asked: dict[str, tuple[str | None, str | None]] = {}
    for row in connection.execute(query):
        try:
            expected = _expected(json.loads(row.leaf), asked)
        except (ValueError, KeyError, TypeError, AttributeError):
            # The verifier says what is wrong with such a leaf.
            continue
        found = Columns(row.kind, row.dataset, row.researcher, row.subject)
        for name, stated, meant in zip(Columns._fields, found, expected, strict=True):
            if stated != meant:
                message = f"its column {name!r} is {stated!r}, and its leaf says {meant!r}"
                yield Fault(row.seq, "verify.column", message)


def _expected(leaf: dict[str, Any], asked: dict[str, tuple[str | None, str | None]]) -> Columns:
    """The columns that a leaf is stored with.

    Args:
      leaf: The leaf.
      asked: Dataset and researcher of every decision and run so far; updated.
    """
    kind, body = leaf["kind"], leaf["body"]
    subject = body.get("run_id") or body.get("decision_id")
    if kind == "decision":
        asked[subject] = (body["dataset"], body["researcher"]["id"])
    elif kind == "reservation":
        asked[subject] = asked.get(body["decision_id"], (body["dataset"], None))
    elif kind == "cap.set":
        named = body["scope"] == "researcher" and body["subject"] != EVERYONE
        return Columns(kind, body["budget"], body["subject"] if named else None, None)
    elif kind == "review.resolved":
        return Columns(kind, body["dataset"], None, subject)
    elif subject is None:
        return Columns(kind, body.get("dataset"), None, None)
    dataset, researcher = asked.get(subject, (body.get("dataset"), None))
    return Columns(kind, dataset, researcher, subject)
