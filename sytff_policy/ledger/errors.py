"""What the ledger refuses, and why."""

from __future__ import annotations

from sytff_policy.errors import SytffError


class LedgerUnavailable(SytffError):
    """The database cannot be opened, read or written."""

    code = "ledger.unavailable"


class BudgetChanged(SytffError):
    """The book moved since the request was judged; judge it again."""

    code = "ledger.budget_changed"


class BudgetExceeded(SytffError):
    """The filter of a budget refuses the charge. Nothing was reserved, in any budget.

    Attributes:
      budget: Name of the budget that refuses.
    """

    code = "ledger.budget_exceeded"

    def __init__(self, message: str, budget: str = "") -> None:
        self.budget = budget
        super().__init__(message)


class CapExceeded(BudgetExceeded):
    """A cap inside a budget refuses the charge. Nothing was reserved, in any budget."""

    code = "ledger.cap_exceeded"


class LedgerFault(SytffError):
    """A state transition that must never happen was asked for. Nothing was changed."""

    code = "ledger.fault"


class IdempotencyConflict(SytffError):
    """The idempotency key was used before."""

    code = "request.idempotency_key_used"

    def __init__(self, key: str, run_id: str, *, same_request: bool) -> None:
        self.run_id = run_id
        self.same_request = same_request
        what = "this very request" if same_request else "another request"
        super().__init__(
            f"idempotency_key {key!r} was already used for {what} (run {run_id}); "
            "nothing new was started. Use a new key to start another run"
        )
