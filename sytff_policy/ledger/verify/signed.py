"""What the log's keys say of it: checkpoints, the succession of keys, and how far they reach."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sytff_policy.ledger.verify.report import Wrong
from sytff_policy.ledger.verify.signatures import NEXT_KEY, Key, SignedCheckpoint
from sytff_policy.ledger.verify.tree import Frontier

ORIGIN = "sytff-policy/"


class SignedLog:
    """The tree over the entries so far, and the checkpoints in them and beside them.

    Args:
      trusted: Public keys that the reader trusts. With any, the whole log must be signed by keys
        that one of them vouches for: by naming its successor, or by signing what came before it.
      kept: A signed checkpoint that the reader kept elsewhere, which the log must contain.
      witnesses: Public keys of witnesses that must have co-signed a checkpoint of every entry.
      whole: Whether a reader who trusts keys wants every entry signed, the newest too.
    """

    def __init__(
        self,
        trusted: Iterable[str] = (),
        kept: str | None = None,
        *,
        witnesses: Iterable[str] = (),
        whole: bool = True,
    ) -> None:
        self._witnesses = [Key.read(text, of_witness=True) for text in witnesses]
        self._last: SignedCheckpoint | None = None
        self._whole = whole
        self._trusted = [Key.read(text) for text in trusted]
        self._kept = None if kept is None else SignedCheckpoint.read(kept)
        self._kept_root: bytes | None = None
        self._origin = ""
        self._frontier = Frontier()
        self.keys: list[Key] = []
        self.size = 0
        """How many entries from the first a checkpoint covers."""
        if self._kept is not None and self._kept.size == 0:
            self._kept_root = self._frontier.root()

    def append(self, leaf: bytes) -> None:
        """One more entry, by its hash."""
        self._frontier.append(leaf)
        if self._kept is not None and self._kept.size == self._frontier.size:
            self._kept_root = self._frontier.root()

    def genesis(self, body: dict[str, Any]) -> None:
        """The node's name is its log's."""
        self._origin = ORIGIN + body["node_id"]

    def key(self, body: dict[str, Any]) -> None:
        """A key: the first, or one that the key before it names."""
        key, note = Key.read(body["key"]), body["note"]
        if set(body) != {"key", "note"} or key.name != self._origin:
            raise Wrong("verify.key", f"{key.text} is not a key of {self._origin}")
        previous = self.keys[-1] if self.keys else None
        if previous is None and note is not None:
            raise Wrong("verify.key", "the first key has no key before it")
        if previous is not None:
            if key in self.keys:
                raise Wrong("verify.key", f"{key.text} was a key of this log before")
            named = (NEXT_KEY + key.text,)
            # The key counts even if it came about wrongly, so that what follows is judged by it.
            self.keys.append(key)
            self._check(note, previous, named)
            return
        self.keys.append(key)

    def checkpoint(self, body: dict[str, Any]) -> None:
        """A checkpoint in the log, of all entries before it."""
        if set(body) != {"note"}:
            raise Wrong("verify.checkpoint", "the entry is not a checkpoint alone")
        self._check(body["note"], self._current(), ())

    def closing(self, note: str) -> None:
        """The checkpoint that ends an export."""
        self._last = SignedCheckpoint.read(note)
        self._covers(self._last, "the export", whole=True)

    def finish(self) -> list[tuple[str, str]]:
        """What is wrong with the log as a whole, as (code, message)."""
        faults: list[tuple[str, str]] = []
        entries = self._frontier.size
        if self._kept is not None:
            try:
                self._covers(self._kept, "the log", whole=False)
            except Wrong as wrong:
                faults.append((wrong.code, str(wrong)))
        for witness in self._witnesses:
            last = self._last or self._kept
            try:
                if last is None or last.size != entries:
                    raise Wrong("verify.unwitnessed", "no checkpoint covers every entry")
                last.require_cosignature(witness)
            except Wrong as wrong:
                faults.append((wrong.code, str(wrong)))
        if self._trusted:
            if not any(key in self.keys for key in self._trusted):
                given = ", ".join(key.text for key in self._trusted)
                faults.append(("verify.untrusted", f"the log is not one of {given}"))
            if self._whole and self.size < entries:
                message = f"no checkpoint covers entry {self.size} or any after it"
                faults.append(("verify.unsigned", message))
        return faults

    def _check(self, note: object, signer: Key, extensions: tuple[str, ...]) -> None:
        made = SignedCheckpoint.read(note)
        made.require_signature(signer)
        if (made.size, made.root) != (self._frontier.size, self._frontier.root()):
            message = f"the checkpoint of {made.size} entries is not of the entries before it"
            raise Wrong("verify.root", message)
        if made.extensions != extensions:
            raise Wrong("verify.checkpoint", "the checkpoint says more or less than it must")
        # The entry itself is covered by the next one.
        self.size = max(self.size, made.size)

    def _covers(self, made: SignedCheckpoint, what: str, *, whole: bool) -> None:
        entries = self._frontier.size
        if made.size > entries:
            message = f"{what} ends before entry {entries}: a checkpoint covers {made.size}"
            raise Wrong("verify.truncated", message)
        root = self._frontier.root() if made.size == entries else self._kept_root
        if whole and made.size != entries:
            raise Wrong("verify.root", f"its last checkpoint covers {made.size} of {entries}")
        if made.root != root:
            message = f"the first {made.size} entries are not those of the checkpoint"
            raise Wrong("verify.root", message)
        self._current()
        for key in self.keys:
            if any(value[:4] == key.id for _, value in made.signatures):
                made.require_signature(key)
                self.size = max(self.size, made.size)
                return
        raise Wrong("verify.signature", "a checkpoint is not signed by a key of this log")

    def _current(self) -> Key:
        if not self.keys:
            raise Wrong("verify.key", "there is a checkpoint before there is a key")
        return self.keys[-1]
