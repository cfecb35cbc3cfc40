"""The append-only log and the budget book."""

from sytff_policy.ledger.errors import (
    BudgetChanged,
    BudgetExceeded,
    CapExceeded,
    IdempotencyConflict,
    LedgerFault,
    LedgerUnavailable,
)
from sytff_policy.ledger.ledger import Ledger, Turn
from sytff_policy.ledger.log import Entry
from sytff_policy.ledger.records import (
    BudgetRecord,
    DatasetRecord,
    Limit,
    RunRecord,
    Scope,
    Standing,
    UsageRecord,
)
from sytff_policy.ledger.store import Store

__all__ = [
    "BudgetChanged",
    "BudgetExceeded",
    "BudgetRecord",
    "CapExceeded",
    "DatasetRecord",
    "Entry",
    "IdempotencyConflict",
    "Ledger",
    "LedgerFault",
    "LedgerUnavailable",
    "Limit",
    "RunRecord",
    "Scope",
    "Standing",
    "Store",
    "Turn",
    "UsageRecord",
]
