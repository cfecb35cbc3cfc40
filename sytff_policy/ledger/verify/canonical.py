"""The one spelling of a document: RFC 8785, with code of its own.

The quick check asks the standard library's encoder. It writes what RFC 8785 prescribes but for
three things, each of which is looked for: doubles with an exponent, whose spelling differs, and
which are put right in its text; integers beyond 2**53 - 1, which have no form; and texts beyond
the basic plane's surrogates, whose order may differ, and which go to the slow check. A key that
stands twice shows too: it is read once, and the encoder's text is then shorter.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache
from typing import Any

_LARGEST_INTEGER = 2**53 - 1
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


class NotCanonical(ValueError):
    """Something that has no canonical form."""


class Decoder:
    """Decodes documents and says whether they were in canonical form."""

    def __init__(self) -> None:
        self._plain = True
        self._canonical = True
        self._odd: list[tuple[str, str]] = []
        self._decode = json.JSONDecoder(
            parse_float=self._float, parse_int=_integer, parse_constant=_constant
        ).decode

    def decode(self, text: str) -> tuple[Any, bool]:
        """The document, and whether `text` is its canonical form.

        Raises:
          ValueError, RecursionError: If it is not JSON.
        """
        self._plain = text.isascii() or max(text) < "\ud800"
        self._canonical = True
        self._odd.clear()
        document = self._decode(text)
        if not self._canonical:
            return document, False
        if self._plain:
            quick = _encode(document)
            if (self._put_right(quick) if self._odd else quick) == text:
                return document, True
            if not self._odd:
                return document, False
        return document, canonical_text(document) == text

    def text(self, document: Any) -> str:
        """Canonical text of a part of the last document."""
        quick = _encode(document) if self._plain else ""
        if quick and not any(other in quick for other, _ in self._odd):
            return quick
        return canonical_text(document)

    def _put_right(self, quick: str) -> str:
        """The encoder's text with its doubles spelled canonically, where they were read in order.

        Should one be taken for a piece of a text, the result is no canonical form, and is not what
        was read either, because that holds the text as it is.
        """
        pieces, start = [], 0
        for other, spelled in self._odd:
            place = quick.find(other, start)
            if place < 0:
                return ""
            pieces += [quick[start:place], spelled]
            start = place + len(other)
        return "".join([*pieces, quick[start:]])

    def _float(self, text: str) -> float:
        value = float(text)
        spelled = _spelled(value)
        if spelled != text:
            self._canonical = False
        elif spelled != (other := repr(value)):
            self._odd.append((other, spelled))
        return value


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
        return float_text(document)
    return json.dumps(document)


def float_text(value: float) -> str:
    """ECMAScript's Number::toString, which RFC 8785 prescribes."""
    if value != value or value in (float("inf"), float("-inf")):
        raise NotCanonical("not a finite number")
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


_spelled = lru_cache(maxsize=65_536)(float_text)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _integer(text: str) -> int:
    value = int(text)
    if len(text) > 15 and abs(value) > _LARGEST_INTEGER:
        raise NotCanonical(f"{text} has no canonical form")
    return value


def _constant(name: str) -> Any:
    raise NotCanonical(f"{name} is not a number that JSON has")
