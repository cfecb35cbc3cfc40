"""`sytff ledger checkpoint|receipt|verify-receipt|report`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from sytff_policy.canonical import canonical_bytes
from sytff_policy.cli.common import (
    Exit,
    HomeOption,
    JsonOption,
    UnusedHomeOption,
    example,
    opened,
    show,
    trusted_keys,
    viewed,
)
from sytff_policy.cli.files import new_file, opened_file, read_json
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
    typer.Option(
        "--key", metavar="KEY", help="Public key of the log, or a file of them. Repeatable."
    ),
]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(
        "checkpoint",
        epilog=example("sytff ledger checkpoint", "sytff ledger checkpoint --record --json"),
    )(checkpoint)
    app.command(
        "receipt",
        epilog=example("sytff ledger receipt dec-0123456789abcdef --file receipt.json"),
    )(receipt)
    app.command(
        "verify-receipt",
        epilog=example("sytff ledger verify-receipt receipt.json --key ledger.keys"),
    )(check_receipt)
    app.command(
        "report",
        epilog=example(
            "sytff ledger report may.html --since 2026-05-01 --until 2026-05-31",
            "sytff ledger report page.html --export ledger.jsonl --key ledger.keys",
        ),
    )(report)


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
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="Decision id.")],
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="New file to write. Default: standard output."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove a decision, and what became of it, to anyone who has the log's public key.

    The receipt is one JSON document, on standard output or in the file.
    """
    with viewed(home) as view:
        made = view.receipt(decision)
    # In canonical form, so that the leaves stand in it as they were hashed: a tool that takes their
    # bytes as they are needs no canonical JSON of its own.
    text = canonical_bytes(made).decode() + "\n"
    if file is None:
        sys.stdout.write(text)
        return
    with new_file(file, "--file") as stream:
        stream.write(text.encode())
    proved = [entry["leaf"]["seq"] for entry in made["entries"]]
    show(
        {"file": str(file), "decision_id": decision, "entries": proved},
        as_json,
        f"{file}: proves {len(proved)} entries of {decision}",
    )


def check_receipt(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A receipt; - reads standard input.")
    ],
    key: KeyOption = None,
    home: UnusedHomeOption = None,
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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New HTML file to write.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="An export to report on. Default: the node's own ledger.",
        ),
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
    keys = trusted_keys(key)
    with new_file(file) as out, _exported(source, home, keys) as (stream, known):
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
        out.write(page.encode())
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
) -> Iterator[tuple[IO[bytes], list[str]]]:
    """An export to read twice, and the keys to hold it to."""
    if source is not None:
        with opened_file(source, "--export") as stream, tempfile.TemporaryFile() as spool:
            # What standard input, or a file that grows, says twice need not be the same.
            shutil.copyfileobj(stream, spool)
            spool.seek(0)
            yield spool, keys
        return
    # The node's own ledger goes through a file, so that the page and its verification are of the
    # same entries, however many there are and whatever is written meanwhile.
    with viewed(home) as view, tempfile.TemporaryFile() as spool:
        view.export(spool)
        spool.seek(0)
        yield spool, keys or [item.text for item in view.public_keys()]


def _entries(stream: IO[bytes], note: list[str]) -> Iterator[tuple[str, str]]:
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
