"""What a verification finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sytff_policy.ledger.verify.state import State

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
      budgets: For every budget the replayed spending, in its filter's units.
      tight: For every budget the epsilon of what was executed, by privacy loss distributions, or
        None where that was not to be had; only if it was asked for.
      signed: How many entries from the first a checkpoint covers.
      keys: The keys that signed it, as the log states them; the first is trusted only because the
        reader does.
      state: Everything that the entries make.
    """

    entries: int = 0
    faults: list[Fault] = field(default_factory=list)
    head: str = ZERO_HASH
    budgets: dict[str, dict[str, Any]] = field(default_factory=dict)
    tight: dict[str, float | None] | None = None
    signed: int = 0
    keys: list[str] = field(default_factory=list)
    state: State = field(default_factory=State, repr=False)

    @property
    def ok(self) -> bool:
        return self.entries > 0 and not self.faults

    @property
    def first(self) -> Fault | None:
        """The first fault by its entry; faults of the log as a whole come last."""
        return min(self.faults, key=lambda fault: (fault.seq < 0, fault.seq), default=None)

    def to_json(self) -> dict[str, Any]:
        document = {
            "verified": self.ok,
            "entries": self.entries,
            "head": self.head,
            "first": self.first.to_json() if self.first else None,
            "faults": [fault.to_json() for fault in self.faults],
            "budgets": self.budgets,
            "signed": self.signed,
            "keys": self.keys,
        }
        if self.tight is not None:
            document["tight"] = self.tight
        return document
