"""`sytff ledger list|show|verify|export`."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Annotated

import typer

from sytff_policy.cli.common import Exit, HomeOption, JsonOption, opened, out, print_json, show
from sytff_policy.errors import InvalidInput, NotFound
from sytff_policy.home import Home
from sytff_policy.ledger import Entry
from sytff_policy.ledger.verify import Report, verify_export

ledger_app = typer.Typer(help="Read, export and verify the ledger.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(ledger_app, name="ledger")


@ledger_app.command("list")
def list_entries(
    dataset: Annotated[str | None, typer.Option(help="Only of this dataset.")] = None,
    researcher: Annotated[str | None, typer.Option(help="Only of this researcher.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as decision.")] = None,
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1)] = 50,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List entries, newest last."""
    with opened(home) as node:
        entries = list(
            node.ledger.entries(
                dataset=dataset, researcher=researcher, kind=kind, limit=limit, newest_first=True
            )
        )[::-1]
        text = "\n".join(_line(entry) for entry in entries) or "no such entries"
        show({"entries": [entry.to_json() for entry in entries]}, as_json, text)


@ledger_app.command("show")
def show_entry(
    entry: Annotated[str, typer.Argument(help="Entry number, decision id or run id.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an entry whole, or all entries of a decision or a run."""
    with opened(home) as node:
        if entry.isdigit():
            found = list(node.ledger.entries(start=int(entry), limit=1))
            found = [item for item in found if item.seq == int(entry)]
        else:
            found = list(node.ledger.entries(subject=entry))
        if not found:
            raise NotFound("ledger entry", entry)
        documents = [item.to_json() for item in found]
        print_json(documents[0] if len(documents) == 1 else {"entries": documents})


@ledger_app.command("verify")
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="An export. Default: the node's own ledger.")
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
    """Verify the ledger: hashes, order, every charge, every state, every release.

    The check has its own code and recomputes everything from the entries. Exit code 5 if anything
    is wrong; every fault is named with its entry.
    """
    if recompute not in (None, "pld"):
        raise InvalidInput("--recompute", "is no way to recompute", value=recompute, limit="pld")
    if file is not None:
        if not file.is_file():
            raise InvalidInput("FILE", "no such file", value=str(file))
        with file.open("rb") as stream:
            report = verify_export(stream, recompute=recompute)
    else:
        with opened(home) as node:
            report = node.ledger.verify(recompute=recompute)
    show(report.to_json(), as_json, report_text(report))
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
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export every entry as a line of JSON, for verification anywhere."""
    with opened(home) as node:
        if str(file) == "-":
            node.ledger.export(sys.stdout.buffer)
            return
        if file.exists():
            raise InvalidInput("FILE", "exists already", value=str(file))
        with file.open("wb") as stream:
            count = node.ledger.export(stream)
        show({"file": str(file), "entries": count}, as_json, f"{count} entries in {file}")


def report_text(report: Report) -> str:
    """A report in a few lines."""
    tight = [
        f"  executed of {name}: "
        + ("too much to recompute" if epsilon is None else f"epsilon {epsilon:.4f} by PLD")
        for name, epsilon in (report.tight or {}).items()
    ]
    if report.ok:
        return "\n".join([f"Verified: {report.entries} entries, head {report.head}", *tight])
    lines = [f"NOT verified: {len(report.faults)} faults in {report.entries} entries"]
    if report.first is not None:
        lines.append(f"first fault: entry {report.first.seq}: {report.first.message}")
    lines += [f"  entry {fault.seq}: {fault.message} [{fault.code}]" for fault in report.faults]
    return "\n".join(lines)


def _line(entry: Entry) -> str:
    leaf, body = entry.content, entry.body
    when = datetime.datetime.fromtimestamp(int(leaf["time_ns"]) / 1e9, datetime.timezone.utc)
    what = {
        "decision": lambda: (
            f"{body['decision']} {body['decision_id']} by {body['researcher']['id']}"
        ),
        "reservation": lambda: f"{body['run_id']} charge {', '.join(body['charge'])}",
        "settlement": lambda: f"{body['run_id']} {body['status']}, charge {body['charge'][0]}",
        "progress": lambda: f"{body['run_id']} {body['rounds_started']} rounds started",
        "release": lambda: f"{body['run_id']} {len(body['results'])} files",
    }.get(entry.kind, lambda: "")()
    name = body.get("dataset", "")
    return f"{entry.seq:>6}  {when:%Y-%m-%d %H:%M:%S}  {entry.kind:<18} {name}  {what}".rstrip()
