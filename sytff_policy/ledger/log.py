"""The append-only log: leaves, their hashes and their order.

A leaf is the canonical JSON of `{"v", "seq", "time_ns", "prev", "kind", "body"}`. Its hash is
SHA-256 over a zero byte and the leaf, the leaf hash of RFC 9162, so that a Merkle tree over the
same leaves needs no second format. `prev` is the previous leaf's hash.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sytff_policy.canonical import DIGEST_PREFIX, canonical_bytes
from sytff_policy.ledger.schema import entries

LEAF_VERSION = 1
LAST_ENTRY = "sytff_last_entry"
"""Where a connection keeps the entry that its transaction appended; emptied when one begins."""

_APPEND = entries.insert()
_NEWEST = (
    sa.select(entries.c.seq, entries.c.hash, entries.c.leaf).order_by(entries.c.seq.desc()).limit(1)
)
ORIGIN = DIGEST_PREFIX + "0" * 64
"""`prev` of the first leaf."""


@dataclass(frozen=True)
class Entry:
    """One entry of the log."""

    seq: int
    hash: str
    leaf: str

    @property
    def content(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.leaf)
        return document

    @property
    def kind(self) -> str:
        return str(self.content["kind"])

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = self.content["body"]
        return body

    def to_json(self) -> dict[str, Any]:
        return {"hash": self.hash, "leaf": self.content}

    def export_line(self) -> bytes:
        """The entry's line of an export, with the stored leaf as it is.

        Stored leaves are canonical; what is not must be found by who verifies the export.
        """
        return f'{{"hash":"{self.hash}","leaf":{self.leaf}}}\n'.encode()


def leaf_hash(leaf: bytes) -> str:
    """RFC 9162 leaf hash, as `sha256:<hex>`."""
    return DIGEST_PREFIX + hashlib.sha256(b"\x00" + leaf).hexdigest()


def append(
    connection: Connection,
    kind: str,
    body: dict[str, Any],
    *,
    dataset: str | None = None,
    researcher: str | None = None,
    subject: str | None = None,
) -> Entry:
    """Appends one entry inside the caller's write transaction.

    Args:
      connection: A connection that holds the write lock.
      kind: Entry kind, such as `decision`.
      body: JSON-like; exact decimals become strings.
      dataset: Name of the dataset it is about; for look-ups alone.
      researcher: Who asked; for look-ups alone.
      subject: Decision or run id; for look-ups alone.
    """
    last: Entry | None = connection.info.get(LAST_ENTRY)
    if last is None:
        row = connection.execute(_NEWEST).one_or_none()
        last = None if row is None else Entry(row.seq, row.hash, row.leaf)
    seq = 0 if last is None else last.seq + 1
    previous_time = 0 if last is None else int(last.content["time_ns"])
    leaf = canonical_bytes(
        {
            "v": LEAF_VERSION,
            "seq": seq,
            # A string, because RFC 8785 numbers are doubles; never before the previous entry.
            "time_ns": str(max(time.time_ns(), previous_time)),
            "prev": ORIGIN if last is None else last.hash,
            "kind": kind,
            "body": body,
        }
    )
    entry = Entry(seq, leaf_hash(leaf), leaf.decode())
    connection.execute(
        _APPEND,
        {
            "seq": entry.seq,
            "hash": entry.hash,
            "leaf": entry.leaf,
            "kind": kind,
            "dataset": dataset,
            "researcher": researcher,
            "subject": subject,
        },
    )
    connection.info[LAST_ENTRY] = entry
    return entry


def read(
    connection: Connection,
    *,
    kind: str | None = None,
    dataset: str | None = None,
    researcher: str | None = None,
    subject: str | None = None,
    start: int = 0,
    limit: int | None = None,
    newest_first: bool = False,
) -> Iterator[Entry]:
    """Entries in order, filtered, streamed."""
    order = entries.c.seq.desc() if newest_first else entries.c.seq
    query = sa.select(entries.c.seq, entries.c.hash, entries.c.leaf).order_by(order)
    query = query.where(entries.c.seq >= start)
    wanted = {"kind": kind, "dataset": dataset, "researcher": researcher, "subject": subject}
    for column, value in wanted.items():
        if value is not None:
            query = query.where(entries.c[column] == value)
    if limit is not None:
        query = query.limit(limit)
    if limit is None and subject is None:
        # Of the statement, not of the connection: what comes after it must not be streamed.
        query = query.execution_options(yield_per=1000)
    with connection.execute(query) as rows:
        for row in rows:
            yield Entry(row.seq, row.hash, row.leaf)
