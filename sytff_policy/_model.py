"""The base of every document this package accepts: frozen, strict, finite, no unknown fields."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sytff_policy.errors import InvalidInput, InvalidInputs

MAX_DEPTH = 64
"""Levels of nesting in a document; the deepest one that means something has 7."""

MAX_ERRORS = 50
"""Errors reported for one document; a wrong one of a million items is not worth a million lines."""

_SHAPES = {
    "dict_type": "an object",
    "model_attributes_type": "an object",
    "model_type": "an object",
    "tuple_type": "an array",
}

DocumentT = TypeVar("DocumentT", bound="Document")


class Document(BaseModel):
    """A frozen, strict value object; unknown fields and non-finite numbers are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        ser_json_inf_nan="constants",
    )


def parse(model: type[DocumentT], document: Any, *, where: str = "") -> DocumentT:
    """Validates JSON-like `document` as `model`.

    Args:
      model: The document type.
      document: Decoded JSON.
      where: Prefix of the field paths in error messages, such as a file name.

    Raises:
      InvalidInputs: With one error per offending field: its path, the value seen and what is
        accepted instead.
    """
    try:
        plain = _tuples(document, MAX_DEPTH)
    except _TooDeepError:
        raise InvalidInputs(
            [InvalidInput(where or "document", "is nested too deeply", limit=f"{MAX_DEPTH} levels")]
        ) from None
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        found = [item for item in error.errors(include_url=False) if not _follows(item)]
    errors = [_translate(item, model, plain, where) for item in found[:MAX_ERRORS]]
    if len(found) > MAX_ERRORS:
        more = f"{len(found) - MAX_ERRORS} more errors like these"
        errors.append(InvalidInput(where or "document", more))
    raise InvalidInputs(errors)


class _TooDeepError(Exception):
    pass


def _tuples(document: Any, depth: int) -> Any:
    # Strict mode wants tuples for immutable sequence fields, and JSON has only arrays.
    if depth < 0:
        raise _TooDeepError
    if isinstance(document, Mapping):
        return {key: _tuples(value, depth - 1) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return tuple(_tuples(value, depth - 1) for value in document)
    return document


def _follows(item: Any) -> bool:
    # An array whose items are all wrong counts as empty, too; the items' own errors say it.
    return bool(item["type"] == "too_short" and len(item["input"]) > item["ctx"]["actual_length"])


def _translate(item: Any, model: type[Document], document: Any, where: str) -> InvalidInput:
    kind: str = item["type"]
    context: Mapping[str, Any] = item.get("ctx", {})
    parts, owner = _locate(item["loc"], document, absent=kind == "missing")
    value = item.get("input")
    limit: object = None
    remedy = ""
    if kind in ("extra_forbidden", "invalid_key"):
        problem = "unknown field"
        remedy = _spelling(parts, model)
    elif kind in ("missing", "union_tag_not_found"):
        problem, value, remedy = "required field is missing", None, "Add it."
        if kind == "union_tag_not_found":
            parts.append(context["discriminator"].strip("'"))
    elif kind == "union_tag_invalid":
        parts.append(context["discriminator"].strip("'"))
        problem, value = "is not on the allow-list", context["tag"]
        limit = context["expected_tags"]
    elif kind == "string_pattern_mismatch":
        problem = "has characters that are not accepted"
        limit = "no control characters" + (" and no '/'" if "/" in context["pattern"] else "")
    elif kind in _SHAPES:
        problem = f"input should be {_SHAPES[kind]}"
    else:
        text = str(item["msg"]).removeprefix("Value error, ")
        problem = text[:1].lower() + text[1:]
        limit = context.get("expected") or _bound(context)
    if owner:
        problem = f"{owner!r}: {problem}"
    shown = None if isinstance(value, Mapping | tuple) else _short(value)
    path = ".".join(_text(part) for part in parts) or "document"
    return InvalidInput(
        f"{where}: {path}" if where else path, problem, value=shown, limit=limit, remedy=remedy
    )


def _locate(
    location: Sequence[str | int], document: Any, *, absent: bool
) -> tuple[list[str | int], str]:
    """The path as it is in the document, and the name of the innermost named array item on it.

    Pydantic puts the tag of a union's chosen member into its locations; a document has no such
    level.
    """
    parts: list[str | int] = []
    owner = ""
    current = document
    for number, part in enumerate(location):
        last = number == len(location) - 1
        if isinstance(current, Mapping):
            if part not in current and _is_tag(part, current) and not (last and absent):
                continue
            current = current.get(part)
        elif isinstance(current, tuple) and isinstance(part, int) and part < len(current):
            current = current[part]
            if isinstance(current, Mapping) and isinstance(current.get("name"), str):
                owner = _text(current["name"])
        else:
            current = None
        parts.append(part)
    return parts, owner


def _is_tag(part: str | int, document: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, str) and value == part for value in document.values())


def _spelling(parts: Sequence[str | int], model: type[Document]) -> str:
    name = _text(parts[-1]) if parts else ""
    near = difflib.get_close_matches(name, list(model.model_fields), n=1)
    if len(parts) == 1 and near:
        return f"Did you mean {near[0]}?"
    return "Remove it, or check its spelling."


def _bound(context: Mapping[str, Any]) -> str | None:
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    return next((f"{sign} {context[key]}" for key, sign in signs if key in context), None)


def _text(value: object) -> str:
    """A name for a message: short, and with nothing that a terminal would obey."""
    short = str(_short(value))
    return short if short.isprintable() else repr(short)[1:-1]


def _short(value: object) -> object:
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:
        # Python prints no integers of more than some thousand digits.
        return "a number of thousands of digits"
    return value if len(text) <= 80 else text[:77] + "..."
