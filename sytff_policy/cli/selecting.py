"""The options by which auditors select entries."""

from __future__ import annotations

from typing import Annotated

import typer

from sytff_policy.report import Selection, instant

DatasetOption = Annotated[str | None, typer.Option(help="Only of this dataset.")]
ResearcherFilter = Annotated[str | None, typer.Option(help="Only of this researcher.")]
KindOption = Annotated[str | None, typer.Option(help="Only of this kind, such as settlement.")]
SinceOption = Annotated[
    str | None, typer.Option(help="From this day or time on: 2026-05-01, 2026-05-01T12:00Z.")
]
UntilOption = Annotated[
    str | None, typer.Option(help="Up to the end of this day, or before this time.")
]
DecisionOption = Annotated[
    str | None, typer.Option(help="Only decisions with this outcome: allow, deny or review.")
]
CodeOption = Annotated[
    str | None,
    typer.Option(help="Only with this reason or failure code; `accountant.` is all that begin so."),
]


def selected(
    dataset: str | None,
    researcher: str | None,
    kind: str | None,
    since: str | None,
    until: str | None,
    decision: str | None,
    code: str | None,
) -> Selection:
    """The selection that the options make."""
    return Selection(
        dataset=dataset,
        researcher=researcher,
        kind=kind,
        since=None if since is None else instant("--since", since),
        until=None if until is None else instant("--until", until, end=True),
        decision=decision,
        code=code,
    )
