"""The append-only log and the budget book."""

from sytff_policy.ledger.book import (
    BudgetChanged,
    BudgetExceeded,
    DatasetRecord,
    IdempotencyConflict,
    LedgerFault,
    RunRecord,
    UsageRecord,
)
from sytff_policy.ledger.ledger import Ledger
from sytff_policy.ledger.log import Entry
from sytff_policy.ledger.store import LedgerUnavailable, Store

__all__ = [
    "BudgetChanged",
    "BudgetExceeded",
    "DatasetRecord",
    "Entry",
    "IdempotencyConflict",
    "Ledger",
    "LedgerFault",
    "LedgerUnavailable",
    "RunRecord",
    "Store",
    "UsageRecord",
]
