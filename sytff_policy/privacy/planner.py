"""Choosing a filter before a dataset's first request: what each choice would admit.

A filter and its order are fixed at registration, and an order that suits one workload starves
another: at (2, 1e-5) with q = 0.01 and z = 1 the order that suits the same noise without sampling
admits one round and the right one hundreds. The planner compares them on the owner's expected
workloads, with the very charges and capacities that the filters will use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from functools import cached_property
from typing import Any

from sytff_policy.canonical import decimal_text
from sytff_policy.privacy.base import InvalidFilter, Loss, PrivacyFilter
from sytff_policy.privacy.certificate import renyi_epsilon
from sytff_policy.privacy.events import Repeated
from sytff_policy.privacy.exact import MAX_FRACTIONAL_ORDER, UnboundedLoss, precise, round_up
from sytff_policy.privacy.filters import MAX_REQUESTS, SumFilter, make_filter
from sytff_policy.privacy.mechanisms import RunMechanism

ORDERS = (*range(2, 65), 80, 96, 128, 192, 256)
REFINED = 2
"""Around how many of the best integer orders the tenths are tried."""

CLEARLY_BETTER = Decimal("1.2")
"""What another kind must gain over the best Renyi filter to be recommended instead of it."""

INTEGER_PREFERRED = Decimal("0.99")
"""An integer order that admits this share of the best fractional one is recommended instead."""

MOST_ROUNDS = 10_000_000


@dataclass(frozen=True)
class Choice:
    """One filter and what it admits of each workload.

    Attributes:
      filter: The candidate.
      ratios: For each workload, how many times the budget holds the charge, with a fraction.
      admitted: For each workload, how many such runs fit the whole budget.
      epsilon_each: For each workload, the epsilon of one run on its own, conversion included;
        None when it has no finite one.
      cost_each: For each workload, the part of the budget's epsilon that one run takes.
      rounds: For each workload, how many of its rounds fit the whole budget in one run.
    """

    filter: PrivacyFilter
    ratios: tuple[Decimal, ...]
    admitted: tuple[int, ...]
    epsilon_each: tuple[Decimal | None, ...]
    cost_each: tuple[Decimal | None, ...]
    rounds: tuple[int, ...]

    @property
    def name(self) -> str:
        parameters = self.filter.parameters()
        if self.filter.kind == "rdp":
            return f"rdp, order {parameters['order']}"
        if self.filter.kind == "sum":
            return f"sum, {parameters['requests']} requests"
        return self.filter.kind

    def to_json(self) -> dict[str, Any]:
        def texts(values: tuple[Decimal | None, ...]) -> list[str | None]:
            return [None if value is None else decimal_text(value) for value in values]

        return {
            "filter": self.filter.to_json(),
            "admitted": list(self.admitted),
            "epsilon_each": texts(self.epsilon_each),
            "cost_each": texts(self.cost_each),
            "rounds": list(self.rounds),
        }


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
            self.choices[key] = _evaluate(made, self.workloads)

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
                runs = [_ratio(made, made.charge(w.event())) for w in self.workloads]
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
        return _evaluate(made, self.workloads)


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
    return _largest(fits, most, min(2 * most - 1, MAX_REQUESTS))


def _evaluate(made: PrivacyFilter, workloads: Sequence[RunMechanism]) -> Choice:
    rows = [_evaluate_one(made, workload) for workload in workloads]
    ratios, epsilons, costs, rounds = zip(*rows, strict=True)
    admitted = tuple(int(ratio) for ratio in ratios)
    return Choice(made, ratios, admitted, epsilons, costs, rounds)


def _evaluate_one(
    made: PrivacyFilter, workload: RunMechanism
) -> tuple[Decimal, Decimal | None, Decimal | None, int]:
    try:
        charge = made.charge(workload.event())
        if charge.is_zero():
            return Decimal(MOST_ROUNDS), Decimal(0), Decimal(0), MOST_ROUNDS
        ratio = _ratio(made, charge)
        with precise():
            cost = round_up(made.epsilon * charge.values[0] / made.capacity.values[0])
        return ratio, made.epsilon_of(charge), cost, _most_rounds(made, workload)
    except UnboundedLoss:
        return Decimal(0), None, None, 0


def _ratio(made: PrivacyFilter, charge: Loss) -> Decimal:
    pairs = zip(made.capacity.values, charge.values, strict=True)
    with precise():
        least = min(limit / cost for limit, cost in pairs if cost > 0)
        # Cut down, so that its whole part never counts a run that does not fit.
        return least.quantize(Decimal("1e-20"), rounding=ROUND_FLOOR)


def _most_rounds(made: PrivacyFilter, workload: RunMechanism) -> int:
    def charge(rounds: int) -> Loss:
        run = RunMechanism(
            rounds, workload.clients_per_round, workload.population, workload.noise_multiplier
        )
        return made.charge(run.event())

    def fits(rounds: int) -> bool:
        try:
            return made.admits(charge(rounds))
        except UnboundedLoss:
            return False

    if not fits(1):
        return 0
    # A guess that is exact but for roundings where charges add up over rounds; the search then
    # widens by steps, because a certificate is not cheap.
    guess = min(MOST_ROUNDS, max(1, int(_ratio(made, charge(1)))))
    if isinstance(made, SumFilter):
        guess = _renyi_rounds(made, workload)
    low, high, step = 1, MOST_ROUNDS, max(1, guess // 32)
    if fits(guess):
        low = guess
        while low + step <= MOST_ROUNDS and fits(low + step):
            low, step = low + step, 2 * step
        high = min(high, low + step - 1)
    else:
        high = guess - 1
    return _largest(fits, low, high)


def _renyi_rounds(made: SumFilter, workload: RunMechanism) -> int:
    """How many rounds fit by the Renyi bound alone, which is fast, and a lower bound."""

    def fits(rounds: int) -> bool:
        part = Repeated(rounds, workload.round_event)
        try:
            return renyi_epsilon((part,), made.request_delta) <= made.epsilon
        except UnboundedLoss:
            return False

    return _largest(fits, 1, MOST_ROUNDS)


def _largest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest number in low..high that fits; `low` does."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


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
