"""Reading an export, or entries as they are stored."""

from __future__ import annotations

from collections.abc import Iterable

from sytff_policy.ledger.verify.replay import Replay
from sytff_policy.ledger.verify.report import Fault, Report

_HASH = '{"hash":"'
_LEAF = '","leaf":'
_HASH_LENGTH = len("sha256:") + 64
_LEAF_START = len(_HASH) + _HASH_LENGTH + len(_LEAF)


def verify_export(lines: Iterable[bytes], *, recompute: str | None = None) -> Report:
    """Verifies an export: one `{"hash":...,"leaf":...}` object a line, in canonical form.

    Args:
      lines: The export, line by line; it is read once and never held as a whole.
      recompute: `pld` adds what every budget's executed mechanisms amount to by privacy loss
        distributions.
    """
    return verify_entries((_from_export(line) for line in lines), recompute=recompute)


def verify_entries(
    pairs: Iterable[tuple[str | None, str | None]], *, recompute: str | None = None
) -> Report:
    """Verifies (hash, leaf text) pairs in order; None where one could not be read."""
    replay = Replay(keep_events=recompute is not None)
    for stated, leaf in pairs:
        replay.entry(stated, leaf)
    report = replay.end()
    if not report.entries:
        report.faults.append(Fault(-1, "verify.empty", "there are no entries"))
    if recompute is not None:
        from sytff_policy.ledger.verify.tight import tight_epsilons

        report.tight = tight_epsilons(replay.state, recompute)
    return report


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
