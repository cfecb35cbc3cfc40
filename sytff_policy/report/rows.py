"""Entries as rows: what is in an entry, and what its run's earlier entries say of it.

Everything comes from the hashed leaves. The database's own columns are for the node's look-ups;
whoever edits them could hide an entry from a filter that believed them.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

UTC = datetime.timezone.utc


@dataclass(frozen=True)
class Row:
    """One entry.

    Attributes:
      seq: Its number.
      time_ns: When, in nanoseconds of Unix time.
      kind: What it is.
      dataset: What it is about; empty if it is about none.
      researcher: Who asked; empty for what the node or an owner did.
      organization: The researcher's, if stated.
      decision_id: The decision that it is, or that its run follows from.
      run_id: The run.
      decision: `allow`, `deny` or `review`, for decisions.
      codes: Reasons of a decision; the code of a failure or a fault.
      status: How a settlement ended.
      epsilon: Of a decision: what the request costs on its own; None if unbounded.
      hash: Its leaf hash.
      body: Everything that the entry says.
    """

    seq: int
    time_ns: int
    kind: str
    dataset: str
    researcher: str
    organization: str
    decision_id: str
    run_id: str
    decision: str
    codes: tuple[str, ...]
    status: str
    epsilon: float | None
    hash: str
    body: dict[str, Any]

    @property
    def time(self) -> datetime.datetime:
        """When, in UTC, to the microsecond."""
        return datetime.datetime.fromtimestamp(self.time_ns // 1_000_000_000, UTC).replace(
            microsecond=self.time_ns % 1_000_000_000 // 1000
        )


@dataclass(frozen=True)
class _Asked:
    dataset: str
    researcher: str
    organization: str
    decision_id: str


_NOBODY = _Asked("", "", "", "")


def rows_of(entries: Iterable[tuple[str, str]]) -> Iterator[Row]:
    """Rows of (hash, leaf) pairs.

    Of a whole log, from its first entry, they say of each entry whose run it belongs to; of a part
    of it, only where the decision is in that part.

    Raises:
      ValueError: If a leaf is not what a log holds; `verify` says what is wrong with it.
    """
    for place, row in enumerate(read_rows(entries)):
        if row is None:
            raise ValueError(f"entry {place} is malformed: verify the ledger first")
        yield row


def read_rows(entries: Iterable[tuple[str, str]]) -> Iterator[Row | None]:
    """As `rows_of`, with None for a leaf that is not what a log holds."""
    decisions: dict[str, _Asked] = {}
    runs: dict[str, _Asked] = {}
    for stated, text in entries:
        try:
            leaf = json.loads(text, parse_constant=_refuse_constant)
            body = leaf["body"]
            asked = _asked(leaf["kind"], body, decisions, runs)
            row = _row(stated, leaf, body, asked)
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
            row = None
        yield row


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _asked(
    kind: str, body: dict[str, Any], decisions: dict[str, _Asked], runs: dict[str, _Asked]
) -> _Asked:
    identity, run_id = body.get("decision_id", ""), body.get("run_id", "")
    if kind == "decision":
        who = body["researcher"]
        organization = who.get("organization") or ""
        made = _Asked(body["dataset"], who["id"], organization, identity)
        decisions[identity] = made
        return made
    if kind == "reservation":
        runs[run_id] = decisions.get(identity, _Asked(body["dataset"], "", "", identity))
    if run_id:
        return runs.get(run_id, _NOBODY)
    return decisions.get(identity, _NOBODY)


def _row(stated: str, leaf: dict[str, Any], body: dict[str, Any], asked: _Asked) -> Row:
    kind = leaf["kind"]
    decided = kind == "decision"
    codes = [reason["code"] for reason in body["reasons"]] if decided else [body.get("code", "")]
    return Row(
        seq=leaf["seq"],
        time_ns=int(leaf["time_ns"]),
        kind=kind,
        dataset=body.get("dataset") or asked.dataset or body.get("budget", ""),
        researcher=asked.researcher,
        organization=asked.organization,
        decision_id=asked.decision_id,
        run_id=body.get("run_id", ""),
        decision=body["decision"] if decided else "",
        codes=tuple(code for code in codes if code),
        status=body["status"] if kind == "settlement" else body.get("outcome", ""),
        epsilon=body.get("cost", {}).get("epsilon") if decided else None,
        hash=stated,
        body=body,
    )
