"""`sytff budget show|plan|grant`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from sytff_policy.cli.common import HomeOption, JsonOption, opened, out, print_json, show
from sytff_policy.cli.planning import decimal_option, expected_workloads
from sytff_policy.client.domain import login_name
from sytff_policy.errors import InvalidInput
from sytff_policy.privacy import InvalidFilter, Plan, plan
from sytff_policy.rendering import budget_text, short

budget_app = typer.Typer(help="Look at budgets, plan and grant them.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(budget_app, name="budget")


@budget_app.command("show")
def show_budget(name: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what of a dataset's budget is spent, reserved and left."""
    with opened(home) as node:
        record = node.ledger.dataset(name)
        budget = record.budget()
        show(
            {"dataset": name, "filter": record.filter.to_json(), "budget": budget.to_json()},
            as_json,
            f"{name}  {budget_text(budget)}",
        )


@budget_app.command("grant")
def grant(
    name: str,
    epsilon: Annotated[str, typer.Option(help="How much epsilon to add.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add to a dataset's budget. Budgets are never taken back."""
    with opened(home) as node:
        node.grant(name, decimal_option("--epsilon", epsilon), by=login_name())
        budget = node.ledger.dataset(name).budget()
        show(
            {"dataset": name, "budget": budget.to_json()}, as_json, f"{name}  {budget_text(budget)}"
        )


@budget_app.command("plan")
def plan_budget(
    epsilon: Annotated[str, typer.Option(help="Epsilon of the budget.")],
    delta: Annotated[str, typer.Option(help="Delta of the budget.")],
    population: Annotated[int, typer.Option(help="Number of people.", min=1)],
    expect: Annotated[
        list[str] | None,
        typer.Option(
            help="An expected run: rounds=..,clients_per_round=..,noise_multiplier=.. Repeatable."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare filters and orders on the workloads you expect, and recommend one.

    The filter of a dataset is fixed at registration, and one that suits other workloads can admit
    next to nothing of yours.
    """
    budget = decimal_option("--epsilon", epsilon), decimal_option("--delta", delta)
    try:
        made = plan(*budget, expected_workloads(expect, population))
    except InvalidFilter as error:
        raise InvalidInput("--epsilon", str(error), value=epsilon) from None
    if as_json:
        print_json(
            {
                "recommended": made.best.to_json(),
                "choices": [choice.to_json() for choice in made.choices],
            }
        )
    else:
        _print(made)


def _print(made: Plan) -> None:
    table = Table(title="What each choice admits, best first")
    table.add_column("filter")
    for number, workload in enumerate(made.workloads, start=1):
        table.add_column(
            f"run {number}: {workload.rounds} rounds, {workload.clients_per_round} of "
            f"{workload.population}, noise {workload.noise_multiplier:f}"
        )
    rows = list(made.choices[:8])
    rows += [c for kind in ("zcdp", "sum") if (c := made.best_of(kind)) and c not in rows]
    for choice in rows:
        parameters = ", ".join(f"{k} {v}" for k, v in choice.filter.parameters().items())
        table.add_row(
            f"{choice.filter.kind} {parameters}",
            *(
                f"{runs} runs (first: epsilon {short(epsilon)}), or {rounds} rounds"
                for runs, epsilon, rounds in zip(
                    choice.admitted, choice.epsilon_each, choice.rounds, strict=True
                )
            ),
        )
    out.print(table)
    best = made.best.filter
    out.print(
        f"Recommended: {best.kind} {best.parameters() or ''}: it admits most of the run that "
        "it admits least of.",
        markup=False,
    )
