"""The state that the entries so far make: of every budget, dataset, decision and run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

Share = tuple[str, str, str]
"""Budget, scope (`researcher` or `organization`), subject."""


class Part(NamedTuple):
    """One mechanism, `times` over; a Gaussian without sampling has no clients and no population."""

    times: int
    clients: int
    population: int
    noise: str


class FilterState(NamedTuple):
    """A filter's kind, parameter (the order, or the number of requests; else 0) and guarantee."""

    kind: str
    parameter: int | Decimal
    epsilon: Decimal
    delta: Decimal

    @property
    def zero(self) -> list[Decimal]:
        return [Decimal(0)] * (2 if self.kind == "sum" else 1)


@dataclass
class BudgetState:
    """A budget: its filter, and what is spent and reserved."""

    filter: FilterState
    spent: list[Decimal]
    reserved: list[Decimal]
    executed: Counter[Part] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        return {
            "filter": self.filter.kind,
            "epsilon": str(self.filter.epsilon),
            "spent": [str(value) for value in self.spent],
            "reserved": [str(value) for value in self.reserved],
        }


@dataclass
class DatasetState:
    """A dataset: the people of its version, its policy, and the budgets it is charged to."""

    version: str
    population: int
    budgets: tuple[str, ...]
    bundle: str | None = None


class DecisionState(NamedTuple):
    """What a reservation must find in the decision before it."""

    identity: str
    dataset: str
    mechanism: tuple[Part, ...] | None
    researcher: str
    organization: str


class ReviewState(NamedTuple):
    """A decision that waits for its owner, or had an answer: `waits`, `approved`, `refused`."""

    dataset: str
    request_digest: str
    researcher: str
    status: str


@dataclass
class RunState:
    """A run whose reservation is not settled: what it reserved, and how far it got."""

    dataset: str
    mechanism: tuple[Part, ...]
    charges: dict[str, list[Decimal]]
    researcher: str
    organization: str
    started: int = 0
    evaluated: bool = False
    faulty: bool = False

    @property
    def rounds(self) -> int:
        return self.mechanism[0].times

    @property
    def evaluation(self) -> bool:
        return len(self.mechanism) == 2


@dataclass
class State:
    """Everything.

    Attributes:
      open: Runs that are not settled.
      closed: Status of every run that is; `released` once its results left.
      decisions: Ids of all decisions.
      pending: The allowing decision whose reservation must be the next entry.
    """

    budgets: dict[str, BudgetState] = field(default_factory=dict)
    datasets: dict[str, DatasetState] = field(default_factory=dict)
    versions: set[str] = field(default_factory=set)
    caps: dict[Share, Decimal] = field(default_factory=dict)
    shares: dict[Share, tuple[list[Decimal], list[Decimal]]] = field(default_factory=dict)
    open: dict[str, RunState] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    decisions: set[str] = field(default_factory=set)
    reviews: dict[str, ReviewState] = field(default_factory=dict)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    pending: DecisionState | None = None
    node_bundle: str | None = None
