"""The options by which auditors select entries, and the entries that they select."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from sytff_policy.errors import InvalidInput, NotFound, SytffError
from sytff_policy.ledger import Entry
from sytff_policy.report import Row, Selection, instant, read_rows

KINDS = (
    "genesis",
    "key.activated",
    "dataset.registered",
    "dataset.version",
    "budget.granted",
    "cap.set",
    "policy.activated",
    "node.policy",
    "decision",
    "review.resolved",
    "reservation",
    "progress",
    "settlement",
    "release",
    "fault",
    "checkpoint",
)

DatasetOption = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="Only of this dataset.")
]
ResearcherFilter = Annotated[
    str | None, typer.Option("--researcher", metavar="ID", help="Only of this researcher.")
]
KindOption = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="Only of this kind, such as settlement."),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="From this day or time (UTC) on: 2026-05-01, 2026-05-01T12:00Z.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="TIME", help="Up to the end of this day, or before this time (UTC)."
    ),
]
DecisionOption = Annotated[
    str | None,
    typer.Option(
        "--decision",
        metavar="OUTCOME",
        help="Only decisions with this outcome: allow, deny or review.",
    ),
]
CodeOption = Annotated[
    str | None,
    typer.Option(
        "--code",
        metavar="CODE",
        help="Only with this reason or failure code; `accountant.` is all that begin so.",
    ),
]


class Malformed(SytffError):
    """A ledger that cannot be read as rows."""

    code = "ledger.malformed"


def selected(
    dataset: str | None,
    researcher: str | None,
    kind: str | None,
    since: str | None,
    until: str | None,
    decision: str | None,
    code: str | None,
) -> Selection:
    """The selection that the options make.

    Raises:
      InvalidInput: If one of them means nothing.
    """
    if kind is not None and kind not in KINDS:
        raise InvalidInput("--kind", "is unknown", value=kind, limit=", ".join(KINDS))
    return Selection(
        dataset=dataset,
        researcher=researcher,
        kind=kind,
        since=None if since is None else instant("--since", since),
        until=None if until is None else instant("--until", until, end=True),
        decision=decision,
        code=code,
    )


def with_rows(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Row | None]]:
    """Every entry with its row; None for one that is not what a log holds."""
    shown, read = itertools.tee(entries)
    return zip(shown, read_rows((entry.hash, entry.leaf) for entry in read), strict=True)


def chosen(
    entries: Iterable[Entry], selection: Selection, *, strict: bool = False
) -> Iterator[tuple[Entry, Row]]:
    """The selected entries of a whole log, with their rows.

    Args:
      entries: All entries, in order.
      selection: What is wanted.
      strict: Whether an entry that cannot be read is an error; otherwise it is in no selection.

    Raises:
      Malformed: If one cannot be read, and `strict`.
      NotFound: After the last entry, if there never was a dataset of the selection's name.
    """
    names = set()
    for entry, row in with_rows(entries):
        if row is None and strict:
            raise Malformed(f"entry {entry.seq} is malformed: verify the ledger first")
        if row is None:
            continue
        if row.kind == "dataset.registered":
            names.add(row.dataset)
        if selection.matches(row):
            yield entry, row
    if selection.dataset is not None and selection.dataset not in names:
        raise NotFound("dataset", selection.dataset, sorted(names))
