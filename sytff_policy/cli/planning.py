"""Options about budgets: decimals, expected workloads, planned filters."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from sytff_policy.errors import InvalidInput
from sytff_policy.privacy import (
    InvalidFilter,
    PrivacyFilter,
    RunMechanism,
    make_filter,
    on_grid,
    plan,
)

KEYS = ("rounds", "clients_per_round", "noise_multiplier", "evaluation_noise")


def decimal_option(flag: str, text: str) -> Decimal:
    """An exact positive number; epsilon is cut down to a multiple of 1e-9."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise InvalidInput(flag, "is not a number", value=text) from None
    if not (value.is_finite() and value > 0):
        raise InvalidInput(flag, "must be a finite number above 0", value=text)
    if flag == "--delta" and not value < 1:
        raise InvalidInput(flag, "must be below 1", value=text, remedy="Below 1 / people.")
    return value if flag == "--delta" else on_grid(value)


def expected_workloads(expect: list[str] | None, population: int) -> list[RunMechanism]:
    """The workloads that --expect describes; an ordinary one if there is none."""
    if not expect:
        clients = max(1, min(population, max(20, population // 50)))
        return [RunMechanism(100, clients, population, Decimal(1), Decimal(5))]
    return [_workload(text, population) for text in expect]


def planned_filter(
    kind: str,
    epsilon: Decimal,
    delta: Decimal,
    workloads: list[RunMechanism],
    *,
    order: int | None,
    requests: int,
) -> PrivacyFilter:
    """The filter of a kind that admits most of the expected workloads."""
    population = workloads[0].population
    if not delta * population < 1:
        raise InvalidInput(
            "--delta",
            f"must be below 1 / people = 1/{population}",
            value=delta,
            remedy="Otherwise publishing one random person entirely would be allowed.",
        )
    try:
        if kind == "rdp" and order is not None:
            return make_filter("rdp", epsilon, delta, order=order)
        if kind == "sum":
            return make_filter("sum", epsilon, delta, requests=requests)
        choice = plan(epsilon, delta, workloads, sum_requests=requests).best_of(kind)
    except InvalidFilter as error:
        raise InvalidInput("--filter", str(error), value=kind) from None
    if choice is None:
        known = kind in ("rdp", "zcdp")
        raise InvalidInput(
            "--epsilon" if known else "--filter",
            f"{kind} admits nothing at epsilon {epsilon}" if known else "is unknown",
            value=None if known else kind,
            limit=None if known else "rdp, zcdp, sum",
        )
    return choice.filter


def _workload(text: str, population: int) -> RunMechanism:
    values: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key.strip() not in KEYS or not value:
            raise InvalidInput("--expect", "is not understood", value=part, limit=", ".join(KEYS))
        values[key.strip()] = value.strip()
    missing = [key for key in KEYS[:3] if key not in values]
    if missing:
        raise InvalidInput("--expect", f"lacks {missing[0]}", value=text)
    try:
        rounds, clients = int(values["rounds"]), int(values["clients_per_round"])
        noise = decimal_option("--expect noise_multiplier", values["noise_multiplier"])
        evaluation = values.get("evaluation_noise")
    except ValueError:
        raise InvalidInput("--expect", "has a count that is not an integer", value=text) from None
    if not (1 <= clients <= population and 1 <= rounds <= 1_000_000):
        raise InvalidInput(
            "--expect",
            "is out of range",
            value=text,
            limit=f"1 to 1000000 rounds, 1 to {population} clients",
        )
    return RunMechanism(
        rounds,
        clients,
        population,
        noise,
        None if evaluation is None else decimal_option("--expect evaluation_noise", evaluation),
    )
