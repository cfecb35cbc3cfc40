"""What all commands share: options, output, exit codes."""

from __future__ import annotations

import contextlib
import enum
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console

from sytff_policy.errors import InvalidInput, SytffError
from sytff_policy.home import Home
from sytff_policy.ledger.view import LedgerView
from sytff_policy.request import Researcher

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


class Exit(enum.IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    INVALID = 2
    DENIED = 3
    REVIEW = 4
    UNVERIFIED = 5


HomeOption = Annotated[
    Path | None,
    typer.Option("--home", envvar="SYTFF_HOME", help="The node's folder.", show_default=False),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
ResearcherOption = Annotated[
    str | None,
    typer.Option(
        "--researcher", envvar="SYTFF_RESEARCHER", help="Who asks. Default: your login name."
    ),
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option("--role", help="Role of who asks; repeatable. Default: researcher."),
]


@contextlib.contextmanager
def opened(folder: Path | None) -> Iterator[Home]:
    """The node that --home names, closed on leaving."""
    if folder is None:
        raise InvalidInput(
            "--home", "no node is named", remedy="Give --home DIR, or set SYTFF_HOME."
        )
    with Home(folder) as home:
        yield home


@contextlib.contextmanager
def viewed(folder: Path | None) -> Iterator[LedgerView]:
    """The ledger of the node that --home names, for reading alone."""
    if folder is None:
        raise InvalidInput(
            "--home", "no node is named", remedy="Give --home DIR, or set SYTFF_HOME."
        )
    with Home.view(folder) as view:
        yield view


def opened_file(file: Path) -> BinaryIO:
    """A file to read.

    Raises:
      InvalidInput: If there is none.
    """
    if not file.is_file():
        raise InvalidInput("FILE", "no such file", value=str(file))
    return file.open("rb")


def trusted_keys(given: list[str] | None, option: str = "--key") -> list[str]:
    """Public keys from options: each a key, or a file with one a line.

    Raises:
      InvalidInput: If one is neither.
    """
    from sytff_policy.ledger.notes import NoteError, PublicKey

    keys: list[str] = []
    for item in given or []:
        path = Path(item)
        try:
            lines = path.read_text(encoding="utf-8").split() if path.is_file() else [item]
            keys += [PublicKey.parse(line).text for line in lines]
        except (OSError, UnicodeDecodeError, NoteError) as error:
            raise InvalidInput(option, str(error)) from None
    return keys


def researcher_from(name: str | None, roles: list[str] | None) -> Researcher:
    """Who asks."""
    from sytff_policy._model import parse
    from sytff_policy.client.domain import login_name

    document: dict[str, Any] = {"id": name or login_name()}
    if roles:
        document["roles"] = roles
    return parse(Researcher, document, where="--researcher")


def show(document: dict[str, Any] | list[Any], as_json: bool, text: str) -> None:
    """Prints a result: as JSON, or as text for people."""
    if as_json:
        print_json(document)
    else:
        out.print(text, markup=False)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def exit_code_of(error: SytffError) -> Exit:
    """The exit code for an error."""
    from sytff_policy.decision import Outcome
    from sytff_policy.errors import InvalidInputs, NotFound
    from sytff_policy.home import HomeError, RequestDenied
    from sytff_policy.ledger import IdempotencyConflict
    from sytff_policy.ledger.witness import WitnessError

    if isinstance(error, RequestDenied):
        review = error.decision.outcome is Outcome.REVIEW
        return Exit.REVIEW if review else Exit.DENIED
    if isinstance(error, WitnessError):
        return Exit.UNVERIFIED
    wrong_input = (InvalidInput, InvalidInputs, NotFound, HomeError, IdempotencyConflict)
    return Exit.INVALID if isinstance(error, wrong_input) else Exit.FAILED


def read_json(path: Path) -> Any:
    """A JSON file's content.

    Raises:
      InvalidInput: If there is none, or it is not JSON.
    """
    try:
        if str(path) == "-":
            return json.loads(sys.stdin.read(), parse_constant=_no_constant)
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except FileNotFoundError:
        raise InvalidInput("FILE", "no such file", value=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("FILE", f"cannot be read: {error}", value=str(path)) from None
    except RecursionError:
        raise InvalidInput("FILE", "is nested too deeply", value=str(path)) from None
    except ValueError as error:
        raise InvalidInput(str(path), f"is not JSON: {error}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON has")
