"""What a verification finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ZERO_HASH = "sha256:" + "0" * 64


class Wrong(Exception):
    """What is wrong with the entry at hand."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Fault:
    """Something wrong with one entry.

    Attributes:
      seq: Number of the entry by its position, from 0; -1 for the log as a whole.
      code: Stable code, such as `verify.hash`.
      message: What is wrong.
    """

    seq: int
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "code": self.code, "message": self.message}


@dataclass
class Report:
    """The outcome of a verification.

    Attributes:
      entries: How many entries were read.
      faults: All faults, in order.
      head: Hash of the last entry.
      budgets: For every dataset the replayed spending, in its filter's units.
    """

    entries: int = 0
    faults: list[Fault] = field(default_factory=list)
    head: str = ZERO_HASH
    budgets: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.entries > 0 and not self.faults

    def to_json(self) -> dict[str, Any]:
        return {
            "verified": self.ok,
            "entries": self.entries,
            "head": self.head,
            "faults": [fault.to_json() for fault in self.faults],
            "budgets": self.budgets,
        }
