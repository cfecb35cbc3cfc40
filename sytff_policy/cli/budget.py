"""`sytff budget show|plan|grant`."""

from __future__ import annotations

from decimal import Decimal
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
    check_delta,
    decimal_option,
    expected_workloads,
    filter_text,
    parse_workload,
    workload_text,
)
from sytff_policy.client.domain import login_name
from sytff_policy.errors import InvalidInput
from sytff_policy.privacy import InvalidFilter, Plan, plan
from sytff_policy.rendering import budget_text, short

SHOWN = 8

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
    """Add to a dataset's budget. What was granted is never taken back."""
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
        "  --expect rounds=100,clients_per_round=1000,noise_multiplier=2",
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
    home: UnusedHomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare filters and orders on the runs you expect, and recommend one.

    The filter of a dataset is fixed at registration, and one that suits other runs can admit next
    to nothing of yours. Nothing is read or written here.
    """
    budget = decimal_option("--epsilon", epsilon), decimal_option("--delta", delta)
    workloads = [parse_workload(text) for text in expect or []]
    check_delta(budget[1], population)
    try:
        made = plan(*budget, expected_workloads(workloads, population))
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
    table = Table(title="What each choice admits, best first", title_justify="left")
    table.add_column("filter")
    for workload in made.workloads:
        table.add_column(workload_text(workload))
    rows = list(made.choices[:SHOWN])
    rows += [c for kind in ("zcdp", "sum") if (c := made.best_of(kind)) and c not in rows]
    for choice in rows:
        columns = zip(choice.admitted, choice.epsilon_each, choice.rounds, strict=True)
        table.add_row(filter_text(choice.filter), *(_cell(*column) for column in columns))
    out.print(table)
    best = made.best
    option = "" if best.filter.kind == "rdp" else f" and --filter {best.filter.kind}"
    out.print(
        f"Recommended: {filter_text(best.filter)}, the best for whichever expected run fits worst. "
        f"`dataset register` chooses it with the same --expect{option}.",
        markup=False,
    )
    if not any(best.admitted):
        out.print("No filter holds one whole run: expect less, or grant more.", markup=False)


def _cell(runs: int, epsilon: Decimal | None, rounds: int) -> str:
    whole = "1 run" if runs == 1 else f"{runs} runs"
    return f"{whole} (first: epsilon {short(epsilon)}), or {rounds} rounds"
