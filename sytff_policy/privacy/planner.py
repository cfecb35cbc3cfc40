"""Choosing a filter before a dataset's first request: what each choice would admit.

A filter and its order are fixed at registration, and an order that suits one workload starves
another: at (2, 1e-5) with q = 0.01 and z = 1 the order that suits the same noise without sampling
admits one round and the right one hundreds. The planner compares them on the owner's expected
workloads, with the very charges and capacities that the filters will use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from sytff_policy.canonical import decimal_text
from sytff_policy.privacy.base import InvalidFilter
from sytff_policy.privacy.choices import Choice, evaluate, largest, runs_ratio
from sytff_policy.privacy.exact import MAX_FRACTIONAL_ORDER, UnboundedLoss, precise
from sytff_policy.privacy.filters import MAX_REQUESTS, SumFilter, make_filter
from sytff_policy.privacy.mechanisms import RunMechanism

ORDERS = (*range(2, 65), 80, 96, 128, 192, 256)
REFINED = 2
"""Around how many of the best integer orders the tenths are tried."""

CLEARLY_BETTER = Decimal("1.2")
"""What another kind must gain over the best Renyi filter to be recommended instead of it."""

INTEGER_PREFERRED = Decimal("0.99")
"""An integer order that admits this share of the best fractional one is recommended instead."""


@dataclass(frozen=True)
class Plan:
    """All choices, best first, and the recommended one.

    Attributes:
      workloads: The runs that were expected.
      choices: Every choice that can be made, ranked.
      naive: The textbook order 1 + 2 ln(1/delta) / epsilon, which forgets sampling; None where
        it is out of range.
      best: The recommended choice.
    """

    workloads: tuple[RunMechanism, ...]
    choices: tuple[Choice, ...]
    naive: Choice | None
    best: Choice

    def best_of(self, kind: str) -> Choice | None:
        """The best choice of one filter kind, if that kind can be chosen at all."""
        return next((choice for choice in self.choices if choice.filter.kind == kind), None)

    @cached_property
    def why(self) -> str:
        """Why `best` is recommended, in a few sentences."""
        lines = [f"{self.best.name}: it admits {_counts(self.best)}."]
        others = [self.best_of(kind) for kind in ("rdp", "zcdp", "sum")]
        for other in others:
            if other is not None and other.filter.kind != self.best.filter.kind:
                lines.append(f"{other.name} would admit {_counts(other)}.")
        if self.naive is not None and self.naive.filter.to_json() != self.best.filter.to_json():
            lines.append(
                f"{self.naive.name}, the textbook's 1 + 2 ln(1/delta) / epsilon, would admit "
                f"{_counts(self.naive)}."
            )
        if self.best.filter.kind == "rdp":
            lines.append("A Renyi filter also leaves any number of smaller requests possible.")
        if isinstance(self.best.filter, SumFilter):
            lines.append(f"No more than {self.best.filter.requests} requests, however small, fit.")
        return " ".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "workloads": [_workload_json(workload) for workload in self.workloads],
            "recommended": self.best.to_json(),
            "why": self.why,
            "textbook": None if self.naive is None else self.naive.to_json(),
            "choices": [choice.to_json() for choice in self.choices],
        }


def plan(
    epsilon: Decimal,
    delta: Decimal,
    workloads: Sequence[RunMechanism],
    *,
    sum_requests: int | None = None,
) -> Plan:
    """Compares every filter and order on the expected workloads.

    Choices are ranked by the workload that they admit least of, relative to the best choice for
    that workload, so that no expected workload is starved. A Renyi filter is recommended unless
    another kind admits a fifth more: it alone keeps amplification by sampling and any number of
    requests.

    Args:
      epsilon: The budget.
      delta: The budget's delta.
      workloads: At least one expected run.
      sum_requests: Requests that a `sum` filter shares delta over; planned if not given.

    Raises:
      InvalidFilter: If no filter admits anything at this (epsilon, delta).
    """
    if not workloads:
        raise ValueError("a plan needs at least one workload")
    planner = _Planner(epsilon, delta, tuple(workloads))
    planner.consider(("rdp", {"order": order}) for order in ORDERS)
    for choice in planner.ranked("rdp")[:REFINED]:
        planner.consider(("rdp", {"order": order}) for order in _tenths_around(choice))
    planner.consider([("zcdp", {})])
    if sum_requests is None:
        sum_requests = planner.sum_requests()
    planner.consider([("sum", {"requests": sum_requests})])
    if not planner.choices:
        raise InvalidFilter(f"no filter admits anything at epsilon {epsilon} and delta {delta}")
    choices = tuple(planner.ranked())
    renyi = next((choice for choice in choices if choice.filter.kind == "rdp"), None)
    best = choices[0]
    if renyi is not None and planner.score(best) < CLEARLY_BETTER * planner.score(renyi):
        whole = (
            c for c in planner.ranked("rdp") if isinstance(c.filter.parameters()["order"], int)
        )
        integer = next(whole, renyi)
        close = planner.score(integer) >= INTEGER_PREFERRED * planner.score(renyi)
        best = integer if close else renyi
    return Plan(tuple(workloads), choices, planner.naive(), best)


@dataclass
class _Planner:
    epsilon: Decimal
    delta: Decimal
    workloads: tuple[RunMechanism, ...]
    choices: dict[str, Choice] = field(default_factory=dict)

    def consider(self, candidates: Iterable[tuple[str, dict[str, Any]]]) -> None:
        for kind, parameters in candidates:
            key = f"{kind} {parameters}"
            if key in self.choices:
                continue
            try:
                made = make_filter(kind, self.epsilon, self.delta, **parameters)
            except InvalidFilter:
                continue
            self.choices[key] = evaluate(made, self.workloads)

    def ranked(self, kind: str | None = None) -> list[Choice]:
        choices = [c for c in self.choices.values() if kind is None or c.filter.kind == kind]
        return sorted(choices, key=self.score, reverse=True)

    def score(self, choice: Choice) -> Decimal:
        """The least share of any workload, relative to the best choice for it."""
        with precise():
            return min(
                ratio / most if most > 0 else Decimal(0)
                for ratio, most in zip(choice.ratios, self._most, strict=True)
            )

    @property
    def _most(self) -> list[Decimal]:
        every = [choice.ratios for choice in self.choices.values()]
        return [max(ratios[i] for ratios in every) for i in range(len(self.workloads))]

    def sum_requests(self) -> int:
        """The number of requests to share delta over that starves no workload."""
        best = [_best_sharing(self.epsilon, self.delta, w) for w in self.workloads]

        def least(requests: int) -> Decimal:
            try:
                made = SumFilter(self.epsilon, self.delta, requests)
                runs = [runs_ratio(made, w) for w in self.workloads]
            except (UnboundedLoss, InvalidFilter):
                return Decimal(0)
            return min(ratio / most for ratio, most in zip(runs, best, strict=True))

        return max(sorted(set(best)), key=least) if len(set(best)) > 1 else best[0]

    def naive(self) -> Choice | None:
        """The textbook's order on these workloads, in tenths."""
        with precise():
            order = (1 - 2 * self.delta.ln() / self.epsilon).quantize(Decimal("0.1"))
        if order >= MAX_FRACTIONAL_ORDER:
            order = order.to_integral_value()
        try:
            made = make_filter("rdp", self.epsilon, self.delta, order=order)
        except InvalidFilter:
            return None
        return evaluate(made, self.workloads)


def _tenths_around(choice: Choice) -> list[Decimal]:
    order = Decimal(choice.filter.parameters()["order"])
    tenths = [order + Decimal(step) / 10 for step in range(-9, 10) if step]
    return [tenth for tenth in tenths if 2 < tenth < MAX_FRACTIONAL_ORDER]


def _best_sharing(epsilon: Decimal, delta: Decimal, workload: RunMechanism) -> int:
    """The most requests m of which all fit when delta is shared over m."""

    def fits(requests: int) -> bool:
        try:
            made = SumFilter(epsilon, delta, requests)
            return requests * made.charge(workload.event()).values[0] <= epsilon
        except (UnboundedLoss, InvalidFilter):
            return False

    most = 1
    while most < MAX_REQUESTS and fits(2 * most):
        most *= 2
    return largest(fits, most, min(2 * most - 1, MAX_REQUESTS))


def _counts(choice: Choice) -> str:
    parts = [
        f"{runs} of run {number} (or one of {rounds} rounds)"
        for number, (runs, rounds) in enumerate(
            zip(choice.admitted, choice.rounds, strict=True), start=1
        )
    ]
    return " or ".join(parts)


def _workload_json(workload: RunMechanism) -> dict[str, Any]:
    evaluation = workload.evaluation_noise
    return {
        "rounds": workload.rounds,
        "clients_per_round": workload.clients_per_round,
        "population": workload.population,
        "noise_multiplier": decimal_text(workload.noise_multiplier),
        "evaluation_noise": None if evaluation is None else decimal_text(evaluation),
    }
