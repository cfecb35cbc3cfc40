"""`sytff ledger checkpoint|receipt|verify-receipt|report`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from sytff_policy.canonical import canonical_bytes
from sytff_policy.cli.common import (
    Exit,
    HomeOption,
    JsonOption,
    opened,
    opened_file,
    read_json,
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
from sytff_policy.errors import InvalidInput
from sytff_policy.ledger.verify import verify_export, verify_receipt
from sytff_policy.report import gather, render, rows_of

KeyOption = Annotated[
    list[str] | None,
    typer.Option("--key", help="Public key of the log, or a file of them. Repeatable."),
]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("checkpoint")(checkpoint)
    app.command("receipt")(receipt)
    app.command("verify-receipt")(check_receipt)
    app.command("report")(report)


def checkpoint(
    record: Annotated[
        bool, typer.Option("--record", help="Append a checkpoint to the log as well.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the signed checkpoint of the ledger as it is now, for auditors to keep.

    It is co-signed by the node's HTTP witnesses, if there are any; an export then is too.
    """
    with opened(home) as node:
        if record:
            node.checkpoints.record()
        note, made = node.checkpoints.witnessed()
    document = {"size": made.size, "root": made.root.hex(), "checkpoint": note.signed_text}
    show(document, as_json, note.signed_text.removesuffix("\n"))


def receipt(
    decision: Annotated[str, typer.Argument(help="Decision id.")],
    file: Annotated[
        Path | None, typer.Option(help="File to write. Default: standard output.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove a decision, and what became of it, to anyone who has the log's public key."""
    if file is not None and file.exists():
        raise InvalidInput("--file", "exists already", value=str(file))
    with viewed(home) as view:
        made = view.receipt(decision)
    # In canonical form, so that the leaves stand in it as they were hashed: a tool that takes their
    # bytes as they are needs no canonical JSON of its own.
    text = canonical_bytes(made).decode() + "\n"
    if file is None:
        sys.stdout.write(text)
        return
    _write(file, text, "--file")
    proved = [entry["leaf"]["seq"] for entry in made["entries"]]
    show(
        {"file": str(file), "decision_id": decision, "entries": proved},
        as_json,
        f"{file}: proves {len(proved)} entries of {decision}",
    )


def check_receipt(
    file: Annotated[Path, typer.Argument(help="A receipt; - reads standard input.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> int:
    """Verify a receipt. Needs the log's public key, and no node.

    Exit code 5 if it proves nothing.
    """
    keys = trusted_keys(key)
    if not keys:
        raise InvalidInput(
            "--key", "is needed", remedy="Ask for it where the node's operator publishes it."
        )
    checked = verify_receipt(read_json(file), keys)
    lines = [f"NOT verified: {checked.problem}"]
    if checked.ok:
        lines = [f"Verified: {checked.decision_id}, in a log of {checked.size} entries signed by"]
        lines += [f"  {checked.key}", *(f"  entry {seq}: {kind}" for seq, kind in checked.entries)]
    show(checked.to_json(), as_json, "\n".join(lines))
    return Exit.DONE if checked.ok else Exit.UNVERIFIED


def report(
    file: Annotated[Path, typer.Argument(help="HTML file to write.")],
    source: Annotated[
        Path | None,
        typer.Option("--export", help="An export to report on. Default: the node's own ledger."),
    ] = None,
    key: KeyOption = None,
    dataset: DatasetOption = None,
    researcher: ResearcherFilter = None,
    kind: KindOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    decision: DecisionOption = None,
    code: CodeOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> int:
    """Write an offline report: one HTML file, made for printing.

    Spending over time, by researcher and by mechanism, decisions by code, releases, and whether
    the ledger verifies. Exit code 5 if it does not; the report says so too.
    """
    selection = selected(dataset, researcher, kind, since, until, decision, code)
    if file.exists():
        raise InvalidInput("FILE", "exists already", value=str(file))
    keys = trusted_keys(key)
    with _exported(source, home, keys) as (stream, known):
        verification = verify_export(stream, keys=known)
        stream.seek(0)
        note: list[str] = []
        facts = gather(rows_of(_entries(stream, note)), selection)
    page = render(
        facts,
        verification,
        selection=selection,
        trusted=bool(keys),
        checkpoint="".join(note),
        made_ns=time.time_ns(),
    )
    _write(file, page, "FILE")
    state = "verified" if verification.ok else "NOT verified"
    show(
        {"file": str(file), "verified": verification.ok, "entries": verification.entries},
        as_json,
        f"{file}: {verification.entries} entries, {state}",
    )
    return Exit.DONE if verification.ok else Exit.UNVERIFIED


@contextmanager
def _exported(
    source: Path | None, home: Path | None, keys: list[str]
) -> Iterator[tuple[BinaryIO, list[str]]]:
    """An export to read twice, and the keys to hold it to."""
    if source is not None:
        with opened_file(source) as stream:
            yield stream, keys
        return
    # The node's own ledger goes through a file, so that the page and its verification are of the
    # same entries, however many there are and whatever is written meanwhile.
    with viewed(home) as view, tempfile.TemporaryFile() as spool:
        view.export(spool)
        spool.seek(0)
        yield cast(BinaryIO, spool), keys or [item.text for item in view.public_keys()]


def _entries(stream: BinaryIO, note: list[str]) -> Iterator[tuple[str, str]]:
    """(hash, leaf) of every line; the closing checkpoint goes to `note`."""
    for line in stream:
        try:
            document = json.loads(line)
            if "checkpoint" in document:
                note.append(str(document["checkpoint"]))
            else:
                yield document["hash"], json.dumps(document["leaf"])
        except (ValueError, KeyError, TypeError):
            # The verification names it; nothing after it can be told.
            return


def _write(file: Path, content: str, field: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(content)
    except OSError as error:
        raise InvalidInput(field, f"cannot be written: {error.strerror}", value=str(file)) from None
