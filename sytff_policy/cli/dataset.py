"""`sytff dataset list|show|cap`; `registering` has the commands that read rows."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from sytff_policy.cli import registering
from sytff_policy.cli.common import (
    DatasetArgument,
    HomeOption,
    JsonOption,
    example,
    opened,
    show,
)
from sytff_policy.cli.describing import dataset_document, dataset_text
from sytff_policy.cli.planning import decimal_option
from sytff_policy.client.domain import login_name
from sytff_policy.errors import InvalidInput
from sytff_policy.ledger import Scope
from sytff_policy.rendering import budget_text

dataset_app = typer.Typer(help="Register datasets and look at them.")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(dataset_app, name="dataset")


registering.add_to(dataset_app)


@dataset_app.command("list", epilog=example("sytff dataset list --home node"))
def list_datasets(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the datasets and their budgets."""
    with opened(home) as node:
        records = node.ledger.datasets()
        text = "\n".join(
            f"{record.name}  {record.population} people\n  {budget_text(record.budget())}"
            for record in records
        )
        show(
            {"datasets": [dataset_document(node, record) for record in records]},
            as_json,
            text or "no datasets; register one with `sytff dataset register`",
        )


@dataset_app.command("show", epilog=example("sytff dataset show registry --json"))
def show_dataset(
    name: DatasetArgument, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show what a researcher may know of a dataset, and its budgets."""
    with opened(home) as node:
        record = node.ledger.dataset(name)
        show(dataset_document(node, record), as_json, dataset_text(node, record))


@dataset_app.command(
    "cap",
    epilog=example(
        "sytff dataset cap registry --researcher '*' --epsilon 2",
        "sytff dataset cap registry --organization clinic --remove",
    ),
)
def cap(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The dataset; its first budget is capped.")
    ],
    epsilon: Annotated[
        str | None,
        typer.Option(metavar="E", help="The most that may be used, at the budget's delta."),
    ] = None,
    researcher: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Whom to cap; * caps everyone without a cap of their own."),
    ] = None,
    organization: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Which organization to cap, all its people together; or *."
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the cap away.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cap what a researcher or an organization may use of a dataset's budget.

    What was used before counts. A cap gives nobody a right to that much: the budget may be used
    up by others before.
    """
    subjects = {"researcher": researcher, "organization": organization}
    chosen = [(scope, subject) for scope, subject in subjects.items() if subject]
    if len(chosen) != 1:
        raise InvalidInput("--researcher", "is needed, or --organization: one of both")
    if (epsilon is None) != remove:
        raise InvalidInput("--epsilon", "is needed, or --remove: one of both")
    amount = None if epsilon is None else decimal_option("--epsilon", epsilon)
    scope, subject = chosen[0]
    with opened(home) as node:
        node.ledger.cap(name, cast(Scope, scope), subject, amount, by=login_name())
        budget = node.ledger.dataset(name).budgets[0].name
        document = {"budget": budget, "scope": scope, "subject": subject, "epsilon": epsilon}
        what = "has no cap" if epsilon is None else f"may use epsilon {epsilon}"
        show(document, as_json, f"{scope} {subject} {what} of the budget of {budget}")
