"""`sytff budget show|plan|grant`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sytff_policy.cli.common import (
    DatasetArgument,
    HomeOption,
    JsonOption,
    UnusedHomeOption,
    example,
    opened,
    out,
    print_json,
    show,
)
from sytff_policy.cli.planning import (
    MOST_PEOPLE,
    decimal_option,
    expected_workloads,
    parse_workload,
    planned,
    workload_text,
)
from sytff_policy.cli.plotting import check_plot_file, plot_plan
from sytff_policy.client.domain import login_name
from sytff_policy.errors import InvalidInput
from sytff_policy.privacy import Choice, InvalidFilter, Plan
from sytff_policy.rendering import budget_text, short

SHOWN = 6
"""How many of the best choices the table shows, besides the best of each kind."""

budget_app = typer.Typer(help="Look at budgets, plan and grant them.")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(budget_app, name="budget")


@budget_app.command("show", epilog=example("sytff budget show registry"))
def show_budget(
    name: DatasetArgument, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show what of a dataset's budget is spent, reserved and left."""
    with opened(home) as node:
        record = node.ledger.dataset(name)
        budget = record.budget()
        show(
            {"dataset": name, "filter": record.filter.to_json(), "budget": budget.to_json()},
            as_json,
            f"{name}  {budget_text(budget)}",
        )


@budget_app.command("grant", epilog=example("sytff budget grant registry --epsilon 2"))
def grant(
    name: DatasetArgument,
    epsilon: Annotated[str, typer.Option(metavar="E", help="How much epsilon to add.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add to a dataset's budget. What was granted is never taken back.

    Of a dataset that shares budgets, the first one grows, for all the datasets that share it.
    """
    amount = decimal_option("--epsilon", epsilon)
    with opened(home) as node:
        node.ledger.dataset(name)
        try:
            node.grant(name, amount, by=login_name())
        except InvalidFilter as error:
            raise InvalidInput("--epsilon", str(error), value=epsilon) from None
        budget = node.ledger.dataset(name).budget()
        show(
            {"dataset": name, "budget": budget.to_json()}, as_json, f"{name}  {budget_text(budget)}"
        )


@budget_app.command(
    "plan",
    epilog=example(
        "sytff budget plan --epsilon 8 --delta 1e-5 --population 6000 \\",
        "  --expect rounds=100,clients_per_round=1000,noise_multiplier=2 --plot plan.svg",
    ),
)
def plan_budget(
    epsilon: Annotated[str, typer.Option(metavar="E", help="Epsilon of the budget.")],
    delta: Annotated[str, typer.Option(metavar="D", help="Delta of the budget, below 1 / people.")],
    population: Annotated[
        int, typer.Option(metavar="N", help="Number of people.", min=1, max=MOST_PEOPLE)
    ],
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A run you expect: rounds=..,clients_per_round=..,noise_multiplier=.., and "
            "evaluation_noise=.. if it is evaluated. Repeatable.",
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Requests that a sum filter shares delta over. Default: planned."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw what each order admits to this .svg or .png file."),
    ] = None,
    home: UnusedHomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare filters and orders on the runs you expect, and recommend one.

    The filter of a dataset is fixed at registration, and one that suits other runs can admit next
    to nothing of yours. Nothing is registered and no node is needed.
    """
    if plot is not None:
        check_plot_file(plot)
    budget = decimal_option("--epsilon", epsilon), decimal_option("--delta", delta)
    workloads = [parse_workload(text) for text in expect or []]
    made = planned(*budget, expected_workloads(workloads, population), requests=requests)
    if plot is not None:
        plot_plan(made, plot)
    if as_json:
        print_json(made.to_json())
    else:
        _print(made)


def _print(made: Plan) -> None:
    for index, workload in enumerate(made.workloads):
        table = Table(title=f"run {index + 1}: {workload_text(workload)}", title_justify="left")
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
    kind = made.best.filter.kind
    option = "" if kind == "rdp" else f" and --filter {kind}"
    out.print(f"Recommended: {made.why}", markup=False)
    out.print(f"`dataset register` chooses it with the same --expect{option}.", markup=False)
    if not any(any(choice.admitted) for choice in made.choices):
        out.print("No filter holds one whole run: expect less, or grant more.", markup=False)


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
