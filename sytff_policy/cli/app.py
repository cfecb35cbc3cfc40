"""The command tree, and running one command line of it."""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import Annotated, Any

import typer

from sytff_policy import __version__
from sytff_policy.cli.common import err, out, plain, print_json
from sytff_policy.cli.errors import (
    Exit,
    UsageError,
    discard_output,
    error_document,
    error_text,
    exit_code_of,
    show_traceback,
    usage_text,
)
from sytff_policy.errors import InvalidInput

HELP = """Train on people's data behind policies and a privacy budget.

A data owner makes a node (init), registers a dataset with a budget and a policy (dataset
register), and watches what is spent (budget show). A researcher asks what a request would cost
(request check) and trains (train). An auditor reads and verifies the ledger (ledger verify).

Commands take --home DIR (or SYTFF_HOME), the node's folder, and --json, which prints one JSON
document on standard output. Both may stand before the command too.

\b
Exit codes:
  0  done, or allowed
  1  anything else
  2  usage or invalid input
  3  denied
  4  waiting for review
  5  the ledger does not verify, or is not the one that was witnessed

\b
To begin:
  sytff demo                 the whole story, on made-up people
  sytff init node            a node of your own
"""


@functools.cache
def command() -> Any:
    """The whole command tree, as the command-line parser's own object."""
    from sytff_policy.cli import (
        audit,
        budget,
        dataset,
        demo,
        keys,
        ledger,
        node,
        policy,
        request,
        train,
    )

    app = typer.Typer(
        name="sytff",
        help=HELP,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback(help=HELP)(_root)
    for module in (node, dataset, budget, policy, request, train, ledger, keys, demo, audit):
        module.add_to(app)
    return typer.main.get_command(app)


def run(arguments: list[str]) -> int:
    """Runs one command line; returns its exit code. Nothing that goes wrong escapes."""
    as_json = "--json" in _options(arguments)
    try:
        code = _invoke(_global_options_last(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        discard_output()
        return Exit.FAILED
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        code = _report(error, as_json)
    return int(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"sytff {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """The root takes nothing: see `_global_options_last`."""


def _invoke(arguments: list[str]) -> int:
    _require_text(arguments)
    try:
        with command().make_context("sytff", list(arguments)) as context:
            result = command().invoke(context)
    except typer.Exit as ended:
        return int(ended.exit_code)
    return int(result) if isinstance(result, int) else Exit.DONE


def _report(error: BaseException, as_json: bool) -> int:
    show_traceback(error)
    code = exit_code_of(error)
    try:
        if as_json:
            print_json(error_document(error))
    except OSError:
        discard_output()
    with contextlib.suppress(OSError):
        text = usage_text(error) if isinstance(error, UsageError) else error_text(error)
        err.print(plain(text), markup=False)
    return code


def _options(arguments: list[str]) -> list[str]:
    """What comes before `--`, after which everything is a value."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _global_options_last(arguments: list[str]) -> list[str]:
    """Moves --home and --json from before the command to right after it, where it takes them."""
    moved: list[str] = []
    rest = list(arguments)
    while rest and (rest[0] in ("--json", "--home") or rest[0].startswith("--home=")):
        moved.append(rest.pop(0))
        if moved[-1] == "--home" and rest:
            moved.append(rest.pop(0))
    words = 0
    tree = command()
    while words < len(rest) and hasattr(tree, "commands") and rest[words] in tree.commands:
        tree = tree.commands[rest[words]]
        words += 1
    return [*rest[:words], *moved, *rest[words:]] if words else rest


def _require_text(arguments: list[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = argument.encode(errors="replace").decode()
            raise InvalidInput("arguments", "are not UTF-8 text", value=shown) from None
