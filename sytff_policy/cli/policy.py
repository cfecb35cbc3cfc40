"""`sytff policy check|activate|templates`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sytff_policy.cli.common import HomeOption, JsonOption, opened, show
from sytff_policy.client.domain import login_name
from sytff_policy.home import bundle_from
from sytff_policy.policy import EmbeddedEngine, admit, library_root, node_bundle, template_names

policy_app = typer.Typer(help="Check Rego policies and put them in force.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(policy_app, name="policy")


@policy_app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the policy.")],
    as_json: JsonOption = False,
) -> None:
    """Check a policy as a node would before it puts it in force, and run its tests."""
    engine = EmbeddedEngine()
    try:
        report = admit(bundle_from(folder), engine, node_bundle())
    finally:
        engine.close()
    show(
        {"admitted": True, "digest": report.bundle.digest, "tests": len(report.tests)},
        as_json,
        f"Admissible: {len(report.tests)} tests pass. {report.bundle.digest}",
    )


@policy_app.command("activate")
def activate(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the policy.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a policy in force for a dataset; the ledger records it."""
    with opened(home) as node:
        digest = node.activate(name, bundle_from(folder), by=login_name())
        show({"dataset": name, "policy": digest}, as_json, f"{name}: policy {digest} is active")


@policy_app.command("templates")
def templates(as_json: JsonOption = False) -> None:
    """List the templates to start from, and where they lie."""
    root = library_root() / "templates"
    names = template_names()
    show(
        {"folder": str(root), "templates": names},
        as_json,
        "\n".join(f"{name}  {root / name}" for name in names),
    )
