"""`sytff init`."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated, Any

import typer

from sytff_policy.cli.common import HomeOption, JsonOption, example, named_home, show
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home

_UNUSABLE = {
    errno.EACCES,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""The folder that was named is at fault, and not the machine."""


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("init", epilog=example("sytff init node", "export SYTFF_HOME=node"))(init)


def init(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="An empty or new folder. Default: what --home or SYTFF_HOME names.",
            show_default=False,
        ),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An empty PostgreSQL database for the ledger, such as "
            "postgresql+psycopg://sytff@/ledger?host=/run/postgresql. Default: a file in DIR.",
        ),
    ] = None,
    witness_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the last checkpoint is kept: best on another disk than DIR.",
        ),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WITNESS", help='An HTTP witness that co-signs: "URL KEY". Repeatable.'
        ),
    ] = None,
    signer: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Address of the signing key. Default: a new key in a file."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new node in a folder: its ledger, its keys, its places for data and policies.

    The folder holds the key of the datasets' digests and of who is held out, and the key that
    signs the ledger: keep it private, and back it up as a whole.
    """
    place = folder if folder is not None else named_home(home)
    custody = _places(ledger, witness_file, witness, signer)
    try:
        made = Home.create(place, custody)
    except OSError as error:
        if error.errno not in _UNUSABLE:
            raise
        problem = f"cannot be made: {error.strerror}"
        raise InvalidInput("DIR", problem, value=str(place)) from None
    with made as node:
        key = node.checkpoints.keys[-1].text
        show(
            {"home": str(place), "node_id": node.node_id, "key": key},
            as_json,
            f"Made {node.node_id} in {place}.\n"
            f"Its ledger is signed by {key}\n"
            f"Next: export SYTFF_HOME={place}, then sytff dataset register --help",
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
