"""Options about budgets: decimals, expected workloads, planned filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from sytff_policy.errors import InvalidInput
from sytff_policy.privacy import (
    InvalidFilter,
    PrivacyFilter,
    RunMechanism,
    UnboundedLoss,
    make_filter,
    on_grid,
    plan,
)

KINDS = ("rdp", "zcdp", "sum")
KEYS = ("rounds", "clients_per_round", "noise_multiplier", "evaluation_noise")
MOST_EPSILON = Decimal(100_000)
MOST_PEOPLE = 1_000_000_000
ORDERS = (2, 4, 8, 16, 32, 64, 128, 256)
"""Orders to try when the question is whether any admits something; the last is the largest."""


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
    """An exact positive number; epsilon is cut down to a multiple of 1e-9."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise InvalidInput(flag, "is not a number", value=text) from None
    if not (value.is_finite() and value > 0):
        raise InvalidInput(flag, "must be a finite number above 0", value=text)
    if flag == "--delta":
        if not Decimal("1e-30") <= value < 1:
            raise InvalidInput(
                flag,
                "is out of range",
                value=text,
                limit="1e-30 to below 1",
                remedy="It must be below 1 / people, such as 1e-5.",
            )
        return value
    if not Decimal("1e-9") <= value <= MOST_EPSILON:
        raise InvalidInput(flag, "is out of range", value=text, limit=f"1e-9 to {MOST_EPSILON}")
    return on_grid(value)


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
        _count("rounds", values, 1_000_000),
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


def check_filter_options(
    kind: str, epsilon: Decimal, delta: Decimal, *, order: int | None, requests: int
) -> None:
    """Refuses, before any data is read, options that make no filter on any population.

    Raises:
      InvalidInput: Naming the option.
    """
    if kind not in KINDS:
        raise InvalidInput("--filter", "is unknown", value=kind, limit=", ".join(KINDS))
    if order is not None and kind != "rdp":
        raise InvalidInput("--order", f"is of the rdp filter, not of {kind}", value=order)
    if kind == "sum" and not 1 <= requests <= 1_000_000:
        raise InvalidInput("--requests", "is out of range", value=requests, limit="1 to 1000000")
    if order is not None and not 2 <= order <= ORDERS[-1]:
        raise InvalidInput("--order", "is out of range", value=order, limit=f"2 to {ORDERS[-1]}")
    tried = [order] if order is not None else ORDERS
    parameters: dict[str, list[dict[str, int]]] = {
        "rdp": [{"order": candidate} for candidate in tried],
        "zcdp": [{}],
        "sum": [{"requests": requests}],
    }
    if not any(_admits(kind, epsilon, delta, choice) for choice in parameters[kind]):
        at = f" at order {order}" if order is not None else ""
        raise InvalidInput(
            "--epsilon",
            f"is too small: filter {kind} admits nothing{at} at delta {delta}",
            value=str(epsilon.normalize()),
        )


def planned_filter(
    kind: str,
    epsilon: Decimal,
    delta: Decimal,
    workloads: list[RunMechanism],
    *,
    order: int | None,
    requests: int,
) -> PrivacyFilter:
    """The filter of a kind that admits most of the expected workloads.

    Raises:
      InvalidInput: If there is none, or delta is not below 1 / people.
    """
    check_delta(delta, workloads[0].population)
    check_filter_options(kind, epsilon, delta, order=order, requests=requests)
    try:
        if kind == "rdp" and order is not None:
            return make_filter("rdp", epsilon, delta, order=order)
        if kind == "sum":
            return make_filter("sum", epsilon, delta, requests=requests)
        choice = plan(epsilon, delta, workloads, sum_requests=requests).best_of(kind)
    except InvalidFilter as error:
        raise InvalidInput("--filter", str(error), value=kind) from None
    if choice is None:
        raise InvalidInput("--epsilon", f"{kind} admits nothing at this epsilon", value=epsilon)
    return choice.filter


def check_delta(delta: Decimal, population: int) -> None:
    """Refuses a delta that would allow publishing one random person entirely.

    Raises:
      InvalidInput: If delta is not below 1 / people.
    """
    if not delta * population < 1:
        raise InvalidInput(
            "--delta",
            f"must be below 1 / people = 1/{population}",
            value=str(delta),
            remedy="Otherwise publishing one random person entirely would be allowed.",
        )


def runs_that_fit(made: PrivacyFilter, workload: RunMechanism) -> int:
    """How many such runs the whole budget holds."""
    try:
        charge = made.charge(workload.event())
    except UnboundedLoss:
        return 0
    pairs = zip(made.capacity.values, charge.values, strict=True)
    return min((int(limit // cost) for limit, cost in pairs if cost > 0), default=0)


def filter_text(made: PrivacyFilter) -> str:
    """`rdp, order 4`."""
    return ", ".join([made.kind, *(f"{key} {value}" for key, value in made.parameters().items())])


def workload_text(workload: RunMechanism) -> str:
    """`100 rounds, 1000 of 6127 people, noise 2`."""
    return (
        f"{workload.rounds} rounds, {workload.clients_per_round} of {workload.population} people, "
        f"noise {workload.noise_multiplier.normalize():f}"
    )


def _admits(kind: str, epsilon: Decimal, delta: Decimal, parameters: dict[str, int]) -> bool:
    try:
        return all(v > 0 for v in make_filter(kind, epsilon, delta, **parameters).capacity.values)
    except InvalidFilter:
        return False


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
