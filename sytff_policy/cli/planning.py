"""Options about budgets: decimals, expected workloads, planned filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sytff_policy.errors import InvalidInput
from sytff_policy.privacy import (
    MAX_EPSILON,
    MAX_ORDER,
    MAX_REQUESTS,
    InvalidFilter,
    Plan,
    PrivacyFilter,
    RunMechanism,
    make_filter,
    on_grid,
    plan,
)

KINDS = ("rdp", "zcdp", "sum")
KEYS = ("rounds", "clients_per_round", "noise_multiplier", "evaluation_noise")
MAX_LENGTH = 64
MOST_ROUNDS = 1_000_000
MOST_PEOPLE = 1_000_000_000
MOST_NOISE = Decimal(1_000_000)
LEAST_DELTA = Decimal("1e-30")
STEP = Decimal("1e-9")
ORDERS = (2, 4, 8, 16, 32, 64, 128, MAX_ORDER)
"""Orders to try when the question is whether any admits something."""


@dataclass(frozen=True)
class Workload:
    """A run that an owner expects, before the population is known.

    Attributes:
      rounds, clients_per_round, noise_multiplier: As in a request.
      evaluation_noise: Noise multiplier of the evaluation; None for no evaluation.
    """

    rounds: int
    clients_per_round: int
    noise_multiplier: Decimal
    evaluation_noise: Decimal | None = None

    def on(self, population: int) -> RunMechanism:
        """The mechanism that the run is on a population.

        Raises:
          InvalidInput: If it asks for more people than there are.
        """
        if self.clients_per_round > population:
            raise InvalidInput(
                "--expect clients_per_round",
                "is more than there are people",
                value=self.clients_per_round,
                limit=f"1 to {population}",
            )
        return RunMechanism(
            self.rounds,
            self.clients_per_round,
            population,
            self.noise_multiplier,
            self.evaluation_noise,
        )


def decimal_option(flag: str, text: str) -> Decimal:
    """An exact positive number in its flag's range; epsilon is cut down to a multiple of 1e-9.

    Raises:
      InvalidInput: If it is none.
    """
    value = _decimal(flag, text)
    if not (value.is_finite() and value > 0):
        raise InvalidInput(flag, "must be a finite number above 0", value=text)
    if flag == "--delta":
        if not LEAST_DELTA <= value < 1:
            raise InvalidInput(
                flag,
                "is out of range",
                value=text,
                limit="1e-30 to below 1",
                remedy="It must be below 1 / people, such as 1e-5.",
            )
        return value
    most = MAX_EPSILON if flag == "--epsilon" else MOST_NOISE
    if not STEP <= value <= most:
        raise InvalidInput(flag, "is out of range", value=text, limit=f"1e-9 to {most}")
    return on_grid(value) if flag == "--epsilon" else value


def order_option(text: str | None) -> Decimal | None:
    """An order of the rdp filter, such as 8 or 4.5.

    Raises:
      InvalidInput: If it is none.
    """
    if text is None:
        return None
    value = _decimal("--order", text)
    if not (value.is_finite() and 2 <= value <= MAX_ORDER):
        raise InvalidInput("--order", "is out of range", value=text, limit=f"2 to {MAX_ORDER}")
    return value


def parse_workload(text: str) -> Workload:
    """A workload from `rounds=..,clients_per_round=..,noise_multiplier=..`.

    Raises:
      InvalidInput: Naming the part that is not understood.
    """
    values = _values(text)
    missing = [key for key in KEYS[:3] if key not in values]
    if missing:
        raise InvalidInput("--expect", f"lacks {missing[0]}", value=text)
    evaluation = values.get("evaluation_noise")
    return Workload(
        _count("rounds", values, MOST_ROUNDS),
        _count("clients_per_round", values, MOST_PEOPLE),
        decimal_option("--expect noise_multiplier", values["noise_multiplier"]),
        None if evaluation is None else decimal_option("--expect evaluation_noise", evaluation),
    )


def expected_workloads(expect: Sequence[Workload], population: int) -> list[RunMechanism]:
    """What is expected on a population; an ordinary run if nothing was said."""
    if not expect:
        clients = max(1, min(population, max(20, population // 50)))
        return [RunMechanism(100, clients, population, Decimal(1), Decimal(5))]
    return [workload.on(population) for workload in expect]


def planned(
    epsilon: Decimal, delta: Decimal, workloads: list[RunMechanism], *, requests: int | None = None
) -> Plan:
    """The plan for a budget, which must be a promise for this many people.

    Raises:
      InvalidInput: If it is not, or no filter admits anything.
    """
    _check_delta(delta, workloads[0].population)
    if requests is not None:
        _check_requests(requests)
    try:
        return plan(epsilon, delta, workloads, sum_requests=requests)
    except InvalidFilter as error:
        raise InvalidInput("--epsilon", str(error), value=str(epsilon)) from None


def check_filter_options(
    kind: str, epsilon: Decimal, delta: Decimal, *, order: Decimal | None, requests: int
) -> None:
    """Refuses, before any data is read, options that make no filter on any population.

    Raises:
      InvalidInput: Naming the option.
    """
    if kind not in KINDS:
        raise InvalidInput("--filter", "is unknown", value=kind, limit=", ".join(KINDS))
    if order is not None and kind != "rdp":
        raise InvalidInput("--order", f"is of the rdp filter, not of {kind}", value=str(order))
    if kind == "sum":
        _check_requests(requests)
    tried: Sequence[int | Decimal] = [order] if order is not None else ORDERS
    parameters: dict[str, list[dict[str, Any]]] = {
        "rdp": [{"order": candidate} for candidate in tried],
        "zcdp": [{}],
        "sum": [{"requests": requests}],
    }
    if order is not None:
        # An order that no budget may have is named by itself.
        _made("--order", order, "rdp", MAX_EPSILON, Decimal("0.1"), order=order)
    if not any(_admits(kind, epsilon, delta, choice) for choice in parameters[kind]):
        at = f" at order {order}" if order is not None else ""
        raise InvalidInput(
            "--epsilon",
            f"is too small: filter {kind} admits nothing{at} at delta {delta}",
            value=f"{epsilon.normalize():f}",
        )


def planned_filter(
    kind: str,
    epsilon: Decimal,
    delta: Decimal,
    workloads: list[RunMechanism],
    *,
    order: Decimal | None,
    requests: int,
) -> PrivacyFilter:
    """The filter of a kind that admits most of the expected workloads.

    Raises:
      InvalidInput: If there is none, or delta is not below 1 / people.
    """
    _check_delta(delta, workloads[0].population)
    check_filter_options(kind, epsilon, delta, order=order, requests=requests)
    if kind == "rdp" and order is not None:
        return _made("--order", order, "rdp", epsilon, delta, order=order)
    if kind == "sum":
        return _made("--requests", requests, "sum", epsilon, delta, requests=requests)
    made = planned(epsilon, delta, workloads, requests=requests)
    choice = made.best if made.best.filter.kind == kind else made.best_of(kind)
    if choice is None:
        problem = f"{kind} admits nothing at this epsilon"
        raise InvalidInput("--epsilon", problem, value=str(epsilon))
    return choice.filter


def workload_text(workload: RunMechanism) -> str:
    """`100 rounds, 1000 of 6127 people, noise 2`."""
    text = (
        f"{workload.rounds} rounds, {workload.clients_per_round} of {workload.population} people, "
        f"noise {workload.noise_multiplier.normalize():f}"
    )
    if workload.evaluation_noise is None:
        return text
    return f"{text}, evaluated with noise {workload.evaluation_noise.normalize():f}"


def _decimal(flag: str, text: str) -> Decimal:
    if len(text) > MAX_LENGTH:
        shown = text[:MAX_LENGTH] + "..."
        raise InvalidInput(flag, "is too long", value=shown, limit=f"{MAX_LENGTH} characters")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InvalidInput(flag, "is not a number", value=text) from None


def _made(
    flag: str, value: object, kind: str, epsilon: Decimal, delta: Decimal, **parameters: Any
) -> PrivacyFilter:
    try:
        return make_filter(kind, epsilon, delta, **parameters)
    except InvalidFilter as error:
        raise InvalidInput(flag, str(error), value=str(value)) from None


def _admits(kind: str, epsilon: Decimal, delta: Decimal, parameters: dict[str, Any]) -> bool:
    try:
        made = make_filter(kind, epsilon, delta, **parameters)
        return all(limit > 0 for limit in made.capacity.values)
    except InvalidFilter:
        return False


def _check_delta(delta: Decimal, population: int) -> None:
    if not delta * population < 1:
        raise InvalidInput(
            "--delta",
            f"must be below 1 / people = 1/{population}",
            value=str(delta),
            remedy="Otherwise publishing one random person entirely would be allowed.",
        )


def _check_requests(requests: int) -> None:
    if not 1 <= requests <= MAX_REQUESTS:
        limit = f"1 to {MAX_REQUESTS}"
        raise InvalidInput("--requests", "is out of range", value=requests, limit=limit)


def _values(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in KEYS or not value:
            raise InvalidInput("--expect", "is not understood", value=part, limit=", ".join(KEYS))
        if key in values:
            raise InvalidInput("--expect", f"names {key} twice", value=text)
        values[key] = value
    return values


def _count(name: str, values: dict[str, str], most: int) -> int:
    text = values[name]
    try:
        count = int(text)
    except ValueError:
        raise InvalidInput(f"--expect {name}", "is not an integer", value=text[:40]) from None
    if not 1 <= count <= most:
        raise InvalidInput(
            f"--expect {name}", "is out of range", value=text[:40], limit=f"1 to {most}"
        )
    return count
