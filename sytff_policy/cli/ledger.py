"""`sytff ledger list|show|export|upgrade`; `verifying` and `proofs` have the other commands."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from sytff_policy.cli import proofs, verifying
from sytff_policy.cli.common import (
    HomeOption,
    JsonOption,
    at_home,
    err,
    example,
    print_json,
    show,
    viewed,
)
from sytff_policy.cli.files import STANDARD, new_file
from sytff_policy.cli.selecting import (
    CodeOption,
    DatasetOption,
    DecisionOption,
    KindOption,
    ResearcherFilter,
    SinceOption,
    UntilOption,
    chosen,
    selected,
    with_rows,
)
from sytff_policy.errors import InvalidInput, NotFound
from sytff_policy.home import Home
from sytff_policy.ledger import Entry
from sytff_policy.ledger.view import LedgerView
from sytff_policy.report import FORMATS, Row, Selection, write_rows

_MOST = 2**63 - 1

ledger_app = typer.Typer(help="Read, export and verify the ledger.")
verifying.add_to(ledger_app)
proofs.add_to(ledger_app)


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(ledger_app, name="ledger")


@ledger_app.command(
    "list",
    epilog=example(
        "sytff ledger list --kind decision --researcher ada --limit 5",
        "sytff ledger list --decision deny --code accountant. --since 2026-05-01",
    ),
)
def list_entries(
    dataset: DatasetOption = None,
    researcher: ResearcherFilter = None,
    kind: KindOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    decision: DecisionOption = None,
    code: CodeOption = None,
    limit: Annotated[
        int, typer.Option(metavar="N", help="The newest so many.", min=1, max=_MOST)
    ] = 50,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List entries, newest last: number, time (UTC), kind, dataset, and what happened."""
    selection = selected(dataset, researcher, kind, since, until, decision, code)
    found: list[tuple[Entry, Row | None]]
    with viewed(home) as view:
        if selection.everything:
            newest = list(view.entries(newest_first=True, limit=limit))
            found = list(with_rows(reversed(newest)))
        else:
            found = [*deque(chosen(view.entries(), selection), maxlen=min(limit, sys.maxsize))]
    text = "\n".join(_line(entry, row) for entry, row in found) or "no such entries"
    show({"entries": [_document(entry) for entry, _ in found]}, as_json, text)


@ledger_app.command(
    "show", epilog=example("sytff ledger show 3", "sytff ledger show run-0123456789abcdef --json")
)
def show_entry(
    entry: Annotated[
        str, typer.Argument(metavar="ENTRY", help="Entry number, decision id or run id.")
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an entry whole, or all entries of a run, or a decision and its review."""
    with viewed(home) as view:
        found = _find(view, entry)
    if not found:
        raise InvalidInput(
            "ENTRY",
            "is not in the ledger",
            value=entry[:80],
            remedy="Decisions of `request check` are not recorded.",
            code=NotFound.code,
        )
    documents = [_document(item) for item in found]
    several = entry.startswith("run-") or len(found) > 1
    text = "\n".join(
        f"{_line(item, row)}\n{json.dumps(document, indent=2, ensure_ascii=False)}"
        for (item, row), document in zip(with_rows(found), documents, strict=True)
    )
    show({"entries": documents} if several else documents[0], as_json, text)


@ledger_app.command(
    "export",
    epilog=example(
        "sytff ledger export ledger.jsonl",
        "sytff ledger verify ledger.jsonl",
        "sytff ledger export denied.csv --decision deny",
    ),
)
def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="New file to write; - writes standard output.")
    ] = STANDARD,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl, csv or parquet. Default: by the file's name.",
        ),
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

    With --json and no FILE, one document with the entries is printed instead of lines.
    """
    selection = selected(dataset, researcher, kind, since, until, decision, code)
    chosen_form = form or {".csv": "csv", ".parquet": "parquet"}.get(file.suffix, "jsonl")
    if chosen_form not in FORMATS:
        raise InvalidInput("--format", "is unknown", value=form, limit=", ".join(FORMATS))
    to_output = file == STANDARD
    if to_output and as_json and chosen_form != "jsonl":
        raise InvalidInput(
            "--format", "is not JSON", value=form, remedy="Leave out --json, or name a FILE."
        )
    with viewed(home) as view:
        if to_output and as_json:
            print_json({"entries": list(_documents(view, selection))})
        elif to_output:
            sys.stdout.flush()
            _export(view, sys.stdout.buffer, selection, chosen_form)
            sys.stdout.buffer.flush()
        else:
            with new_file(file) as stream:
                count = _export(view, stream, selection, chosen_form)
            show({"file": str(file), "entries": count}, as_json, f"{count} entries in {file}")


@ledger_app.command("upgrade", epilog=example("sytff ledger upgrade --home node"))
def upgrade(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Bring the ledger to this release's schema. Make a backup before: there is no way back."""
    at_home(home, Home.upgrade)
    show(
        {"home": str(home), "upgraded": True},
        as_json,
        f"The ledger of {home} is of this release's schema.",
    )


def _export(view: LedgerView, stream: IO[bytes], selection: Selection, form: str) -> int:
    if form != "jsonl" or not selection.everything:
        # A table leaves out nothing that it cannot read.
        rows = (row for _, row in chosen(view.entries(), selection, strict=True))
        return write_rows(rows, stream, form)
    count = view.export(stream)
    left_out = view.size() - count
    if left_out:
        err.print(f"{left_out} newer entries are not signed yet and are left out", markup=False)
    return count


def _documents(view: LedgerView, selection: Selection) -> Iterator[dict[str, Any]]:
    if selection.everything:
        yield from map(_document, view.entries())
    else:
        yield from (_document(entry) for entry, _ in chosen(view.entries(), selection))


def _find(view: LedgerView, entry: str) -> list[Entry]:
    if not (entry.isascii() and entry.isdecimal()):
        return list(view.entries(subject=entry))
    digits = entry.lstrip("0") or "0"
    # More digits than the largest entry number has; Python refuses to convert very many.
    if len(digits) > len(str(_MOST)) or (number := int(digits)) > _MOST:
        return []
    return [item for item in view.entries(start=number, limit=1) if item.seq == number]


def _document(entry: Entry) -> dict[str, Any]:
    """An entry as JSON; one that was altered into something else is shown as the text it is."""
    try:
        return {"hash": entry.hash, "leaf": json.loads(entry.leaf, parse_constant=_refuse_constant)}
    except (ValueError, TypeError, RecursionError):
        return {"hash": entry.hash, "leaf": None, "text": str(entry.leaf)}


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _line(entry: Entry, row: Row | None) -> str:
    line = f"{entry.seq:>6}  is not an entry that can be read: verify the ledger"
    if row is not None:
        try:
            what = _WHAT[row.kind](row, row.body) if row.kind in _WHAT else ""
            when = f"{row.time:%Y-%m-%d %H:%M:%S}"
            line = f"{entry.seq:>6}  {when}  {row.kind:<18} {row.dataset}  {what}"
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError):
            pass
    return line.rstrip()


_WHAT: dict[str, Callable[[Row, dict[str, Any]], str]] = {
    "dataset.registered": lambda row, body: (
        f"{body['population']} people, filter {body['filter']['kind']}"
    ),
    "dataset.version": lambda row, body: (
        f"{body['population']} people, {body['version']} by {body['by']}"
    ),
    "budget.granted": lambda row, body: f"epsilon {body['amount']} by {body['by']}",
    "cap.set": lambda row, body: (
        f"{body['scope']} {body['subject']}: "
        f"{'none' if body['epsilon'] is None else 'epsilon ' + body['epsilon']} by {body['by']}"
    ),
    "policy.activated": lambda row, body: f"{body['bundle']} by {body['by']}",
    "node.policy": lambda row, body: str(body["bundle"]),
    "decision": lambda row, body: f"{row.decision} {row.decision_id} by {row.researcher}",
    "review.resolved": lambda row, body: f"{row.decision_id} {row.status} by {body['by']}",
    "reservation": lambda row, body: f"{row.run_id} charge {', '.join(body['charge'])}",
    "progress": lambda row, body: _progress(body),
    "settlement": lambda row, body: _settlement(body),
    "release": lambda row, body: f"{row.run_id} {len(body['results'])} files",
    "fault": lambda row, body: f"{row.run_id} {body['code']}",
    "checkpoint": lambda row, body: f"of {body['note'].splitlines()[1]} entries",
    "key.activated": lambda row, body: str(body["key"]),
}


def _progress(body: dict[str, Any]) -> str:
    evaluation = ", evaluation" if body["evaluation_started"] else ""
    return f"{body['run_id']} {body['rounds_started']} rounds started{evaluation}"


def _settlement(body: dict[str, Any]) -> str:
    code = f" ({body['code']})" if body["code"] else ""
    return f"{body['run_id']} {body['status']}{code}, charge {', '.join(body['charge'])}"
