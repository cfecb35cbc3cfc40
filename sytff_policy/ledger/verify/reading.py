"""Reading an export, or entries as they are stored."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sytff_policy.ledger.verify.canonical import canonical_text, no_duplicates
from sytff_policy.ledger.verify.replay import Replay
from sytff_policy.ledger.verify.report import Fault, Report


def verify_export(lines: Iterable[bytes]) -> Report:
    """Verifies an export: one `{"hash", "leaf"}` object a line."""
    return verify_entries(_from_export(line) for line in lines)


def verify_entries(pairs: Iterable[tuple[str | None, str | None]]) -> Report:
    """Verifies (hash, leaf text) pairs in order; None where one could not be read."""
    replay = Replay()
    for stated, leaf in pairs:
        replay.entry(stated, leaf)
    report = replay.report
    if not report.entries:
        report.faults.append(Fault(-1, "verify.empty", "there are no entries"))
    report.budgets = {name: state.summary() for name, state in replay.datasets.items()}
    return report


def _from_export(line: bytes) -> tuple[str | None, str | None]:
    try:
        document = json.loads(line, object_pairs_hook=no_duplicates)
        if set(document) != {"hash", "leaf"}:
            return None, None
        # An export is canonical as a whole, so the leaf's bytes stand in it as they were hashed.
        return document["hash"], canonical_text(document["leaf"])
    except (ValueError, TypeError, RecursionError):
        return None, None
