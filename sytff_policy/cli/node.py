"""`sytff init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sytff_policy.cli.common import JsonOption, show
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("init")(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    ledger: Annotated[
        str | None,
        typer.Option(
            help="URL of an empty PostgreSQL database for the ledger, such as "
            "postgresql+psycopg://sytff@/ledger?host=/run/postgresql. Default: a file in DIR."
        ),
    ] = None,
    witness_file: Annotated[
        Path | None,
        typer.Option(help="Where the last checkpoint is kept: best on another disk than DIR."),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(help='An HTTP witness that co-signs: "URL KEY". Repeatable.'),
    ] = None,
    signer: Annotated[
        str | None,
        typer.Option(help="Address of the signing key. Default: a new key in a file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new node in DIR: its ledger, its keys, its places for data and policies."""
    with Home.create(folder, _places(ledger, witness_file, witness, signer)) as home:
        show(
            {
                "home": str(folder),
                "node_id": home.node_id,
                "key": home.checkpoints.keys[-1].text,
            },
            as_json,
            f"Made {home.node_id} in {folder}.\n"
            f"Its ledger is signed by {home.checkpoints.keys[-1].text}\n"
            f"Next: sytff dataset register NAME --home {folder} ...",
        )


def _places(
    ledger: str | None, file: Path | None, http: list[str] | None, signer: str | None
) -> dict[str, Any]:
    """`ledger`, `signer` and `witness` for node.json; what is not given is left out."""
    witness: dict[str, Any] = {}
    if file is not None:
        witness["file"] = str(file.absolute())
    for item in http or []:
        url, _, key = item.partition(" ")
        if not key:
            raise InvalidInput("--witness", "is not an address and a key", value=item)
        witness.setdefault("http", []).append({"url": url, "key": key.strip()})
    places = {"ledger": ledger, "signer": signer, "witness": witness}
    return {name: place for name, place in places.items() if place}
