"""The base of every document this package accepts: frozen, strict, finite, no unknown fields."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sytff_policy.errors import InvalidInput, InvalidInputs

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
        return model.model_validate(_tuples(document))
    except ValidationError as error:
        raise InvalidInputs([_translate(item, where) for item in error.errors()]) from None


def _tuples(document: Any) -> Any:
    # Strict mode wants tuples for immutable sequence fields, and JSON has only arrays.
    if isinstance(document, dict):
        return {key: _tuples(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return tuple(_tuples(value) for value in document)
    return document


def _translate(item: Any, where: str) -> InvalidInput:
    path = ".".join(str(part) for part in item["loc"]) or "document"
    context = item.get("ctx", {})
    kind: str = item["type"]
    if kind == "extra_forbidden":
        return InvalidInput(
            _join(where, path),
            "unknown field",
            value=_short(item.get("input")),
            remedy="Remove it, or check its spelling.",
        )
    if kind == "missing":
        return InvalidInput(_join(where, path), "required field is missing", remedy="Add it.")
    limit = context.get("expected") or next(
        (
            f"{sign} {context[key]}"
            for key, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
            if key in context
        ),
        None,
    )
    problem = str(item["msg"]).removeprefix("Value error, ")
    value = item.get("input")
    return InvalidInput(
        _join(where, path),
        problem[0].lower() + problem[1:],
        value=None if isinstance(value, dict | tuple) else _short(value),
        limit=limit,
    )


def _join(where: str, path: str) -> str:
    return f"{where}: {path}" if where else path


def _short(value: object) -> object:
    text = repr(value)
    return value if len(text) <= 80 else text[:77] + "..."
