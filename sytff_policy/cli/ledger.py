"""`sytff ledger list|show|verify|export`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from sytff_policy.cli.common import (
    Exit,
    HomeOption,
    JsonOption,
    err,
    opened_file,
    out,
    print_json,
    show,
    trusted_keys,
    viewed,
)
from sytff_policy.cli.selecting import (
    CodeOption,
    DatasetOption,
    DecisionOption,
    KindOption,
    ResearcherFilter,
    SinceOption,
    UntilOption,
    selected,
)
from sytff_policy.errors import InvalidInput, NotFound, SytffError
from sytff_policy.home import Home
from sytff_policy.ledger.notes import Checkpoint, Note, NoteError
from sytff_policy.ledger.verify import Fault, Report, verify_export
from sytff_policy.ledger.view import LedgerView
from sytff_policy.report import FORMATS, Row, Selection, rows_of, write_rows

ledger_app = typer.Typer(help="Read, export and verify the ledger.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    from sytff_policy.cli import proofs

    proofs.add_to(ledger_app)
    app.add_typer(ledger_app, name="ledger")


@ledger_app.command("list")
def list_entries(
    dataset: DatasetOption = None,
    researcher: ResearcherFilter = None,
    kind: KindOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    decision: DecisionOption = None,
    code: CodeOption = None,
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1)] = 50,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List entries, newest last."""
    selection = selected(dataset, researcher, kind, since, until, decision, code)
    with viewed(home) as view:
        if selection.everything:
            entries = list(view.entries(newest_first=True, limit=limit))[::-1]
            rows = list(rows_of((entry.hash, entry.leaf) for entry in entries))
        else:
            rows = list(deque(_chosen(view, selection), maxlen=limit))
            entries = [e for row in rows for e in view.entries(start=row.seq, limit=1)]
    text = "\n".join(_line(row) for row in rows) or "no such entries"
    show({"entries": [entry.to_json() for entry in entries]}, as_json, text)


@ledger_app.command("show")
def show_entry(
    entry: Annotated[str, typer.Argument(help="Entry number, decision id or run id.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an entry whole, or all entries of a decision or a run."""
    with viewed(home) as view:
        if entry.isdigit():
            found = list(view.entries(start=int(entry), limit=1))
            found = [item for item in found if item.seq == int(entry)]
        else:
            found = list(view.entries(subject=entry))
        if not found:
            raise NotFound("ledger entry", entry)
        documents = [item.to_json() for item in found]
        print_json(documents[0] if len(documents) == 1 else {"entries": documents})


@ledger_app.command("verify")
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="An export. Default: the node's own ledger.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="Public key of the log, or a file of them, that you have from elsewhere. "
            "Repeatable. Then a checkpoint must cover every entry."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A signed checkpoint that you kept: the log must contain it."),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(help="Public key of a witness that must have co-signed it. Repeatable."),
    ] = None,
    recompute: Annotated[
        str | None,
        typer.Option(
            help="pld: state too what was executed of every budget, by privacy loss distributions."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> int:
    """Verify the ledger: hashes, order, every charge, every state, every release, signatures.

    The check has its own code and recomputes everything from the entries. Exit code 5 if anything
    is wrong; every fault is named with its entry. Of an export it needs nothing else; only a public
    key from elsewhere shows whose log it is.
    """
    if recompute not in (None, "pld"):
        raise InvalidInput("--recompute", "is no way to recompute", value=recompute, limit="pld")
    if file is not None:
        note = None if checkpoint is None else read_note(checkpoint).signed_text
        with opened_file(file) as stream:
            report = verify_export(
                stream,
                keys=trusted_keys(key),
                witnesses=trusted_keys(witness, "--witness"),
                checkpoint=note,
                recompute=recompute,
            )
    elif key or checkpoint or witness:
        raise InvalidInput(
            "FILE", "is needed with --key, --witness and --checkpoint", remedy="Export first."
        )
    else:
        with viewed(home) as view:
            report = view.verify(recompute=recompute)
    show(report.to_json(), as_json, report_text(report, trusted=bool(key) or file is None))
    return Exit.DONE if report.ok else Exit.UNVERIFIED


@ledger_app.command("upgrade")
def upgrade(home: HomeOption = None) -> None:
    """Bring the ledger to this release's schema. Make a backup before: there is no way back."""
    if home is None:
        raise InvalidInput(
            "--home", "no node is named", remedy="Give --home DIR, or set SYTFF_HOME."
        )
    Home.upgrade(home)
    out.print(f"The ledger of {home} is of this release's schema.", markup=False)


@ledger_app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="File to write; - writes standard output.")] = Path(
        "-"
    ),
    form: Annotated[
        str | None,
        typer.Option("--format", help="jsonl, csv or parquet. Default: by the file's name."),
    ] = None,
    dataset: DatasetOption = None,
    researcher: ResearcherFilter = None,
    kind: KindOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    decision: DecisionOption = None,
    code: CodeOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export the ledger for verification anywhere, or a selection of it as a table.

    Everything as JSON lines is the export that `ledger verify` reads: each entry as it was hashed,
    then the signed checkpoint. A selection, and every other format, is a table to look at: one row
    for each entry, with what its run's other entries say of it.
    """
    selection = selected(dataset, researcher, kind, since, until, decision, code)
    chosen = form or {".csv": "csv", ".parquet": "parquet"}.get(file.suffix, "jsonl")
    if chosen not in FORMATS:
        raise InvalidInput("--format", "is not a format", value=chosen, limit=FORMATS)
    with viewed(home) as view:
        if str(file) == "-":
            _export(view, sys.stdout.buffer, selection, chosen)
            sys.stdout.buffer.flush()
            return
        if file.exists():
            raise InvalidInput("FILE", "exists already", value=str(file))
        try:
            with file.open("xb") as stream:
                count = _export(view, stream, selection, chosen)
        except OSError as error:
            raise InvalidInput(
                "FILE", f"cannot be written: {error.strerror}", value=str(file)
            ) from None
        show({"file": str(file), "entries": count}, as_json, f"{count} entries in {file}")


def _export(view: LedgerView, stream: BinaryIO, selection: Selection, form: str) -> int:
    if form != "jsonl" or not selection.everything:
        return write_rows(_chosen(view, selection), stream, form)
    count = view.export(stream)
    left_out = view.size() - count
    if left_out:
        err.print(f"{left_out} newer entries are not signed yet and are left out", markup=False)
    return count


def _chosen(view: LedgerView, selection: Selection) -> Iterator[Row]:
    entries = ((entry.hash, entry.leaf) for entry in view.entries())
    try:
        for row in rows_of(entries):
            if selection.matches(row):
                yield row
    except ValueError as error:
        raise Malformed(str(error)) from None


class Malformed(SytffError):
    """A ledger that cannot be read as rows."""

    code = "ledger.malformed"


def read_note(path: Path) -> Note:
    """A signed checkpoint from a file.

    Raises:
      InvalidInput: If it is none.
    """
    try:
        note = Note.parse(path.read_bytes())
        Checkpoint.parse(note.text)
    except (OSError, NoteError) as error:
        raise InvalidInput("--checkpoint", f"cannot be read: {error}", value=str(path)) from None
    return note


def report_text(report: Report, *, trusted: bool = False) -> str:
    """A report in a few lines."""
    tight = [
        f"  executed of {name}: "
        + ("too much to recompute" if epsilon is None else f"epsilon {epsilon:.4f} by PLD")
        for name, epsilon in (report.tight or {}).items()
    ]
    if report.ok:
        verified = f"Verified: {report.entries} entries, head {report.head}"
        return "\n".join([verified, _signed_text(report, trusted), *tight])
    lines = [f"NOT verified: {len(report.faults)} faults in {report.entries} entries"]
    if report.first is not None:
        lines.append(f"first fault: {_fault_text(report.first)}")
    lines += [f"  {_fault_text(fault)} [{fault.code}]" for fault in report.faults]
    return "\n".join(lines)


def _fault_text(fault: Fault) -> str:
    where = f"entry {fault.seq}" if fault.seq >= 0 else "the log as a whole"
    return f"{where}: {fault.message}"


def _signed_text(report: Report, trusted: bool) -> str:
    if not report.keys:
        return "  not signed"
    text = f"  signed up to entry {report.signed} by {report.keys[-1]}"
    return text if trusted else f"{text}; compare this key with one from elsewhere, or give --key"


def _line(row: Row) -> str:
    line = f"{row.seq:>6}  {row.time:%Y-%m-%d %H:%M:%S}  {row.kind:<18} {row.dataset}  {_what(row)}"
    return line.rstrip()


def _what(row: Row) -> str:
    body = row.body
    what: dict[str, Callable[[], str]] = {
        "decision": lambda: f"{row.decision} {row.decision_id} by {row.researcher}",
        "reservation": lambda: f"{row.run_id} charge {', '.join(body['charge'])}",
        "settlement": lambda: f"{row.run_id} {row.status}, charge {body['charge'][0]}",
        "progress": lambda: f"{row.run_id} {body['rounds_started']} rounds started",
        "release": lambda: f"{row.run_id} {len(body['results'])} files",
        "checkpoint": lambda: f"of {body['note'].splitlines()[1]} entries",
        "key.activated": lambda: str(body["key"]),
    }
    return what.get(row.kind, str)()
