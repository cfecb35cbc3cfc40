"""Receipts, checked without a ledger: entries, their places in the tree, and the signature."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sytff_policy.ledger.verify.canonical import canonical_text
from sytff_policy.ledger.verify.report import Wrong
from sytff_policy.ledger.verify.signatures import Key, SignedCheckpoint
from sytff_policy.ledger.verify.tree import root_from_path

FORMAT = "sytff-receipt/1"
_FIELDS = {"format", "decision_id", "checkpoint", "entries"}


@dataclass(frozen=True)
class ReceiptReport:
    """What a receipt proves.

    Attributes:
      decision_id: The decision.
      key: The key that signed.
      size: Entries of the log that the checkpoint covers.
      entries: (number, kind) of each proved entry.
      problem: Why it proves nothing; empty if it does.
    """

    decision_id: str = ""
    key: str = ""
    size: int = 0
    entries: tuple[tuple[int, str], ...] = ()
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem and bool(self.entries)

    def to_json(self) -> dict[str, Any]:
        return {
            "verified": self.ok,
            "decision_id": self.decision_id,
            "key": self.key,
            "size": self.size,
            "entries": [{"seq": seq, "kind": kind} for seq, kind in self.entries],
            "problem": self.problem,
        }


def verify_receipt(document: Any, keys: Sequence[str]) -> ReceiptReport:
    """Checks a receipt, in these steps.

    1. The checkpoint is signed by one of `keys`, the public keys that the reader trusts.
    2. Every entry's leaf, in canonical form, hashes to a leaf of the checkpoint's tree, at the
       place that the leaf itself states.
    3. The first entry is the decision that the receipt names; each further one is about it, or of
       its run.
    """
    try:
        return _checked(document, [Key.read(text) for text in keys])
    except Wrong as wrong:
        return ReceiptReport(problem=str(wrong))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        return ReceiptReport(problem="the receipt is malformed")


def _checked(document: Any, keys: Sequence[Key]) -> ReceiptReport:
    if set(document) != _FIELDS or document["format"] != FORMAT:
        raise Wrong("receipt.format", f"it is not a receipt of format {FORMAT}")
    checkpoint = SignedCheckpoint.read(document["checkpoint"])
    signer = _signer(checkpoint, keys)
    proved = [_entry(item, checkpoint) for item in document["entries"]]
    if not proved:
        raise Wrong("receipt.empty", "it proves no entry")
    _require_one_story(document["decision_id"], proved)
    return ReceiptReport(
        decision_id=document["decision_id"],
        key=signer.text,
        size=checkpoint.size,
        entries=tuple((leaf["seq"], leaf["kind"]) for leaf in proved),
    )


def _signer(checkpoint: SignedCheckpoint, keys: Sequence[Key]) -> Key:
    for key in keys:
        if any(value[:4] == key.id and name == key.name for name, value in checkpoint.signatures):
            checkpoint.require_signature(key)
            return key
    raise Wrong("receipt.untrusted", "it is not signed by a key that was given")


def _entry(item: Any, checkpoint: SignedCheckpoint) -> dict[str, Any]:
    leaf: dict[str, Any] = item["leaf"]
    if set(item) != {"leaf", "proof"} or type(leaf["seq"]) is not int:
        raise Wrong("receipt.entry", "an entry is not a leaf and its proof")
    digest = hashlib.sha256(b"\x00" + canonical_text(leaf).encode()).digest()
    path = [_hash(step) for step in item["proof"]]
    if root_from_path(digest, leaf["seq"], checkpoint.size, path) != checkpoint.root:
        raise Wrong("receipt.proof", f"entry {leaf['seq']} is not in the log")
    return leaf


def _hash(text: str) -> bytes:
    value = base64.b64decode(text, validate=True)
    if len(value) != 32 or base64.b64encode(value).decode() != text:
        raise Wrong("receipt.proof", f"{text[:80]!r} is not a hash in its one spelling")
    return value


def _require_one_story(decision_id: str, proved: list[dict[str, Any]]) -> None:
    first, rest = proved[0], proved[1:]
    if first["kind"] != "decision" or first["body"]["decision_id"] != decision_id:
        raise Wrong("receipt.decision", f"the first entry is not decision {decision_id}")
    if [leaf["seq"] for leaf in proved] != sorted({leaf["seq"] for leaf in proved}):
        raise Wrong("receipt.order", "the entries are not in the log's order")
    run_id = None
    for leaf in rest:
        if leaf["kind"] == "reservation" and leaf["body"]["decision_id"] == decision_id:
            run_id = leaf["body"]["run_id"]
        body = leaf["body"]
        ours = body.get("run_id") == run_id if run_id else body.get("decision_id") == decision_id
        if not ours:
            raise Wrong("receipt.run", f"entry {leaf['seq']} is not of this decision's run")
