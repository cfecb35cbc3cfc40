"""The fields of the input document, as its JSON Schema has them.

A rule that reads a field which no input has is never true, and a policy with a misspelt limit
would allow what its owner forbids. So what is read is held against the schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from sytff_policy.policy.document import input_schema


def unknown_field(parts: Sequence[str]) -> list[str] | None:
    """None if some input has what lies at `parts`; else the names that there are instead.

    Args:
      parts: Path below `input`; `*` is any key or index.
    """
    schema = _schema()
    levels = [schema]
    for part in parts:
        found = [below for level in levels for below in _below(level, part)]
        if not found:
            return sorted({name for level in levels for name in _names(level)})
        levels = found
    return None


@cache
def _schema() -> dict[str, Any]:
    return input_schema()


def _variants(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema as its alternatives, references followed."""
    pending = [schema]
    while pending:
        item = pending.pop()
        if "$ref" in item:
            pending.append(_schema()["$defs"][item["$ref"].rpartition("/")[2]])
        elif "anyOf" in item or "oneOf" in item:
            pending.extend([*item.get("anyOf", ()), *item.get("oneOf", ())])
        else:
            yield item


def _names(schema: dict[str, Any]) -> Iterator[str]:
    for variant in _variants(schema):
        yield from variant.get("properties", {})
        if variant.get("type") == "array":
            yield "[_]"


def _below(schema: dict[str, Any], part: str) -> Iterator[dict[str, Any]]:
    for variant in _variants(schema):
        properties = variant.get("properties", {})
        if part == "*":
            yield from properties.values()
        elif part in properties:
            yield properties[part]
        if variant.get("type") == "array" and part == "*":
            yield variant.get("items", {})
