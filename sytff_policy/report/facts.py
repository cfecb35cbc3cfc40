"""What a report says, gathered from rows in one pass.

Losses are added in the filter's own units, exactly. Shares of a budget are shares of its filter's
capacity in those units, because epsilon itself does not add up; the epsilon of a total is what
can be claimed at the budget's delta.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sytff_policy.privacy import Loss, PrivacyFilter, filter_from_json
from sytff_policy.report.rows import Row
from sytff_policy.report.selection import Selection


@dataclass(frozen=True)
class Point:
    """A budget at one moment, in epsilon at its delta.

    Attributes:
      time_ns: When.
      spent: Spent so far.
      used: Spent and reserved.
      budget: Granted so far.
    """

    time_ns: int
    spent: Decimal
    used: Decimal
    budget: Decimal


@dataclass
class Use:
    """What one researcher, or one mechanism, used of a budget."""

    runs: int = 0
    rounds: int = 0
    loss: Loss | None = None

    def add(self, loss: Loss, rounds: int) -> None:
        self.runs += 1
        self.rounds += rounds
        self.loss = loss if self.loss is None else self.loss + loss


@dataclass
class BudgetFacts:
    """One budget.

    Attributes:
      name: Its name.
      filter: Its filter as it is now.
      spent: Spent so far.
      reserved: Reserved now.
      points: Its course.
      researchers: Settled use by researcher, of the selected entries.
      mechanisms: Settled use by mechanism, of the selected entries.
      datasets: Datasets that are charged to it.
    """

    name: str
    filter: PrivacyFilter
    spent: Loss
    reserved: Loss
    points: list[Point] = field(default_factory=list)
    researchers: dict[str, Use] = field(default_factory=lambda: defaultdict(Use))
    mechanisms: dict[str, Use] = field(default_factory=lambda: defaultdict(Use))
    datasets: list[str] = field(default_factory=list)

    @property
    def spent_epsilon(self) -> Decimal:
        return self.filter.epsilon_of(self.spent)

    @property
    def used_epsilon(self) -> Decimal:
        return self.filter.epsilon_of(self.spent + self.reserved)

    def share(self, loss: Loss | None) -> float:
        """Part of the filter's capacity that a loss takes: of its scarcest unit, from 0 to 1."""
        if loss is None:
            return 0.0
        pairs = zip(loss.values, self.filter.capacity.values, strict=True)
        return max(float(value / limit) for value, limit in pairs)

    def mark(self, time_ns: int) -> None:
        """Notes where it stands."""
        self.points.append(
            Point(time_ns, self.spent_epsilon, self.used_epsilon, self.filter.epsilon)
        )


@dataclass(frozen=True)
class ReleaseFacts:
    """Results that left the node."""

    row: Row
    rounds: int
    charge: tuple[str, ...]
    results: dict[str, str]


@dataclass
class Facts:
    """Everything that a report shows.

    Attributes:
      node_id: The node.
      budgets: By name.
      datasets: Latest registration or version of each dataset.
      decisions: Selected decisions by outcome.
      codes: Selected decisions by reason code; one decision may have several.
      runs: Selected settlements by status.
      faults: Selected faults and failures by code.
      releases: Selected releases, oldest first.
      open_runs: Runs that are not settled.
      first, last: Times of the first and the last selected entry, 0 if there is none.
      selected: How many entries are selected.
      entries: How many entries were read.
      stopped: Whether an entry that is not as a log's must be ended the reading.
    """

    node_id: str = ""
    budgets: dict[str, BudgetFacts] = field(default_factory=dict)
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    decisions: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    releases: list[ReleaseFacts] = field(default_factory=list)
    open_runs: set[str] = field(default_factory=set)
    first: int = 0
    last: int = 0
    selected: int = 0
    entries: int = 0
    stopped: bool = False


def gather(rows: Iterable[Row], selection: Selection | None = None) -> Facts:
    """Facts of a whole log.

    Args:
      rows: All rows of the log, in order.
      selection: Which entries are counted and listed. The course and the state of the budgets are
        always those of the whole log, or they would not be true.
    """
    gathering = _Gathering(selection or Selection())
    try:
        for row in rows:
            gathering.add(row)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError):
        # What cannot be told from a log that does not verify; the verification says why.
        gathering.facts.stopped = True
    return gathering.facts


class _Gathering:
    def __init__(self, selection: Selection) -> None:
        self.facts = Facts()
        self._selection = selection
        self._settled: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._steps = {
            "genesis": self._genesis,
            "dataset.registered": self._registered,
            "dataset.version": self._version,
            "budget.granted": self._granted,
            "decision": self._decision,
            "reservation": self._reservation,
            "settlement": self._settlement,
            "release": self._release,
            "fault": self._fault,
        }

    def add(self, row: Row) -> None:
        facts = self.facts
        facts.entries += 1
        wanted = self._selection.matches(row)
        if wanted:
            facts.selected += 1
            facts.first = facts.first or row.time_ns
            facts.last = row.time_ns
        step = self._steps.get(row.kind)
        if step is not None:
            step(row, wanted)

    def _genesis(self, row: Row, wanted: bool) -> None:
        self.facts.node_id = row.body["node_id"]

    def _registered(self, row: Row, wanted: bool) -> None:
        body = row.body
        names = body.get("budgets", [body["dataset"]])
        for name in names:
            if name not in self.facts.budgets:
                made = filter_from_json(body["filter"])
                budget = BudgetFacts(name, made, made.zero, made.zero)
                budget.mark(row.time_ns)
                self.facts.budgets[name] = budget
            self.facts.budgets[name].datasets.append(body["dataset"])
        self.facts.datasets[body["dataset"]] = {**body, "budgets": names}

    def _version(self, row: Row, wanted: bool) -> None:
        known = self.facts.datasets[row.body["dataset"]]
        self.facts.datasets[row.body["dataset"]] = {**known, **row.body}

    def _granted(self, row: Row, wanted: bool) -> None:
        budget = self.facts.budgets[row.body.get("budget", row.body["dataset"])]
        budget.filter = filter_from_json(row.body["after"])
        budget.mark(row.time_ns)

    def _decision(self, row: Row, wanted: bool) -> None:
        if wanted:
            self.facts.decisions[row.decision] += 1
            self.facts.codes.update(set(row.codes))

    def _reservation(self, row: Row, wanted: bool) -> None:
        self.facts.open_runs.add(row.run_id)
        for budget, state in self._charged(row):
            budget.spent = budget.filter.parse_loss(state["spent"])
            budget.reserved = budget.filter.parse_loss(state["reserved_after"])
            budget.mark(row.time_ns)

    def _settlement(self, row: Row, wanted: bool) -> None:
        rounds = row.body["event"]["of"][0]["count"]
        self.facts.open_runs.discard(row.run_id)
        self._settled[row.run_id] = (rounds, tuple(row.body["charge"]))
        for budget, state in self._charged(row):
            budget.spent = budget.filter.parse_loss(state["spent_after"])
            budget.reserved = budget.filter.parse_loss(state["reserved_after"])
            budget.mark(row.time_ns)
            if wanted:
                loss = budget.filter.parse_loss(state["charge"])
                budget.researchers[row.researcher or "unknown"].add(loss, rounds)
                budget.mechanisms[mechanism_label(row.body["event"])].add(loss, rounds)
        if wanted:
            self.facts.runs[row.status] += 1
            self.facts.faults.update(row.codes)

    def _release(self, row: Row, wanted: bool) -> None:
        if wanted:
            rounds, charge = self._settled.get(row.run_id, (0, ()))
            self.facts.releases.append(ReleaseFacts(row, rounds, charge, row.body["results"]))

    def _fault(self, row: Row, wanted: bool) -> None:
        if wanted:
            self.facts.faults.update(row.codes)

    def _charged(self, row: Row) -> Iterator[tuple[BudgetFacts, dict[str, Any]]]:
        first = row.body.get("budget", row.body["dataset"])
        yield self.facts.budgets[first], row.body
        for state in row.body.get("also", []):
            yield self.facts.budgets[state["budget"]], state


def mechanism_label(event: dict[str, Any]) -> str:
    """A run's mechanism in words, without its number of rounds.

    `30 of 3000 a round, noise 1; metrics 5`: sampled units of all, the noise multiplier, and the
    noise multiplier of the metrics if they were measured.
    """
    rounds, *evaluation = event["of"]
    inner = rounds["of"]
    if inner["event"] == "poisson_sampled":
        text = (
            f"{inner['clients']} of {inner['population']} a round, "
            f"noise {inner['of']['noise_multiplier']}"
        )
    else:
        text = f"everyone, noise {inner['noise_multiplier']}"
    if evaluation:
        text += f"; metrics {evaluation[0]['of']['noise_multiplier']}"
    return text
