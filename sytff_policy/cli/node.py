"""`sytff init`."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated

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
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new node in a folder: its ledger, its key, its places for data and policies.

    The folder holds the key of the datasets' digests and of who is held out: keep it private, and
    back it up as a whole.
    """
    place = folder if folder is not None else named_home(home)
    try:
        made = Home.create(place)
    except OSError as error:
        if error.errno not in _UNUSABLE:
            raise
        problem = f"cannot be made: {error.strerror}"
        raise InvalidInput("DIR", problem, value=str(place)) from None
    with made as node:
        show(
            {"home": str(place), "node_id": node.node_id},
            as_json,
            f"Made {node.node_id} in {place}.\n"
            f"Next: export SYTFF_HOME={place}, then sytff dataset register --help",
        )
