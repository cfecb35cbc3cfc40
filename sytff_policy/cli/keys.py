"""`sytff keys show|rotate`."""

from __future__ import annotations

from typing import Annotated

import typer

from sytff_policy.cli.common import HomeOption, JsonOption, example, opened, show, viewed

keys_app = typer.Typer(help="The keys that sign the ledger.")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(keys_app, name="keys")


@keys_app.command("show", epilog=example("sytff keys show --home node"))
def show_keys(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print the ledger's public keys, newest last. Publish them where auditors find them."""
    with viewed(home) as view:
        keys = [key.text for key in view.public_keys()]
    show({"keys": keys}, as_json, "\n".join(keys))


@keys_app.command("rotate", epilog=example("sytff keys rotate --home node"))
def rotate(
    signer: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of the new key, such as file:PATH or that of an installed signer. "
            "Default: a new key in a file.",
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand the ledger over to a new key, named by a checkpoint that the present one signs.

    The present key's file is removed. Other processes of this node must be started again.
    """
    with opened(home) as node:
        key = node.custody.rotate(node.checkpoints, signer)
    show({"key": key.text}, as_json, f"The ledger is now signed by\n{key.text}")
