"""Which entries an auditor wants to see."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from sytff_policy.errors import InvalidInput
from sytff_policy.report.rows import UTC, Row

DECISIONS = ("allow", "deny", "review")


@dataclass(frozen=True)
class Selection:
    """A conjunction: every part that is given must hold.

    Attributes:
      dataset: Name of the dataset.
      researcher: Id of the researcher.
      kind: Kind of entry, such as `settlement`.
      since: First instant, in nanoseconds of Unix time.
      until: First instant that is too late.
      decision: `allow`, `deny` or `review`; only decisions then.
      code: A reason's, a failure's or a fault's code; one that ends in `.` or `*` is a prefix.
    """

    dataset: str | None = None
    researcher: str | None = None
    kind: str | None = None
    since: int | None = None
    until: int | None = None
    decision: str | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        if self.decision is not None and self.decision not in DECISIONS:
            raise InvalidInput(
                "--decision", "is not a decision", value=self.decision, limit=DECISIONS
            )
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise InvalidInput("--until", "is not after --since")

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def matches(self, row: Row) -> bool:
        """Whether a row is wanted."""
        return (
            self.dataset in (None, row.dataset)
            and self.researcher in (None, row.researcher)
            and self.kind in (None, row.kind)
            and (self.since is None or row.time_ns >= self.since)
            and (self.until is None or row.time_ns < self.until)
            and self.decision in (None, row.decision)
            and (self.code is None or any(self._is_code(code) for code in row.codes))
        )

    def _is_code(self, code: str) -> bool:
        wanted = self.code or ""
        if wanted.endswith((".", "*")):
            return code.startswith(wanted.rstrip("*"))
        return code == wanted

    def describe(self) -> str:
        """The selection in words, for the head of a report."""
        parts = [
            f"{name} {value}"
            for name, value in (
                ("dataset", self.dataset),
                ("researcher", self.researcher),
                ("kind", self.kind),
                ("decision", self.decision),
                ("code", self.code),
            )
            if value is not None
        ]
        for name, value in (("from", self.since), ("before", self.until)):
            if value is not None:
                when = datetime.datetime.fromtimestamp(value / 1e9, UTC)
                parts.append(f"{name} {when:%Y-%m-%d %H:%M:%S} UTC")
        return ", ".join(parts) or "all entries"


def instant(field: str, text: str, *, end: bool = False) -> int:
    """An instant from a date or an ISO 8601 time, in nanoseconds of Unix time.

    Args:
      field: The option it comes from, for the error.
      text: `2026-05-01`, `2026-05-01T12:00`, with an offset or in UTC.
      end: Whether a bare date means the end of that day.

    Raises:
      InvalidInput: If it is none.
    """
    try:
        # Python 3.10 reads no Z.
        when = datetime.datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text.strip()))
    except ValueError:
        raise InvalidInput(
            field, "is not a time", value=text, limit="2026-05-01 or 2026-05-01T12:00:00Z"
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    if end and re.fullmatch(r"\s*\d{4}-\d{2}-\d{2}\s*", text):
        when += datetime.timedelta(days=1)
    whole = when - datetime.datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 1_000_000_000 + whole.microseconds * 1000
