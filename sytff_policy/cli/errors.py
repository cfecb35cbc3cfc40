"""Exit codes, and how whatever goes wrong becomes words, a JSON document and an exit code."""

from __future__ import annotations

import contextlib
import enum
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import typer

from sytff_policy.errors import InvalidInput, InvalidInputs, NotFound, SytffError

DEBUG_VARIABLE = "SYTFF_DEBUG"

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Base of what typer raises for a wrong command line: click's own class or typer's copy of it."""


class Exit(enum.IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    INVALID = 2
    DENIED = 3
    REVIEW = 4
    UNVERIFIED = 5


class OutputFailed(SytffError):
    """A run completed and is charged, and its results could not be copied out."""

    code = "io"


def exit_code_of(error: BaseException) -> Exit:
    """The exit code for an error."""
    from sytff_policy.ledger import IdempotencyConflict
    from sytff_policy.ledger.witness import WitnessError

    if isinstance(error, WitnessError):
        return Exit.UNVERIFIED
    wrong_input = (InvalidInput, InvalidInputs, NotFound, IdempotencyConflict, UsageError)
    return Exit.INVALID if isinstance(error, wrong_input) else Exit.FAILED


def error_document(error: BaseException) -> dict[str, Any]:
    """What `--json` prints for an error: a stable code, a message, and the fields if there are."""
    if isinstance(error, SytffError):
        document = error.to_json()
        return {**document, "message": error_text(error)} if "message" in document else document
    if isinstance(error, UsageError):
        return {
            "error": "usage",
            "message": error_text(error),
            "errors": [
                {
                    "field": _parameter(error),
                    "problem": error_text(error),
                    "value": None,
                    "limit": None,
                    "remedy": _help_hint(error),
                }
            ],
        }
    return {"error": _code(error), "message": error_text(error)}


def error_text(error: BaseException) -> str:
    """One message for people; nothing in it comes from rows of data."""
    if isinstance(error, SytffError):
        return _without_sql(str(error))
    if isinstance(error, UsageError):
        return str(getattr(error, "format_message", lambda: error)())
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted"
    if isinstance(error, OSError):
        return _system_text(error)
    # The words of an unexpected exception can quote data, so its place is named instead.
    return (
        f"internal error: {type(error).__name__} at {_place(error)}. This is a mistake in sytff; "
        f"{DEBUG_VARIABLE}=1 shows the traceback, which can quote your data"
    )


def usage_text(error: BaseException) -> str:
    """A usage error with how the command is used and where its help is."""
    context = getattr(error, "ctx", None)
    if context is None:
        return f"{_help_hint(error)}\n\nError: {error_text(error)}"
    if "Missing command" in error_text(error):
        return f"{context.get_help()}\n\nError: {error_text(error)}"
    return f"{context.get_usage()}\n{_help_hint(error)}\n\nError: {error_text(error)}"


def show_traceback(error: BaseException) -> None:
    """The traceback of what nobody expected, if the environment asks for it."""
    expected = isinstance(error, SytffError | UsageError | KeyboardInterrupt | typer.Abort)
    if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0") and not expected:
        traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)


def discard_output() -> None:
    """Points standard output to nowhere, because Python writes what is left to it at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _code(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted"
    return "io" if isinstance(error, OSError) else "internal"


def _system_text(error: OSError) -> str:
    what = error.strerror or type(error).__name__
    return f"{os.fsdecode(error.filename)}: {what}" if error.filename is not None else what


def _without_sql(text: str) -> str:
    noise = ("[SQL:", "[parameters:", "(Background on this error")
    return "\n".join(line for line in text.splitlines() if not line.startswith(noise))


def _place(error: BaseException) -> str:
    package = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(package)]
    if not ours:
        return "an unknown place"
    last = ours[-1]
    return f"{package.name}/{Path(last.filename).relative_to(package).as_posix()}:{last.lineno}"


def _parameter(error: BaseException) -> str:
    option = getattr(error, "option_name", None)
    parameter = getattr(error, "param", None)
    if option is None and parameter is not None:
        option = max(parameter.opts, key=len, default="")
        if not option.startswith("-"):
            option = getattr(parameter, "metavar", None) or parameter.name
    return str(option or "")


def _help_hint(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    path = "sytff" if context is None else context.command_path
    return f"Try '{path} --help' for help."
