"""Checking a ledger with code of its own.

Reads nothing but entries. Shares no accounting, hashing or state code with what wrote them:
charges are recomputed with mpmath from the recorded events, and the state of every budget and run
is replayed from the first entry. The steps, for every entry in order:

 1. the leaf is JSON in its one canonical spelling;
 2. its hash is its hash;
 3. its number follows, its `prev` is the previous hash, its time does not go back;
 4. its kind is known and its body has what the kind needs;
 5. decisions: known dataset, an outcome, and no reservation without an allowing decision;
 6. reservations: the event is within the dataset's population, the charge is the event's charge,
    rounded up, the state before is the replayed state, and the filter admits the state after;
 7. progress: forwards, never beyond the reservation;
 8. settlements: what was started is what is charged, the rest of the reservation is freed;
 9. releases: only of completed runs, once;
10. keys: the first is the log's own, each further one is named by a checkpoint that the key before
    it signed;
11. checkpoints: signed by the key of their time, of the tree over exactly the entries before them;
12. with a public key from the reader: it is one of the log's, and a checkpoint covers every entry.

An empty ledger does not verify.
"""

from sytff_policy.ledger.verify.reading import verify_entries, verify_export
from sytff_policy.ledger.verify.receipts import ReceiptReport, verify_receipt
from sytff_policy.ledger.verify.report import Fault, Report

__all__ = [
    "Fault",
    "ReceiptReport",
    "Report",
    "verify_entries",
    "verify_export",
    "verify_receipt",
]
