"""Choosing a filter before a dataset's first request: what each choice would admit.

A filter and its order are fixed at registration, and an order that suits one workload starves
another: at (2, 1e-5) with q = 0.01 and z = 1 an order made for unsampled noise admits a handful of
rounds and the right one hundreds. The planner compares them on the owner's expected workload.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sytff_policy.canonical import decimal_text
from sytff_policy.privacy.exact import UnboundedLoss
from sytff_policy.privacy.filters import InvalidFilter, PrivacyFilter, make_filter
from sytff_policy.privacy.mechanisms import RunMechanism

ORDERS = (*range(2, 65), 80, 96, 128, 192, 256)
DEFAULT_SUM_REQUESTS = 10


@dataclass(frozen=True)
class Choice:
    """One filter and what it admits of each workload.

    Attributes:
      filter: The candidate.
      admitted: For each workload, how many such runs fit the whole budget.
      epsilon_each: For each workload, the epsilon of the first such run, conversion included;
        None when it does not fit any budget.
      rounds: For each workload, how many of its rounds fit the whole budget in one run.
    """

    filter: PrivacyFilter
    admitted: tuple[int, ...]
    epsilon_each: tuple[Decimal | None, ...]
    rounds: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "filter": self.filter.to_json(),
            "admitted": list(self.admitted),
            "epsilon_each": [None if e is None else decimal_text(e) for e in self.epsilon_each],
            "rounds": list(self.rounds),
        }


@dataclass(frozen=True)
class Plan:
    """All choices, best first, and the recommended one."""

    workloads: tuple[RunMechanism, ...]
    choices: tuple[Choice, ...]

    @property
    def best(self) -> Choice:
        return self.choices[0]

    def best_of(self, kind: str) -> Choice | None:
        """The best choice of one filter kind, if that kind admits anything."""
        return next((choice for choice in self.choices if choice.filter.kind == kind), None)


def plan(
    epsilon: Decimal,
    delta: Decimal,
    workloads: Sequence[RunMechanism],
    *,
    sum_requests: int = DEFAULT_SUM_REQUESTS,
) -> Plan:
    """Compares every filter and order on the expected workloads.

    Choices are ranked by the workload that they admit least of, relative to the best choice for
    that workload, so that no expected workload is starved.

    Args:
      epsilon: The budget.
      delta: The budget's delta.
      workloads: At least one expected run.
      sum_requests: Requests that a `sum` filter shares delta over.

    Raises:
      InvalidFilter: If no filter admits anything at this (epsilon, delta).
    """
    if not workloads:
        raise ValueError("a plan needs at least one workload")
    candidates = [("rdp", {"order": order}) for order in ORDERS]
    candidates += [("zcdp", {}), ("sum", {"requests": sum_requests})]
    choices = []
    for kind, parameters in candidates:
        try:
            made = make_filter(kind, epsilon, delta, **parameters)
        except InvalidFilter:
            continue
        choices.append(_evaluate(made, workloads))
    if not choices:
        raise InvalidFilter(f"no filter admits anything at epsilon {epsilon} and delta {delta}")
    most = [max(1, *(choice.rounds[i] for choice in choices)) for i in range(len(workloads))]
    choices.sort(key=lambda choice: _rank(choice, most), reverse=True)
    return Plan(tuple(workloads), tuple(choices))


def _rank(choice: Choice, most: list[int]) -> tuple[float, int]:
    shares = [rounds / best for rounds, best in zip(choice.rounds, most, strict=True)]
    # RDP before the others on ties: it is the filter that keeps amplification across requests.
    return (min(shares), 1 if choice.filter.kind == "rdp" else 0)


def _evaluate(made: PrivacyFilter, workloads: Sequence[RunMechanism]) -> Choice:
    admitted: list[int] = []
    each: list[Decimal | None] = []
    rounds: list[int] = []
    for workload in workloads:
        try:
            charge = made.charge(workload.event())
            each.append(made.epsilon_of(charge))
            admitted.append(_multiples(made, charge.values))
            rounds.append(_most_rounds(made, workload))
        except UnboundedLoss:
            each.append(None)
            admitted.append(0)
            rounds.append(0)
    return Choice(made, tuple(admitted), tuple(each), tuple(rounds))


def _multiples(made: PrivacyFilter, charge: tuple[Decimal, ...]) -> int:
    pairs = zip(made.capacity.values, charge, strict=True)
    return min(int(limit // cost) for limit, cost in pairs if cost > 0)


def _most_rounds(made: PrivacyFilter, workload: RunMechanism) -> int:
    low, high = 0, 10_000_000
    while low < high:
        middle = (low + high + 1) // 2
        try:
            run = RunMechanism(
                middle, workload.clients_per_round, workload.population, workload.noise_multiplier
            )
            fits = made.admits(made.charge(run.event()))
        except UnboundedLoss:
            fits = False
        low, high = (middle, high) if fits else (low, middle - 1)
    return low
