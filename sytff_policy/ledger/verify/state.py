"""The state that the entries so far make: of every dataset's budget and of every run."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass
class DatasetState:
    """A dataset: its filter, and what is spent and reserved."""

    population: int
    kind: str
    epsilon: Decimal
    delta: Decimal
    parameter: int
    spent: list[Decimal]
    reserved: list[Decimal]
    bundle: str | None = None

    def summary(self) -> dict[str, Any]:
        return {
            "filter": self.kind,
            "epsilon": str(self.epsilon),
            "spent": [str(value) for value in self.spent],
            "reserved": [str(value) for value in self.reserved],
        }


@dataclass
class RunState:
    """A run: what it reserved, and how far it got."""

    dataset: str
    event: dict[str, Any]
    charge: list[Decimal]
    rounds: int
    evaluation: bool
    started: int = 0
    evaluated: bool = False
    status: str = "reserved"
