"""Reading an export, or entries as they are stored."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sytff_policy.ledger.verify.replay import Replay
from sytff_policy.ledger.verify.report import Fault, Report, Wrong
from sytff_policy.ledger.verify.signed import SignedLog

_CLOSING = b'{"checkpoint":'
_HASH = '{"hash":"'
_LEAF = '","leaf":'
_HASH_LENGTH = len("sha256:") + 64
_LEAF_START = len(_HASH) + _HASH_LENGTH + len(_LEAF)


def verify_export(
    lines: Iterable[bytes],
    *,
    keys: Iterable[str] = (),
    witnesses: Iterable[str] = (),
    checkpoint: str | None = None,
    recompute: str | None = None,
) -> Report:
    """Verifies an export: one `{"hash":...,"leaf":...}` object a line, in canonical form.

    A last line may be `{"checkpoint":...}`, a signed checkpoint of all the lines before it.

    Args:
      lines: The export, line by line; it is read once and never held as a whole.
      keys: Public keys that the reader trusts. With any, one of them must vouch for every entry.
      witnesses: Public keys of witnesses, each of which must have co-signed the whole log.
      checkpoint: A signed checkpoint from elsewhere, which the log must contain.
      recompute: `pld` adds what every budget's executed mechanisms amount to by privacy loss
        distributions.

    Raises:
      ValueError: If a key or the checkpoint is malformed.
    """
    replay = Replay(
        _signed(keys, checkpoint, witnesses=witnesses), keep_events=recompute is not None
    )
    closing: str | None = None
    for line in lines:
        if closing is None and line.startswith(_CLOSING):
            closing = _note(line)
            continue
        if closing is not None:
            message = "there are lines after the closing checkpoint"
            replay.report.faults.append(Fault(replay.report.entries, "verify.after_end", message))
            break
        replay.entry(*_from_export(line))
    if closing is not None:
        replay.closing(closing)
    return _report(replay, recompute)


def verify_entries(
    pairs: Iterable[tuple[str | None, str | None]],
    *,
    keys: Iterable[str] = (),
    checkpoint: str | None = None,
    whole: bool = True,
    recompute: str | None = None,
) -> Report:
    """Verifies (hash, leaf text) pairs in order; None where one could not be read.

    Args:
      pairs: Stated hash and leaf of every entry.
      keys: As in `verify_export`.
      checkpoint: As in `verify_export`.
      whole: Whether the newest entries must be signed too, if there are `keys`.
      recompute: As in `verify_export`.
    """
    replay = Replay(_signed(keys, checkpoint, whole=whole), keep_events=recompute is not None)
    for stated, leaf in pairs:
        replay.entry(stated, leaf)
    return _report(replay, recompute)


def _report(replay: Replay, recompute: str | None) -> Report:
    report = replay.end()
    if not report.entries:
        report.faults.append(Fault(-1, "verify.empty", "there are no entries"))
    if recompute is not None:
        from sytff_policy.ledger.verify.tight import tight_epsilons

        report.tight = tight_epsilons(replay.state, recompute)
    return report


def _signed(
    keys: Iterable[str],
    checkpoint: str | None,
    *,
    witnesses: Iterable[str] = (),
    whole: bool = True,
) -> SignedLog:
    try:
        return SignedLog(keys, checkpoint, witnesses=witnesses, whole=whole)
    except Wrong as wrong:
        raise ValueError(str(wrong)) from None


def _note(line: bytes) -> str:
    """The note of a closing line; empty, which is none, if it cannot be read."""
    try:
        note = json.loads(line)["checkpoint"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    exact = json.dumps({"checkpoint": note}, ensure_ascii=False, separators=(",", ":"))
    return note if isinstance(note, str) and exact.encode() == line.rstrip(b"\n") else ""


def _from_export(line: bytes) -> tuple[str | None, str | None]:
    try:
        text = line.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return None, None
    # An export is canonical as a whole, so the leaf's bytes stand in it as they were hashed.
    stated = text[len(_HASH) : len(_HASH) + _HASH_LENGTH]
    if text[:_LEAF_START] != f"{_HASH}{stated}{_LEAF}" or text[-1:] != "}":
        return None, None
    return stated, text[_LEAF_START:-1]
