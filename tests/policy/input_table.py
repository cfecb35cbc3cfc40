"""The fields of the input as the table of docs/policies/input.md has them.

`python -m tests.policy.input_table` prints the table, for when the schema has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sytff_policy.policy import input_schema

SCHEMA = input_schema()
# Fields of the request's own documents that say nothing of themselves there.
MEANING = {
    "request.clipping.kind": "Which clipping; the fields below depend on it.",
    "request.client_optimizer.name": "Optimizer.",
    "request.client_optimizer.learning_rate": "Learning rate.",
    "request.client_optimizer.momentum": "Momentum.",
    "request.server_optimizer.name": "Optimizer.",
    "request.server_optimizer.learning_rate": "Learning rate.",
    "researcher.id": "Id of the account.",
    "researcher.roles[_]": "Roles of the account, such as `researcher`.",
    "researcher.organization": "Organization; empty if unknown.",
    "researcher.affiliations[_]": "Affiliations, such as departments.",
}


def variants(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema as its alternatives, references followed."""
    if "$ref" in schema:
        yield from variants(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    elif "anyOf" in schema or "oneOf" in schema:
        for item in [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
            yield from variants(item)
    else:
        yield schema


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and schema of every field below, a list's items as `[_]`."""
    for variant in variants(schema):
        for name, below in variant.get("properties", {}).items():
            place = f"{path}.{name}" if path else name
            if any("items" in item for item in variants(below)):
                place += "[_]"
            yield place, below
            yield from fields(below, place)


def number_range(schema: dict[str, Any]) -> str:
    names = (
        ("minimum", "at least {}"),
        ("exclusiveMinimum", "above {}"),
        ("maximum", "at most {}"),
        ("exclusiveMaximum", "below {}"),
    )
    parts = [text.format(plain(schema[name])) for name, text in names if name in schema]
    return f", {', '.join(parts)}" if parts else ""


def plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def type_of(schema: dict[str, Any]) -> str:
    """What a field may hold, in words."""
    words = []
    for variant in variants(schema):
        kind = variant.get("type")
        if "const" in variant:
            words.append(f"`{variant['const']}`")
        elif "enum" in variant:
            words.append(", ".join(f"`{value}`" for value in variant["enum"]))
        elif kind == "array":
            words.append(f"list of {type_of(variant['items'])}")
        elif kind in ("integer", "number"):
            words.append(kind + number_range(variant))
        else:
            words.append({"string": "text", "object": "object"}.get(kind, str(kind)))
    return " or ".join(dict.fromkeys(words))


def rows() -> dict[str, str]:
    """A row of the table for each path; variants of one field share it."""
    types: dict[str, list[str]] = {}
    meanings: dict[str, str] = {}
    for path, schema in fields(SCHEMA, ""):
        types.setdefault(path, []).append(type_of(schema))
        meanings.setdefault(path, schema.get("description") or MEANING[path])
    return {
        path: f"| `{path}` | {' or '.join(dict.fromkeys(found))} | {meanings[path]} |"
        for path, found in types.items()
    }


def table() -> str:
    """The whole table."""
    return "\n".join(
        ["| field | what it holds | meaning |", "| --- | --- | --- |", *rows().values()]
    )


if __name__ == "__main__":
    print(table())
