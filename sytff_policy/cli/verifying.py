"""`sytff ledger verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import OperationalError

from sytff_policy.cli.common import (
    Exit,
    HomeOption,
    JsonOption,
    example,
    show,
    trusted_keys,
    viewed,
)
from sytff_policy.cli.errors import error_text
from sytff_policy.cli.files import opened_file
from sytff_policy.errors import InvalidInput
from sytff_policy.ledger import LedgerUnavailable
from sytff_policy.ledger.notes import Checkpoint, Note, NoteError
from sytff_policy.ledger.verify import Fault, Report, verify_export

SHOWN_FAULTS = 20


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "verify",
        epilog=example(
            "sytff ledger verify --home node",
            "sytff ledger verify export.jsonl --key ledger.keys --checkpoint kept.txt",
        ),
    )(verify)


def verify(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="An export; - reads standard input. Default: the node's own ledger.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Public key of the log, or a file of them, that you have from elsewhere. "
            "Repeatable. Then a checkpoint must cover every entry.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A signed checkpoint that you kept: the log must contain it."
        ),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Public key of a witness that must have co-signed it. Repeatable.",
        ),
    ] = None,
    recompute: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="pld: state too what was executed of every budget, by privacy loss distributions.",
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> int:
    """Verify the ledger: hashes, order, every charge, every state, every release, signatures.

    The check has its own code and recomputes everything from the entries. Exit code 5 if anything
    is wrong, or the ledger cannot be read; every fault is named with its entry. Of an export it
    needs nothing else; only a public key from elsewhere shows whose log it is.
    """
    if recompute not in (None, "pld"):
        raise InvalidInput("--recompute", "is no way to recompute", value=recompute, limit="pld")
    if file is not None:
        keys, witnesses = trusted_keys(key), trusted_keys(witness, "--witness")
        note = None if checkpoint is None else read_note(checkpoint).signed_text
        with opened_file(file) as stream:
            report = verify_export(
                stream, keys=keys, witnesses=witnesses, checkpoint=note, recompute=recompute
            )
    elif key or checkpoint or witness:
        raise InvalidInput(
            "FILE", "is needed with --key, --witness and --checkpoint", remedy="Export first."
        )
    else:
        report = _verify_node(home, recompute)
    show(report.to_json(), as_json, report_text(report, trusted=bool(key) or file is None))
    return Exit.DONE if report.ok else Exit.UNVERIFIED


def report_text(report: Report, *, trusted: bool = False) -> str:
    """A report in a few lines.

    Args:
      report: The report.
      trusted: Whether the reader has the log's key from elsewhere.
    """
    if report.ok:
        verified = f"Verified: {report.entries} entries, head {report.head}"
        return "\n".join([verified, _signed_text(report, trusted), *_tight_lines(report)])
    faults = "1 fault" if len(report.faults) == 1 else f"{len(report.faults)} faults"
    lines = [f"NOT verified: {faults} in {report.entries} entries"]
    if report.first is not None:
        lines.append(f"first fault: {_fault_text(report.first)}")
    lines += [f"  {_fault_text(fault)} [{fault.code}]" for fault in report.faults[:SHOWN_FAULTS]]
    if len(report.faults) > SHOWN_FAULTS:
        lines.append(f"  and {len(report.faults) - SHOWN_FAULTS} more; --json lists all")
    return "\n".join(lines)


def read_note(path: Path) -> Note:
    """A signed checkpoint from a file.

    Raises:
      InvalidInput: If it is none.
    """
    try:
        note = Note.parse(path.read_bytes())
        Checkpoint.parse(note.text)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise InvalidInput("--checkpoint", problem, value=str(path)) from None
    except NoteError as error:
        raise InvalidInput("--checkpoint", f"cannot be read: {error}", value=str(path)) from None
    return note


def _verify_node(home: Path | None, recompute: str | None) -> Report:
    try:
        with viewed(home) as view:
            return view.verify(recompute=recompute)
    except LedgerUnavailable as error:
        if _is_operational(error):
            raise
        return Report(faults=[Fault(-1, "verify.unreadable", error_text(error))])


def _is_operational(error: LedgerUnavailable) -> bool:
    """Whether the ledger is locked or out of reach, which says nothing about its content."""
    cause = error.__cause__ or error.__context__
    return isinstance(cause, OperationalError)


def _fault_text(fault: Fault) -> str:
    where = f"entry {fault.seq}" if fault.seq >= 0 else "the ledger"
    return f"{where}: {fault.message}"


def _signed_text(report: Report, trusted: bool) -> str:
    if not report.keys:
        return "  not signed"
    text = f"  signed up to entry {report.signed} by {report.keys[-1]}"
    return text if trusted else f"{text}; compare this key with one from elsewhere, or give --key"


def _tight_lines(report: Report) -> list[str]:
    return [
        f"  executed of {name}: "
        + ("too much to recompute" if epsilon is None else f"epsilon {epsilon:.4f} by PLD")
        for name, epsilon in (report.tight or {}).items()
    ]
