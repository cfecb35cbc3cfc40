"""The answer to a request: `Decision`, with every reason and what would be accepted instead."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Scalar = str | int | float | bool | Decimal | None
Value = Scalar | list[Scalar]


class Outcome(str, enum.Enum):
    """What was decided."""

    ALLOW = "allow"
    DENY = "deny"
    REVIEW = "review"


@dataclass(frozen=True)
class Reason:
    """One reason of a denial, a review or a warning.

    Attributes:
      code: Stable, documented code, such as `accountant.budget_exceeded`.
      source: `accountant`, or the policy package the reason came from (`data.sytff.dataset`).
      field: Path of the request field it is about; empty when it is about none.
      limit: What would have been accepted, if there is such a value.
      actual: The value seen.
      message: One sentence for people.
    """

    code: str
    source: str
    message: str
    field: str = ""
    limit: Value = None
    actual: Value = None

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "source": self.source,
            "field": self.field,
            "limit": json_number(self.limit),
            "actual": json_number(self.actual),
            "message": self.message,
        }


@dataclass(frozen=True)
class CounterProposal:
    """A complete request that would be allowed now, and how it differs from the one asked.

    Attributes:
      request: The complete request, as JSON that `TrainRequest` accepts.
      changes: Field path to `{"from": asked, "to": proposed}`.
      epsilon: Epsilon of the proposed request on its own.
      charge: What it would debit from the budget, in the budget's epsilon.
    """

    request: dict[str, Any]
    changes: dict[str, dict[str, Any]]
    epsilon: Decimal
    charge: Decimal

    def to_json(self) -> dict[str, Any]:
        return {
            "request": self.request,
            "changes": self.changes,
            "cost": {"epsilon": json_number(self.epsilon), "charge": json_number(self.charge)},
        }


@dataclass(frozen=True)
class Cost:
    """What a request costs.

    Attributes:
      epsilon: Epsilon of this request on its own at the dataset's delta; None if unbounded.
      charge: What the dataset's filter debits, in the budget's epsilon; None if unbounded.
      delta: The delta that `epsilon` is stated at.
    """

    epsilon: Decimal | None
    charge: Decimal | None
    delta: Decimal

    def to_json(self) -> dict[str, Any]:
        return {
            "epsilon": json_number(self.epsilon),
            "charge": json_number(self.charge),
            "delta": json_number(self.delta),
        }


@dataclass(frozen=True)
class BudgetView:
    """A dataset's budget in epsilon at its delta. `spent + reserved + remaining == epsilon`."""

    epsilon: Decimal
    delta: Decimal
    spent: Decimal
    reserved: Decimal
    remaining: Decimal

    def to_json(self) -> dict[str, Any]:
        return {
            "epsilon": json_number(self.epsilon),
            "delta": json_number(self.delta),
            "spent": json_number(self.spent),
            "reserved": json_number(self.reserved),
            "remaining": json_number(self.remaining),
        }


@dataclass(frozen=True)
class Decision:
    """The whole answer. Every reason at once; nothing in it depends on a row of data.

    `sytff_policy.rendering.decision_text` says it in full; the representation is a summary.
    """

    outcome: Outcome
    decision_id: str
    reasons: tuple[Reason, ...]
    cost: Cost
    budget: BudgetView
    dataset: str
    request_digest: str
    warnings: tuple[Reason, ...] = ()
    counter_proposals: tuple[CounterProposal, ...] = ()
    engine: str = ""
    accountant: str = ""
    bundles: dict[str, str] = field(default_factory=dict)

    @property
    def allowed(self) -> bool:
        return self.outcome is Outcome.ALLOW

    def __repr__(self) -> str:
        epsilon = json_number(self.cost.epsilon)
        lines = [
            f"<Decision {self.decision_id}: {self.outcome.value} on {self.dataset!r}, "
            f"epsilon {'unbounded' if epsilon is None else epsilon}",
            *(f"  {reason.code}: {reason.message}" for reason in self.reasons),
        ]
        if self.outcome is Outcome.DENY:
            lines.append(f"  counter-proposals: {len(self.counter_proposals)}")
        return "\n".join(lines) + ">"

    def to_json(self) -> dict[str, Any]:
        return {
            "decision": self.outcome.value,
            "decision_id": self.decision_id,
            "dataset": self.dataset,
            "request_digest": self.request_digest,
            "reasons": [reason.to_json() for reason in self.reasons],
            "warnings": [reason.to_json() for reason in self.warnings],
            "counter_proposals": [proposal.to_json() for proposal in self.counter_proposals],
            "cost": self.cost.to_json(),
            "budget": self.budget.to_json(),
            "engine": self.engine,
            "accountant": self.accountant,
            "bundles": self.bundles,
        }


MAX_EXACT_INTEGER = 2**53 - 1
"""The largest integer that every reader of JSON, and canonical JSON, keeps exactly."""


def json_number(value: Any) -> Any:
    """`value` with exact decimals as JSON numbers.

    Budget quantities have at most 15 significant digits, so the double is the decimal: its
    shortest spelling is the same text. What no double holds becomes null.
    """
    if isinstance(value, list | tuple):
        return [json_number(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        whole = value.is_finite() and value == value.to_integral_value()
        return int(value) if whole and abs(value) <= MAX_EXACT_INTEGER else _double(value)
    if isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER:
        return _double(value)
    return value


def _double(value: Decimal | int) -> float | None:
    try:
        number = float(value)
    except (OverflowError, ValueError):  # too large an int, a signalling NaN
        return None
    return number if math.isfinite(number) else None
