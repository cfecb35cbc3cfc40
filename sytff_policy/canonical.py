"""Canonical bytes and digests: what is hashed, signed or compared.

Documents are RFC 8785 canonical JSON. Exact decimals travel as strings, because RFC 8785
numbers are IEEE 754 doubles; floats are allowed where they are the value itself (a request's
noise multiplier), and then have one spelling: the shortest that round-trips.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import rfc8785

DIGEST_PREFIX = "sha256:"


def canonical_bytes(document: Any) -> bytes:
    """RFC 8785 bytes of `document`.

    Args:
      document: JSON-like data; `Decimal` values are written as plain decimal strings.

    Raises:
      ValueError: For NaN, infinities, integers beyond 2**53 - 1 and other values that have
        no canonical form.
    """
    try:
        return _encode(_quick(document)).encode()
    except _Unusual:
        return rfc8785.dumps(_plain(document))


def digest(document: Any) -> str:
    """`sha256:<hex>` of the canonical bytes of `document`."""
    return digest_bytes(canonical_bytes(document))


def digest_bytes(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return DIGEST_PREFIX + hashlib.sha256(data).hexdigest()


def decimal_text(value: Decimal) -> str:
    """The one spelling of an exact decimal: no exponent, no trailing zeros, no negative zero."""
    if not value.is_finite():
        raise ValueError(f"{value} has no exact decimal form")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


class _Unusual(Exception):
    """A value whose canonical form the standard encoder may spell otherwise, or that has none."""


_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode
_LARGEST = 2**53 - 1


def _quick(document: Any) -> Any:
    """`document` as the standard encoder spells it canonically, ten times as fast.

    Keys in ASCII sort alike; integers and strings are spelled alike; doubles are where their
    shortest spelling has no exponent, once whole ones have lost their fraction.
    """
    kind = type(document)
    if kind is str or kind is bool or document is None:
        return document
    if kind is dict:
        for key in document:
            if type(key) is not str or not key.isascii():
                raise _Unusual
        return {key: _quick(value) for key, value in document.items()}
    if kind is list or kind is tuple:
        return [_quick(value) for value in document]
    if kind is int:
        if -_LARGEST <= document <= _LARGEST:
            return document
        raise _Unusual
    if kind is Decimal:
        return decimal_text(document)
    if kind is float and 1e-4 <= abs(document) <= 1e15:
        return int(document) if document.is_integer() else document
    if kind is float and document == 0:
        return 0
    raise _Unusual


def _plain(document: Any) -> Any:
    if isinstance(document, Decimal):
        return decimal_text(document)
    if isinstance(document, dict):
        return {key: _plain(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_plain(value) for value in document]
    return document
