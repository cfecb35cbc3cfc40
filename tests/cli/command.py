"""Running `sytff` in this process, and what it left."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sytff_policy.cli.app import command, run


@dataclass(frozen=True)
class Result:
    """One finished command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


class Sytff:
    """Runs commands on one node."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Result:
        """Runs a command line; whatever happens, no traceback is shown."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        assert isinstance(code, int)
        return Result(code, captured.out, captured.err)

    def json(self, *arguments: object, stdin: bytes = b"") -> Any:
        """Runs a command that must succeed with --json; returns its document."""
        result = self(*arguments, "--json", stdin=stdin)
        assert result.code == 0, result
        return result.document

    def refused(self, *arguments: object, stdin: bytes = b"", code: int = 2) -> str:
        """Runs a command that must be refused; returns what it says.

        The same command with --json must print one error document and end with the same code.
        """
        result = self(*arguments, stdin=stdin)
        assert result.code == code, result
        assert result.out == ""
        as_json = self(*arguments, "--json", stdin=stdin)
        assert as_json.code == code, as_json
        assert set(as_json.document) >= {"error", "message"}
        for item in as_json.document.get("errors", []):
            assert set(item) == {"field", "problem", "value", "limit", "remedy"}
        return result.err


FLAGS = {
    "--unit": "person",
    "--features": "age:25..64",
    "--label": "ill",
    "--epsilon": "8",
    "--delta": "1e-5",
}


def register(name: str = "people", data: str = "people.csv", **changes: str | None) -> list[str]:
    """The command line that registers a dataset; None leaves an option out."""
    flags: dict[str, str | None] = dict(FLAGS)
    flags |= {f"--{flag.replace('_', '-')}": value for flag, value in changes.items()}
    given = [part for flag, value in flags.items() if value is not None for part in (flag, value)]
    return ["dataset", "register", name, "--data", data, *given]


def leaves() -> Iterator[tuple[str, Any]]:
    """Every command that does something: its words and the parser's object."""

    def walk(words: list[str], node: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(node, "commands", None)
        if children is None:
            yield " ".join(words), node
            return
        for name, child in children.items():
            yield from walk([*words, name], child)

    return walk([], command())


LEAVES = [words for words, _ in leaves()]
GROUPS = sorted({words.split()[0] for words in LEAVES if " " in words})
