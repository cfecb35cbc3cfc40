"""Receipts: what the log says of one decision, with the proof that the log says so.

A receipt is JSON: the decision's entry and those of its run, each with its inclusion proof, under
one signed checkpoint. Anyone can check it with the log's public key and nothing else
(`sytff_policy.ledger.verify.verify_receipt`, or any RFC 9162 and signed-note tool).
"""

from __future__ import annotations

from typing import Any

from sytff_policy.errors import NotFound, SytffError
from sytff_policy.ledger.log import Entry
from sytff_policy.ledger.notes import Checkpoint, Note, PublicKey, b64
from sytff_policy.ledger.tree import Tree
from sytff_policy.ledger.verify import verify_receipt

FORMAT = "sytff-receipt/1"
LEFT_OUT = frozenset({"progress"})
"""Kinds of entries that no receipt has: the settlement says what the progress came to."""


class ReceiptFault(SytffError):
    """The log cannot prove an entry that it holds: the database was altered."""

    code = "ledger.unprovable"


def make_receipt(
    decision_id: str,
    entries: list[Entry],
    tree: Tree,
    note: Note,
    keys: list[PublicKey],
) -> dict[str, Any]:
    """A receipt, checked before it is handed out.

    Args:
      decision_id: The decision.
      entries: Its entry and those of its run, in order.
      tree: The tree over the log.
      note: A signed checkpoint of the log.
      keys: The log's keys.

    Raises:
      NotFound: If there is no such decision, or the checkpoint does not cover it yet.
      ReceiptFault: If the receipt does not verify.
    """
    size = Checkpoint.parse(note.text).size
    chosen = [item for item in entries if item.kind not in LEFT_OUT and item.seq < size]
    if not chosen:
        raise NotFound("decision", decision_id)
    receipt = {
        "format": FORMAT,
        "decision_id": decision_id,
        "checkpoint": note.signed_text,
        "entries": [
            {"leaf": item.content, "proof": [b64(h) for h in tree.inclusion(item.seq, size)]}
            for item in chosen
        ],
    }
    report = verify_receipt(receipt, [key.text for key in keys])
    if not report.ok:
        raise ReceiptFault(
            f"no valid receipt can be made for {decision_id}: {report.problem}. "
            "The database was altered; run `sytff ledger verify`"
        )
    return receipt
