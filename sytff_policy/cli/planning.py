"""Options about budgets: decimals, expected workloads, planned filters."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from sytff_policy.errors import InvalidInput
from sytff_policy.privacy import (
    InvalidFilter,
    Plan,
    PrivacyFilter,
    RunMechanism,
    make_filter,
    on_grid,
    plan,
)

KEYS = ("rounds", "clients_per_round", "noise_multiplier", "evaluation_noise")
LARGEST = Decimal(1_000_000)
SMALLEST = Decimal("1e-30")
MAX_LENGTH = 64


def decimal_option(flag: str, text: str) -> Decimal:
    """An exact positive number; epsilon is cut down to a multiple of 1e-9."""
    try:
        value = Decimal(text) if len(text) <= MAX_LENGTH else Decimal("nan")
    except InvalidOperation:
        raise InvalidInput(flag, "is not a number", value=text) from None
    if not (value.is_finite() and value > 0):
        raise InvalidInput(flag, "must be a finite number above 0", value=text[:MAX_LENGTH])
    if not SMALLEST <= value <= LARGEST:
        raise InvalidInput(flag, "is out of range", value=text, limit=f"{SMALLEST} to {LARGEST}")
    if flag == "--delta" and not value < 1:
        raise InvalidInput(flag, "must be below 1", value=text, remedy="Below 1 / people.")
    if flag == "--epsilon" and not on_grid(value) > 0:
        raise InvalidInput(flag, "must be at least 1e-9", value=text)
    return on_grid(value) if flag == "--epsilon" else value


def planned(
    epsilon: Decimal, delta: Decimal, workloads: list[RunMechanism], *, requests: int | None = None
) -> Plan:
    """The plan for a budget, which must be a promise for this many people."""
    _check_delta(delta, workloads[0].population)
    if requests is not None and not requests >= 1:
        raise InvalidInput("--requests", "must be at least 1", value=requests)
    try:
        return plan(epsilon, delta, workloads, sum_requests=requests)
    except InvalidFilter as error:
        raise InvalidInput("--epsilon", str(error), value=epsilon) from None


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
    order: int | str | None,
    requests: int,
) -> PrivacyFilter:
    """The filter of a kind that admits most of the expected workloads."""
    _check_delta(delta, workloads[0].population)
    try:
        if kind == "rdp" and order is not None:
            return make_filter("rdp", epsilon, delta, order=order)
        if kind == "sum":
            return make_filter("sum", epsilon, delta, requests=requests)
        made = plan(epsilon, delta, workloads, sum_requests=requests)
        choice = made.best if made.best.filter.kind == kind else made.best_of(kind)
    except InvalidFilter as error:
        flag, value = ("--filter", kind) if order is None else ("--order", str(order))
        raise InvalidInput(flag, str(error), value=value) from None
    if choice is None:
        known = kind in ("rdp", "zcdp")
        raise InvalidInput(
            "--epsilon" if known else "--filter",
            f"{kind} admits nothing at epsilon {epsilon}" if known else "is unknown",
            value=None if known else kind,
            limit=None if known else "rdp, zcdp, sum",
        )
    return choice.filter


def _check_delta(delta: Decimal, population: int) -> None:
    if not delta * population < 1:
        raise InvalidInput(
            "--delta",
            f"must be below 1 / people = 1/{population}",
            value=delta,
            remedy="Otherwise publishing one random person entirely would be allowed.",
        )


def _workload(text: str, population: int) -> RunMechanism:
    values: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key.strip() not in KEYS or not value:
            raise InvalidInput("--expect", "is not understood", value=part, limit=", ".join(KEYS))
        if key.strip() in values:
            raise InvalidInput("--expect", f"states {key.strip()} twice", value=text)
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
