"""`sytff policy templates|new|check|activate`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from sytff_policy.cli.common import (
    DatasetArgument,
    HomeOption,
    JsonOption,
    UnusedHomeOption,
    example,
    opened,
    show,
)
from sytff_policy.cli.files import new_folder
from sytff_policy.client.domain import login_name
from sytff_policy.errors import InvalidInput
from sytff_policy.home import bundle_from
from sytff_policy.policy import EmbeddedEngine, admit, library_root, node_bundle, template_names

policy_app = typer.Typer(help="Make Rego policies, check them and put them in force.")

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the policy.")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(policy_app, name="policy")


@policy_app.command("templates", epilog=example("sytff policy templates"))
def templates(home: UnusedHomeOption = None, as_json: JsonOption = False) -> None:
    """List the templates to start from, and where they lie."""
    root = library_root() / "templates"
    names = template_names()
    show(
        {"folder": str(root), "templates": names},
        as_json,
        "\n".join(f"{name}  {root / name}" for name in names),
    )


@policy_app.command(
    "new",
    epilog=example(
        "sytff policy new my-policy --template health_registry", "sytff policy check my-policy"
    ),
)
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    template: Annotated[
        str, typer.Option(metavar="NAME", help="The template to copy.")
    ] = "starter",
    home: UnusedHomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a template to DIR, to change its limits (data.json) or its rules (policy.rego)."""
    names = template_names()
    if template not in names:
        raise InvalidInput("--template", "is unknown", value=template, limit=", ".join(names))
    with new_folder(folder, "DIR"):
        shutil.copytree(library_root() / "templates" / template, folder, dirs_exist_ok=True)
    files = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    show(
        {"folder": str(folder), "template": template, "files": files},
        as_json,
        "\n".join([*files, f"Next: change the limits in {folder / 'data.json'}, and check it."]),
    )


@policy_app.command("check", epilog=example("sytff policy check my-policy"))
def check(folder: FolderArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check a policy as a node would before it puts it in force, and run its tests.

    With --home the node's own library is used; without it, the one that is shipped.
    """
    bundle = bundle_from(folder)
    if home is not None:
        with opened(home) as node:
            report = admit(bundle, node.engine, node.node_bundle)
    else:
        engine = EmbeddedEngine()
        try:
            report = admit(bundle, engine, node_bundle())
        finally:
            engine.close()
    show(
        {"admitted": True, "digest": report.bundle.digest, "tests": len(report.tests)},
        as_json,
        f"Admissible: {len(report.tests)} tests pass. {report.bundle.digest}",
    )


@policy_app.command("activate", epilog=example("sytff policy activate registry my-policy"))
def activate(
    name: DatasetArgument,
    folder: FolderArgument,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a policy in force for a dataset, after checking it; the ledger records it."""
    with opened(home) as node:
        node.ledger.dataset(name)
        digest = node.activate(name, bundle_from(folder), by=login_name())
        show({"dataset": name, "policy": digest}, as_json, f"{name}: policy {digest} is active")
