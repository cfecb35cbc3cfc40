"""Errors that people meet. Each names what was wrong, the value seen, the limit and the remedy.

Denials are not here: a denied request is an answer (`sytff_policy.decision.Decision`), not a fault.
"""

from __future__ import annotations

from typing import Any


class SytffError(Exception):
    """Base of every error this package raises on purpose.

    Attributes:
      code: Stable, documented, machine-readable name of the fault (dotted, lower case).
    """

    code = "internal"

    def to_json(self) -> dict[str, Any]:
        """The error as a JSON object, for `--json` output and the HTTP API."""
        return {"error": self.code, "message": str(self)}


class InvalidInput(SytffError):
    """Input that cannot be accepted, and what would be.

    Args:
      field: Where: a field path (`clipping.norm`), a column, a file, a flag.
      problem: What is wrong with it, as a short clause.
      value: The value seen, if it may be shown. Never a value read from private rows.
      limit: What is accepted instead.
      remedy: What to do about it.
      code: A more precise code than `input.invalid`.
    """

    code = "input.invalid"

    def __init__(
        self,
        field: str,
        problem: str,
        *,
        value: object = None,
        limit: object = None,
        remedy: str = "",
        code: str | None = None,
    ) -> None:
        self.field = field
        self.problem = problem
        self.value = value
        self.limit = limit
        self.remedy = remedy
        if code is not None:
            self.code = code
        super().__init__(self._text())

    def _text(self) -> str:
        text = f"{self.field}: {self.problem}"
        if self.value is not None:
            text += f" (got {self.value!r})"
        if self.limit is not None:
            text += f"; accepted: {self.limit}"
        if self.remedy:
            text += f". {self.remedy}"
        return text

    def to_json(self) -> dict[str, Any]:
        return {
            "error": self.code,
            "message": str(self),
            "errors": [
                {
                    "field": self.field,
                    "problem": self.problem,
                    "value": None if self.value is None else _encodable(self.value),
                    "limit": None if self.limit is None else _encodable(self.limit),
                    "remedy": self.remedy,
                }
            ],
        }


def _encodable(value: object) -> str:
    # JSON text may hold half a surrogate pair, which no output encoding can write.
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


class InvalidInputs(SytffError):
    """Several `InvalidInput` found in one document, reported together."""

    code = "input.invalid"

    def __init__(self, errors: list[InvalidInput]) -> None:
        if not errors:
            raise ValueError("InvalidInputs needs at least one error")
        self.errors = errors
        super().__init__("\n".join(str(error) for error in errors))

    def to_json(self) -> dict[str, Any]:
        return {
            "error": self.code,
            "message": str(self),
            "errors": [item for error in self.errors for item in error.to_json()["errors"]],
        }


class NotFound(SytffError):
    """A dataset, run or decision that does not exist here."""

    code = "not_found"

    def __init__(self, kind: str, name: str, known: list[str] | None = None) -> None:
        self.kind = kind
        self.name = name
        text = f"no {kind} named {name!r}"
        if known:
            text += f"; there is: {', '.join(sorted(known))}"
        super().__init__(text)
