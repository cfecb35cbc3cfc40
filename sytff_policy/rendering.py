"""Decisions and budgets as text that a person wants to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from sytff_policy.canonical import decimal_text
from sytff_policy.decision import BudgetView, CounterProposal, Decision, Outcome, Reason

BAR_WIDTH = 40
MAX_CELL = 40
"""Longer values, such as a list of allowed purposes, are cut in a table; the message follows."""

_HEADLINES = {
    Outcome.ALLOW: "Allowed",
    Outcome.DENY: "Denied",
    Outcome.REVIEW: "Waits for the owner's review",
}


def decision_text(decision: Decision) -> str:
    """A decision in full: the outcome, every reason, and what would be accepted instead.

    Numbers are exact; messages may round them.
    """
    lines = [_headline(decision)]
    if decision.reasons:
        lines += ["", "Why:", *_reasons(decision.reasons)]
    if decision.warnings:
        lines += ["", "Note:", *_reasons(decision.warnings)]
    if decision.counter_proposals:
        lines += ["", "Would be allowed now, sent back unchanged:"]
        lines += _proposals(decision.counter_proposals)
    elif decision.outcome is Outcome.DENY:
        lines += ["", "No change of rounds, noise or clients would be allowed now."]
    return "\n".join(lines)


def budget_text(budget: BudgetView) -> str:
    """A budget as a bar and its numbers."""
    return (
        f"[{bar(budget)}] epsilon {short(budget.epsilon)} at delta {exact_text(budget.delta)}: "
        f"{short(budget.spent)} spent, {short(budget.reserved)} reserved, "
        f"{short(budget.remaining)} left"
    )


def bar(budget: BudgetView, width: int = BAR_WIDTH) -> str:
    """Spent as `#`, reserved as `+`, the rest as `.`."""
    spent = _cells(budget.spent, budget.epsilon, width)
    used = _cells(budget.spent + budget.reserved, budget.epsilon, width)
    return "#" * spent + "+" * (used - spent) + "." * (width - used)


def changes_text(changes: dict[str, dict[str, Any]]) -> str:
    """`rounds 100 -> 20, noise_multiplier 0.5 -> 1.2`."""
    return ", ".join(
        f"{name} {exact_text(change['from'])} -> {exact_text(change['to'])}"
        for name, change in changes.items()
    )


def short(value: Decimal | None) -> str:
    """Four significant digits."""
    return "unbounded" if value is None else f"{float(value):,.4g}"


def exact_text(value: Any) -> str:
    """A value with every digit that it has."""
    if value is None:
        return "none"
    if isinstance(value, Decimal) and value.is_finite():
        return decimal_text(value)
    if isinstance(value, list | tuple):
        return ", ".join(exact_text(item) for item in value) or "none"
    return str(value)


def _headline(decision: Decision) -> str:
    cost = decision.cost
    if cost.epsilon is None:
        price = "no finite epsilon"
    else:
        price = f"epsilon {exact_text(cost.epsilon)} at delta {exact_text(cost.delta)}"
        if decision.outcome is not Outcome.DENY and cost.charge is not None:
            price += f", {exact_text(cost.charge)} of the budget"
    outcome = _HEADLINES[decision.outcome]
    return f"{outcome}: {price} on {decision.dataset!r} ({decision.decision_id})"


def _reasons(reasons: Sequence[Reason]) -> Iterator[str]:
    rows = [(reason.code, *_values(reason)) for reason in reasons]
    if any(any(row[1:]) for row in rows):
        rows.insert(0, ("code", "field", "asked", "limit"))
        reasons = [None, *reasons]  # type: ignore[list-item]  # the header has no message
    for line, reason in zip(_columns(rows), reasons, strict=True):
        yield f"  {line}"
        if reason is not None:
            yield from (f"      {part}" for part in reason.message.splitlines())


def _values(reason: Reason) -> tuple[str, str, str]:
    if reason.limit is None and reason.actual is None:
        return reason.field, "", ""
    return reason.field, _cell(reason.actual), _cell(reason.limit)


def _cell(value: Any) -> str:
    text = "-" if value is None else exact_text(value)
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 3] + "..."


def _proposals(proposals: Sequence[CounterProposal]) -> Iterator[str]:
    rows = [
        (
            f"{number}.",
            changes_text(proposal.changes),
            f"epsilon {exact_text(proposal.epsilon)},",
            f"{exact_text(proposal.charge)} of the budget",
        )
        for number, proposal in enumerate(proposals, start=1)
    ]
    return (f"  {line}" for line in _columns(rows))


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cells(value: Decimal, whole: Decimal, width: int) -> int:
    return min(width, round(float(value / whole) * width)) if whole else 0
