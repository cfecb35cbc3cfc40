"""Decisions and budgets as text that a person wants to read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sytff_policy.decision import BudgetView, Decision, Outcome

BAR_WIDTH = 40


def decision_text(decision: Decision) -> str:
    """A decision in a few lines: the outcome, why, and what would be accepted."""
    lines = [_headline(decision)]
    lines += [f"  - {reason.message} [{reason.code}]" for reason in decision.reasons]
    lines += [f"  note: {warning.message} [{warning.code}]" for warning in decision.warnings]
    if decision.counter_proposals:
        lines.append("Would be allowed now:")
        for proposal in decision.counter_proposals:
            lines.append(
                f"  - {changes_text(proposal.changes)}  (epsilon {short(proposal.epsilon)}, "
                f"takes {short(proposal.charge)} of the budget)"
            )
    elif decision.outcome is Outcome.DENY:
        lines.append("No change of rounds, noise or clients would be allowed now.")
    return "\n".join(lines)


def budget_text(budget: BudgetView) -> str:
    """A budget as a bar and its numbers."""
    return (
        f"[{bar(budget)}] epsilon {short(budget.epsilon)} at delta {budget.delta:g}: "
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
        f"{name} {_value(change['from'])} -> {_value(change['to'])}"
        for name, change in changes.items()
    )


def short(value: Decimal | None) -> str:
    """Four significant digits."""
    return "unbounded" if value is None else f"{float(value):,.4g}"


def _headline(decision: Decision) -> str:
    words = {
        Outcome.ALLOW: "Allowed",
        Outcome.DENY: "Denied",
        Outcome.REVIEW: "Waits for the owner's review",
    }
    cost = f"epsilon {short(decision.cost.epsilon)}"
    return f"{words[decision.outcome]}: {cost} on {decision.dataset!r} ({decision.decision_id})"


def _cells(value: Decimal, whole: Decimal, width: int) -> int:
    return min(width, round(float(value / whole) * width))


def _value(value: Any) -> str:
    return "none" if value is None else str(value)
