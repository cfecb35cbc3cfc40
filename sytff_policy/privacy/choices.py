"""One filter on expected workloads: what it admits of each, by its very charges and capacity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from sytff_policy.canonical import decimal_text
from sytff_policy.privacy.base import Loss, PrivacyFilter
from sytff_policy.privacy.certificate import renyi_epsilon
from sytff_policy.privacy.events import Repeated
from sytff_policy.privacy.exact import UnboundedLoss, precise, round_up
from sytff_policy.privacy.filters import SumFilter
from sytff_policy.privacy.mechanisms import RunMechanism

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
        return filter_name(self.filter)

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


def filter_name(made: PrivacyFilter) -> str:
    """`rdp, order 4`, `sum, 10 requests` or `zcdp`."""
    parameters = made.parameters()
    if made.kind == "rdp":
        return f"rdp, order {parameters['order']}"
    if made.kind == "sum":
        plural = "" if parameters["requests"] == 1 else "s"
        return f"sum, {parameters['requests']} request{plural}"
    return made.kind


def runs_that_fit(made: PrivacyFilter, workload: RunMechanism) -> int:
    """How many such runs the whole budget holds."""
    try:
        return int(runs_ratio(made, workload))
    except UnboundedLoss:
        return 0


def runs_ratio(made: PrivacyFilter, workload: RunMechanism) -> Decimal:
    """How many times the whole budget holds such a run, with a fraction, cut down.

    Raises:
      UnboundedLoss: If one run has no finite charge.
    """
    return _ratio(made, made.charge(workload.event()))


def evaluate(made: PrivacyFilter, workloads: Sequence[RunMechanism]) -> Choice:
    """What a filter admits of each workload."""
    rows = [_evaluate_one(made, workload) for workload in workloads]
    ratios, epsilons, costs, rounds = zip(*rows, strict=True)
    admitted = tuple(int(ratio) for ratio in ratios)
    return Choice(made, ratios, admitted, epsilons, costs, rounds)


def _evaluate_one(
    made: PrivacyFilter, workload: RunMechanism
) -> tuple[Decimal, Decimal | None, Decimal | None, int]:
    try:
        charge = made.charge(workload.event())
        ratio = _ratio(made, charge)
        if charge.is_zero():
            return ratio, Decimal(0), Decimal(0), MOST_ROUNDS
        with precise():
            cost = round_up(made.epsilon * charge.values[0] / made.capacity.values[0])
        return ratio, made.epsilon_of(charge), cost, _most_rounds(made, workload)
    except UnboundedLoss:
        return Decimal(0), None, None, 0


def _ratio(made: PrivacyFilter, charge: Loss) -> Decimal:
    if charge.is_zero():
        return Decimal(MOST_ROUNDS)
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
    return largest(fits, low, high)


def _renyi_rounds(made: SumFilter, workload: RunMechanism) -> int:
    """How many rounds fit by the Renyi bound alone, which is fast, and a lower bound."""

    def fits(rounds: int) -> bool:
        part = Repeated(rounds, workload.round_event)
        try:
            return renyi_epsilon((part,), made.request_delta) <= made.epsilon
        except UnboundedLoss:
            return False

    return largest(fits, 1, MOST_ROUNDS)


def largest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest number in low..high that fits; `low` does."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
