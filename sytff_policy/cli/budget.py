"""`sytff budget show|plan|grant`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sytff_policy.cli.common import HomeOption, JsonOption, opened, out, print_json, show
from sytff_policy.cli.planning import decimal_option, expected_workloads, planned
from sytff_policy.cli.plotting import check_plot_file, plot_plan
from sytff_policy.client.domain import login_name
from sytff_policy.privacy import Choice, Plan
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
            help="An expected run: rounds=..,clients_per_round=..,noise_multiplier=.. and, with "
            "an evaluation, evaluation_noise=... Repeatable."
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(help="Requests that a sum filter shares delta over. Default: planned."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw what each order admits to this .svg or .png file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare filters and orders on the workloads you expect, and recommend one.

    The filter of a dataset is fixed at registration, and one that suits other workloads can admit
    next to nothing of yours. Nothing is registered and no node is needed.
    """
    if plot is not None:
        check_plot_file(plot)
    budget = decimal_option("--epsilon", epsilon), decimal_option("--delta", delta)
    made = planned(*budget, expected_workloads(expect, population), requests=requests)
    if plot is not None:
        plot_plan(made, plot)
    if as_json:
        print_json(made.to_json())
    else:
        _print(made)


SHOWN = 6
"""How many of the best choices the table shows, besides the best of each kind."""


def _print(made: Plan) -> None:
    for index, workload in enumerate(made.workloads):
        evaluation = workload.evaluation_noise
        evaluated = "" if evaluation is None else f", evaluated with noise {evaluation:f}"
        table = Table(
            title=f"run {index + 1}: {workload.rounds} rounds, {workload.clients_per_round} of "
            f"{workload.population} people, noise {workload.noise_multiplier:f}{evaluated}",
            title_justify="left",
        )
        table.add_column("filter", no_wrap=True)
        for title in ("runs that fit", "each takes", "alone is", "rounds in one"):
            table.add_column(title, justify="right", no_wrap=True)
        for choice in _shown(made):
            table.add_row(_label(choice, made), *_cells(choice, index))
        out.print(table)
    out.print(
        "Best choices first. each takes: part of the budget's epsilon. alone is: epsilon of one "
        "run by itself. rounds in one: how long a single run can be. * recommended. + the "
        "textbook's order.",
        markup=False,
    )
    out.print(f"Recommended: {made.why}", markup=False)


def _shown(made: Plan) -> list[Choice]:
    more = [made.best, made.naive, *(made.best_of(kind) for kind in ("rdp", "zcdp", "sum"))]
    rows = [*made.choices[:SHOWN], *(choice for choice in more if choice is not None)]
    return list({choice.name: choice for choice in rows}.values())


def _label(choice: Choice, made: Plan) -> str:
    naive = made.naive is not None and choice.name == made.naive.name
    return choice.name + (" *" if choice.name == made.best.name else "") + (" +" if naive else "")


def _cells(choice: Choice, index: int) -> tuple[str, ...]:
    return (
        str(choice.admitted[index]),
        short(choice.cost_each[index]),
        short(choice.epsilon_each[index]),
        str(choice.rounds[index]),
    )
