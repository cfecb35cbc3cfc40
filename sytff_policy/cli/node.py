"""`sytff init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sytff_policy.cli.common import JsonOption, show
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
    as_json: JsonOption = False,
) -> None:
    """Make a new node in DIR: its ledger, its key, its places for data and policies."""
    with Home.create(folder, {} if ledger is None else {"ledger": ledger}) as home:
        show(
            {"home": str(folder), "node_id": home.node_id},
            as_json,
            f"Made {home.node_id} in {folder}.\n"
            f"Next: sytff dataset register NAME --home {folder} ...",
        )
