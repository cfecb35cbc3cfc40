"""The one spelling of a document: RFC 8785, with code of its own."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def canonical_text(document: Any) -> str:
    """RFC 8785 for what entries hold: sorted keys by UTF-16, shortest numbers, no spaces."""
    if isinstance(document, dict):
        items = sorted(document.items(), key=lambda item: item[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_string(k)}:{canonical_text(v)}" for k, v in items) + "}"
    if isinstance(document, list):
        return "[" + ",".join(canonical_text(item) for item in document) + "]"
    if isinstance(document, str):
        return _string(document)
    if isinstance(document, float):
        return _float(document)
    return json.dumps(document)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _float(value: float) -> str:
    """ECMAScript's Number::toString, which RFC 8785 prescribes."""
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("not a finite number")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    _, digits, exponent = Decimal(repr(abs(value))).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    if len(text) <= point <= 21:
        return sign + text + "0" * (point - len(text))
    if 0 < point <= 21:
        return f"{sign}{text[:point]}.{text[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{text}"
    power = point - 1
    mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
    return f"{sign}{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document
