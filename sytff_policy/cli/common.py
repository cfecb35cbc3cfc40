"""What all commands share: options, the opened node, output."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from sytff_policy.cli.errors import Exit
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home, HomeError
from sytff_policy.ledger.view import LedgerView
from sytff_policy.request import Researcher

T = TypeVar("T")

out = Console(soft_wrap=True, highlight=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)

_CONTROL = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(32), *range(127, 160))
    if chr(code) not in "\n\t"
}

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        envvar="SYTFF_HOME",
        help="The node's folder.",
        show_default=False,
    ),
]
UnusedHomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        envvar="SYTFF_HOME",
        help="Taken by every command; this one needs no node.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
ResearcherOption = Annotated[
    str | None,
    typer.Option(
        "--researcher",
        metavar="ID",
        envvar="SYTFF_RESEARCHER",
        help="Who asks. Default: your login name.",
    ),
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--role", metavar="ROLE", help="Role of who asks; repeatable. Default: researcher."
    ),
]
DatasetArgument = Annotated[str, typer.Argument(metavar="NAME", help="The dataset.")]


@contextlib.contextmanager
def opened(folder: Path | None) -> Iterator[Home]:
    """The node that --home names, closed on leaving.

    Raises:
      InvalidInput: If none is named, or the folder is no node's.
    """
    with at_home(folder, Home) as home:
        yield home


@contextlib.contextmanager
def viewed(folder: Path | None) -> Iterator[LedgerView]:
    """The ledger of the node that --home names, for reading alone, closed on leaving.

    Raises:
      InvalidInput: If none is named, or the folder is no node's.
    """
    with at_home(folder, Home.view) as view:
        yield view


def at_home(folder: Path | None, work: Callable[[Path], T]) -> T:
    """Does something with the node's folder that --home names.

    Raises:
      InvalidInput: If none is named, or the folder is no node's.
    """
    try:
        return work(named_home(folder))
    except HomeError as error:
        raise InvalidInput("--home", str(error), code=error.code) from None


def named_home(folder: Path | None) -> Path:
    """The folder that --home or SYTFF_HOME names.

    Raises:
      InvalidInput: If there is neither.
    """
    if folder is None:
        raise InvalidInput(
            "--home", "no node is named", remedy="Give --home DIR, or set SYTFF_HOME."
        )
    return folder


def example(*lines: str) -> str:
    """The examples at the end of a command's help, in their lines."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


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

    document: dict[str, Any] = {"id": login_name() if name is None else name}
    if roles:
        document["roles"] = roles
    return parse(Researcher, document, where="--researcher")


def show(document: dict[str, Any] | list[Any], as_json: bool, text: str) -> None:
    """Prints a result: as JSON, or as text for people."""
    if as_json:
        print_json(document)
    else:
        out.print(plain(text), markup=False)


def print_json(document: Any) -> None:
    """One JSON document on standard output; ASCII alone where the output cannot take more."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def plain(text: str) -> str:
    """`text` without control characters, which could steer the terminal it is shown on."""
    return text.translate(_CONTROL)


__all__ = [
    "DatasetArgument",
    "Exit",
    "HomeOption",
    "JsonOption",
    "ResearcherOption",
    "RoleOption",
    "UnusedHomeOption",
    "at_home",
    "err",
    "example",
    "named_home",
    "opened",
    "out",
    "plain",
    "print_json",
    "researcher_from",
    "show",
    "trusted_keys",
    "viewed",
]
