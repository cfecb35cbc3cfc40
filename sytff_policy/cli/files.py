"""Files that people name on the command line: read strictly, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from sytff_policy.errors import InvalidInput

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 64
MAX_DIGITS = 100
STANDARD = Path("-")
"""Names standard input or output."""


def read_json(path: Path, field: str = "FILE") -> Any:
    """A JSON file's content; `-` reads standard input.

    Args:
      path: The file.
      field: What errors call it: the argument or option that named it.

    Raises:
      InvalidInput: If there is none, or it is not strict JSON: UTF-8 (a byte order mark is
        skipped), at most 16 MiB, no field twice in an object, no NaN or infinity, at most 64
        levels deep.
    """
    shown = "standard input" if path == STANDARD else str(path)
    content = _read(path, field, shown)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(field, "is not UTF-8", value=shown, remedy="Save it as UTF-8.") from None
    try:
        document = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            object_pairs_hook=_without_duplicates,
        )
    except RecursionError:
        raise _too_deep(field, shown) from None
    except json.JSONDecodeError as error:
        problem = f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise InvalidInput(field, problem, value=shown) from None
    except ValueError as error:
        raise InvalidInput(field, f"is not JSON: {error}", value=shown) from None
    _check(document, field, shown)
    return document


@contextlib.contextmanager
def opened_file(path: Path, field: str = "FILE") -> Iterator[BinaryIO]:
    """A file to read; `-` is standard input.

    Raises:
      InvalidInput: If there is none, or it cannot be read.
    """
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        if not path.is_file():
            problem = "is not a file" if path.exists() else "no such file"
            raise InvalidInput(field, problem, value=str(path))
        stream = path.open("rb")
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise InvalidInput(field, problem, value=str(path)) from None
    with stream:
        yield stream


def write_json(path: Path, document: Any) -> None:
    """Writes a JSON file for people to read and to send back."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def new_folder(path: Path, field: str) -> Iterator[Path]:
    """An empty folder that can be written to; if the block fails, what was made is removed.

    Raises:
      InvalidInput: If it holds something, cannot be made or cannot be written to.
    """
    missing: list[Path] = []
    try:
        missing += [folder for folder in (path, *path.parents) if not folder.exists()]
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InvalidInput(
                field, "is not an empty folder", value=str(path), remedy="Choose another."
            )
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        _remove_empty(missing)
        raise InvalidInput(
            field, f"cannot be written to: {error.strerror}", value=str(path)
        ) from None
    try:
        yield path
    except BaseException:
        _remove_empty(missing)
        raise


@contextlib.contextmanager
def new_file(path: Path, field: str = "FILE") -> Iterator[IO[bytes]]:
    """A file that did not exist; removed again if the block fails.

    Raises:
      InvalidInput: If it exists or cannot be made.
    """
    try:
        stream = path.open("xb")
    except FileExistsError:
        raise InvalidInput(
            field, "exists already", value=str(path), remedy="Choose another name."
        ) from None
    except OSError as error:
        raise InvalidInput(
            field, f"cannot be written to: {error.strerror}", value=str(path)
        ) from None
    try:
        with stream:
            yield stream
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _read(path: Path, field: str, shown: str) -> bytes:
    try:
        if path == STANDARD:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InvalidInput(field, "no such file", value=shown) from None
    except OSError as error:
        raise InvalidInput(field, f"cannot be read: {error.strerror}", value=shown) from None
    if len(content) > MAX_BYTES:
        raise InvalidInput(field, "is too large", value=shown, limit=f"{MAX_BYTES} bytes")
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON has")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise ValueError(f"the field {key!r} stands twice in one object; keep one")
        document[key] = value
    return document


def _check(document: Any, field: str, shown: str) -> None:
    """Refuses nesting that later steps could not follow, and text that has no encoding."""
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                _check_text(value, field, shown)
        level = below
        if not level:
            return
    raise _too_deep(field, shown)


def _check_text(text: str, field: str, shown: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            field, f"holds text that is not Unicode: {text[:40]!r}", value=shown
        ) from None


def _too_deep(field: str, shown: str) -> InvalidInput:
    return InvalidInput(field, "is nested too deeply", value=shown, limit=f"{MAX_DEPTH} levels")


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
