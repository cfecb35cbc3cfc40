"""Every entry in order: its bytes, its place in the log, and what it does to the state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import InvalidOperation
from typing import Any

from sytff_policy.ledger.verify.canonical import Decoder
from sytff_policy.ledger.verify.datasets import DatasetSteps
from sytff_policy.ledger.verify.report import Fault, Report, Wrong
from sytff_policy.ledger.verify.runs import RunSteps
from sytff_policy.ledger.verify.signed import SignedLog
from sytff_policy.ledger.verify.state import State

_FIELDS = {"v", "seq", "time_ns", "prev", "kind", "body"}
_UNREADABLE = bytes(32)
"""In the tree for an entry that has no hash: no checkpoint is of such a tree."""

_GARBLED = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    InvalidOperation,
    IndexError,
    OverflowError,
    ZeroDivisionError,
)


class Replay:
    """The state that the entries so far make, and what is wrong with them.

    Args:
      signed: What is known of the log's keys and checkpoints from elsewhere.
      keep_events: Whether to keep what was executed of every budget.
    """

    def __init__(self, signed: SignedLog | None = None, *, keep_events: bool = False) -> None:
        self.state = State()
        self.signed = signed or SignedLog()
        self.report = Report(state=self.state)
        self._decoder = Decoder()
        self._time = 0
        self._kinds: dict[str, Callable[[dict[str, Any]], None]] = {
            "genesis": self._genesis,
            "key.activated": self.signed.key,
            "checkpoint": self.signed.checkpoint,
            **DatasetSteps(self.state).kinds(),
            **RunSteps(self.state, self._decoder, keep_events=keep_events).kinds(),
        }

    def entry(self, stated: str | None, leaf: str | None) -> None:
        """Checks one entry and moves the state."""
        seq = self.report.entries
        self.report.entries += 1
        if not isinstance(stated, str) or not isinstance(leaf, str):
            self._say(seq, "verify.unreadable", "the entry cannot be read")
            self.signed.append(_UNREADABLE)
            return
        try:
            data = leaf.encode()
            document, canonical = self._decoder.decode(leaf)
        except (ValueError, TypeError, RecursionError):
            self._say(seq, "verify.unreadable", "the entry is not JSON")
            self.signed.append(_UNREADABLE)
            self.report.head = stated
            return
        hashed = hashlib.sha256(b"\x00" + data)
        actual = "sha256:" + hashed.hexdigest()
        if actual != stated:
            self._say(seq, "verify.hash", f"the entry hashes to {actual}, not to {stated}")
        if not canonical:
            self._say(seq, "verify.canonical", "the entry is not in canonical form")
        for step in (self._chain, self._body):
            try:
                step(seq, document)
            except Wrong as wrong:
                self._say(seq, wrong.code, str(wrong))
            except _GARBLED as error:
                self._say(seq, "verify.malformed", f"the entry lacks or garbles {error!r}")
        self.signed.append(hashed.digest())
        self.report.head = stated

    def closing(self, note: str) -> None:
        """The checkpoint that ends an export."""
        try:
            self.signed.closing(note)
        except Wrong as wrong:
            self._say(self.report.entries, wrong.code, str(wrong))

    def end(self) -> Report:
        """The report, after the last entry."""
        pending = self.state.pending
        if pending is not None:
            message = f"the log ends before {pending.identity} is reserved"
            self._say(self.report.entries - 1, "verify.unreserved", message)
        for code, message in self.signed.finish():
            self._say(-1, code, message)
        self.report.signed = self.signed.size
        self.report.keys = [key.text for key in self.signed.keys]
        self.report.budgets = {
            name: budget.summary() for name, budget in self.state.budgets.items()
        }
        return self.report

    def _say(self, seq: int, code: str, message: str) -> None:
        self.report.faults.append(Fault(seq, code, message))

    def _chain(self, seq: int, document: dict[str, Any]) -> None:
        if type(document["seq"]) is not int or document["seq"] != seq:
            raise Wrong("verify.order", f"entry {document['seq']} stands at place {seq}")
        if document["prev"] != self.report.head:
            raise Wrong("verify.chain", "it does not continue the entry before it")
        time = int(document["time_ns"])
        if time < self._time or str(time) != document["time_ns"]:
            raise Wrong("verify.time", "its time is before the entry before it")
        self._time = time

    def _body(self, seq: int, document: dict[str, Any]) -> None:
        version = document["v"]
        if type(version) is not int or version != 1 or document.keys() != _FIELDS:
            raise Wrong("verify.format", "the entry is of an unknown format")
        kind = document["kind"]
        check = self._kinds.get(kind)
        if check is None:
            raise Wrong("verify.kind", f"unknown kind {kind!r}")
        if (kind == "genesis") != (seq == 0):
            raise Wrong("verify.genesis", "the log begins with its genesis entry, and only so")
        pending = self.state.pending
        if pending is not None and kind != "reservation":
            self.state.pending = None
            self._say(
                seq, "verify.unreserved", f"{pending.identity} is allowed, and not reserved next"
            )
        check(document["body"])

    def _genesis(self, body: dict[str, Any]) -> None:
        self.signed.genesis(body)
        if type(body["format"]) is not int or body["format"] != 1:
            raise Wrong("verify.format", "the log is of an unknown format")
