"""`sytff ledger list|show|verify|export`."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.exc import OperationalError

from sytff_policy.cli.common import (
    Exit,
    HomeOption,
    JsonOption,
    example,
    opened,
    print_json,
    show,
)
from sytff_policy.cli.errors import error_text
from sytff_policy.cli.files import STANDARD, new_file
from sytff_policy.errors import InvalidInput, NotFound
from sytff_policy.home import Home
from sytff_policy.ledger import Entry, LedgerUnavailable
from sytff_policy.ledger.verify import Fault, Report, verify_entries, verify_export

KINDS = (
    "genesis",
    "dataset.registered",
    "budget.granted",
    "policy.activated",
    "decision",
    "reservation",
    "progress",
    "settlement",
    "release",
    "fault",
)
SHOWN_FAULTS = 20
_MOST = 2**63 - 1

ledger_app = typer.Typer(help="Read, export and verify the ledger.")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(ledger_app, name="ledger")


@ledger_app.command(
    "list", epilog=example("sytff ledger list --kind decision --researcher ada --limit 5")
)
def list_entries(
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this dataset.")
    ] = None,
    researcher: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this researcher.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only of this kind, such as decision.")
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", help="The newest so many.", min=1, max=_MOST)
    ] = 50,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List entries, newest last: number, time (UTC), kind, dataset, and what happened.

    Kinds are genesis, dataset.registered, budget.granted, policy.activated, decision, reservation,
    progress, settlement, release and fault.
    """
    if kind is not None and kind not in KINDS:
        raise InvalidInput("--kind", "is unknown", value=kind, limit=", ".join(KINDS))
    with opened(home) as node:
        if dataset is not None:
            node.ledger.dataset(dataset)
        entries = list(
            node.ledger.entries(
                dataset=dataset, researcher=researcher, kind=kind, limit=limit, newest_first=True
            )
        )[::-1]
        text = "\n".join(_line(entry) for entry in entries) or "no such entries"
        show({"entries": [_document(entry) for entry in entries]}, as_json, text)


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
    """Show an entry whole, or all entries of a run."""
    with opened(home) as node:
        found = _find(node, entry)
        if not found:
            raise InvalidInput(
                "ENTRY",
                "is not in the ledger",
                value=entry[:80],
                remedy="Decisions of `request check` are not recorded.",
                code=NotFound.code,
            )
        documents = [_document(item) for item in found]
        whole = {"entries": documents} if entry.startswith("run-") else documents[0]
        text = "\n".join(
            f"{_line(item)}\n{json.dumps(document, indent=2, ensure_ascii=False)}"
            for item, document in zip(found, documents, strict=True)
        )
        show(whole, as_json, text)


@ledger_app.command(
    "verify", epilog=example("sytff ledger verify --home node", "sytff ledger verify export.jsonl")
)
def verify(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="An export; - reads standard input. Default: the node's own ledger.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> int:
    """Verify the ledger: hashes, order, every charge, every state, every release.

    The check has its own code and recomputes everything from the entries. Exit code 5 if anything
    is wrong, or the ledger cannot be read; every fault is named with its entry.
    """
    report = _verify_node(home) if file is None else _verify_file(file)
    show(report.to_json(), as_json, report_text(report))
    return Exit.DONE if report.ok else Exit.UNVERIFIED


@ledger_app.command(
    "export", epilog=example("sytff ledger export ledger.jsonl", "sytff ledger verify ledger.jsonl")
)
def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="New file to write; - writes standard output.")
    ] = STANDARD,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export every entry as a line of JSON, for verification anywhere.

    With --json and no FILE, one document with all entries is printed instead of lines.
    """
    with opened(home) as node:
        if file == STANDARD:
            _export_to_output(node, as_json)
            return
        with new_file(file) as stream:
            count = node.ledger.export(stream)
        show({"file": str(file), "entries": count}, as_json, f"{count} entries in {file}")


def report_text(report: Report) -> str:
    """A report in a few lines."""
    if report.ok:
        return f"Verified: {report.entries} entries, head {report.head}"
    faults = "1 fault" if len(report.faults) == 1 else f"{len(report.faults)} faults"
    lines = [f"NOT verified: {faults} in {report.entries} entries"]
    for fault in report.faults[:SHOWN_FAULTS]:
        place = f"entry {fault.seq}" if fault.seq >= 0 else "the ledger"
        lines.append(f"  {place}: {fault.message} [{fault.code}]")
    if len(report.faults) > SHOWN_FAULTS:
        lines.append(f"  and {len(report.faults) - SHOWN_FAULTS} more; --json lists all")
    return "\n".join(lines)


def _verify_file(file: Path) -> Report:
    if file == STANDARD:
        return verify_export(sys.stdin.buffer)
    if not file.is_file():
        problem = "is not a file" if file.exists() else "no such file"
        raise InvalidInput("FILE", problem, value=str(file))
    try:
        with file.open("rb") as stream:
            return verify_export(stream)
    except OSError as error:
        raise InvalidInput("FILE", f"cannot be read: {error.strerror}", value=str(file)) from None


def _verify_node(home: Path | None) -> Report:
    try:
        with opened(home) as node:
            try:
                return node.ledger.verify()
            except (ValueError, KeyError, TypeError, ArithmeticError):
                return _verify_entries_alone(node)
    except LedgerUnavailable as error:
        if _is_operational(error):
            raise
        return Report(faults=[Fault(-1, "verify.unreadable", error_text(error))])


def _verify_entries_alone(node: Home) -> Report:
    """For a book so altered that it cannot be read: the entries may still be sound."""
    report = verify_entries((entry.hash, entry.leaf) for entry in node.ledger.entries())
    report.faults.append(Fault(-1, "verify.book", "the book beside the entries cannot be read"))
    return report


def _is_operational(error: LedgerUnavailable) -> bool:
    """Whether the ledger is locked or out of reach, which says nothing about its content."""
    cause = error.__cause__ or error.__context__
    return isinstance(cause, OperationalError)


def _export_to_output(node: Home, as_json: bool) -> None:
    if as_json:
        print_json({"entries": [_document(entry) for entry in node.ledger.entries()]})
        return
    sys.stdout.flush()
    node.ledger.export(sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _find(node: Home, entry: str) -> list[Entry]:
    if not (entry.isascii() and entry.isdecimal()):
        return list(node.ledger.entries(subject=entry))
    digits = entry.lstrip("0") or "0"
    # More digits than the largest entry number has; Python refuses to convert very many.
    if len(digits) > len(str(_MOST)) or (number := int(digits)) > _MOST:
        return []
    found = node.ledger.entries(start=number, limit=1)
    return [item for item in found if item.seq == number]


def _document(entry: Entry) -> dict[str, Any]:
    """An entry as JSON; one that was altered into something else is shown as the text it is."""
    try:
        return {"hash": entry.hash, "leaf": json.loads(entry.leaf, parse_constant=_refuse_constant)}
    except (ValueError, TypeError, RecursionError):
        return {"hash": entry.hash, "leaf": None, "text": str(entry.leaf)}


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _line(entry: Entry) -> str:
    try:
        leaf, body = entry.content, entry.body
        seconds = int(leaf["time_ns"]) / 1e9
        when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
        what = _WHAT[entry.kind](body) if entry.kind in _WHAT else ""
        name = body.get("dataset", "")
        line = f"{entry.seq:>6}  {when:%Y-%m-%d %H:%M:%S}  {entry.kind:<18} {name}  {what}"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError):
        line = f"{entry.seq:>6}  is not an entry that can be read: verify the ledger"
    return line.rstrip()


_WHAT: dict[str, Callable[[dict[str, Any]], str]] = {
    "dataset.registered": lambda body: (
        f"{body['population']} people, filter {body['filter']['kind']}"
    ),
    "budget.granted": lambda body: f"epsilon {body['amount']} by {body['by']}",
    "policy.activated": lambda body: f"{body['bundle']} by {body['by']}",
    "decision": lambda body: (
        f"{body['decision']} {body['decision_id']} by {body['researcher']['id']}"
    ),
    "reservation": lambda body: f"{body['run_id']} charge {', '.join(body['charge'])}",
    "progress": lambda body: _progress(body),
    "settlement": lambda body: _settlement(body),
    "release": lambda body: f"{body['run_id']} {len(body['results'])} files",
    "fault": lambda body: f"{body['run_id']} {body['code']}",
}


def _progress(body: dict[str, Any]) -> str:
    evaluation = ", evaluation" if body["evaluation_started"] else ""
    return f"{body['run_id']} {body['rounds_started']} rounds started{evaluation}"


def _settlement(body: dict[str, Any]) -> str:
    code = f" ({body['code']})" if body["code"] else ""
    return f"{body['run_id']} {body['status']}{code}, charge {', '.join(body['charge'])}"
