"""The command tree, and how errors become words and exit codes."""

from __future__ import annotations

import functools

import click
import typer

from sytff_policy.cli.common import Exit, err, exit_code_of, print_json
from sytff_policy.errors import SytffError

HELP = """Train on people's data behind policies and a privacy budget.

A data owner makes a node (init), registers a dataset with a budget and a policy (dataset
register), and watches what is spent (budget show). A researcher asks what a request would cost
(request check) and trains (train). An auditor reads and verifies the ledger (ledger verify).

Exit codes: 0 done or allowed, 2 invalid input, 3 denied, 4 waiting for review, 5 the ledger does
not verify or is not the one that was witnessed, 1 anything else.
"""

app = typer.Typer(
    name="sytff",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def run(arguments: list[str]) -> int:
    """Runs one command line; returns its exit code."""
    as_json = "--json" in arguments
    try:
        result = _tree()(args=arguments, prog_name="sytff", standalone_mode=False)
    except SytffError as error:
        return _report(error, as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.INVALID
    except click.ClickException as error:
        if as_json:
            print_json({"error": "usage", "message": error.format_message()})
        error.show()
        return Exit.INVALID
    except (KeyboardInterrupt, click.Abort):
        err.print("interrupted")
        return Exit.FAILED
    return int(result) if isinstance(result, int) else Exit.DONE


@functools.cache
def _tree() -> typer.Typer:
    """The application with its commands, which are added once however many lines are run."""
    from sytff_policy.cli import budget, dataset, demo, keys, ledger, node, policy, request, train

    for module in (node, dataset, budget, policy, request, train, ledger, keys, demo):
        module.add_to(app)
    return app


def _report(error: SytffError, as_json: bool) -> int:
    if as_json:
        print_json(error.to_json())
    err.print(str(error), markup=False)
    return exit_code_of(error)
