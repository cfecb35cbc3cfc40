"""JSON of policies' data, as strictly as the engines read it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_DEPTH = 64

_SURROGATE = re.compile("[\ud800-\udfff]")

dumps = json.dumps


class NotJson(ValueError):
    """Text that is not JSON, or that two readers could take differently.

    Attributes:
      line: Where, if that is known; else 0.
    """

    def __init__(self, problem: str, line: int = 0) -> None:
        self.line = line
        super().__init__(problem)


def loads(text: str) -> Any:
    """The document, without NaN, keys given twice and bottomless nesting.

    Raises:
      NotJson: If it is anything else.
    """
    try:
        document = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        raise NotJson(error.msg, error.lineno) from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError:
        raise NotJson("a number has too many digits") from None
    _check(document)
    return document


def _refuse(name: str) -> Any:
    raise NotJson(f"{name} is not a number that JSON has")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise NotJson(f"{name!r} is given twice in one object")
        found[name] = value
    return found


def _check(document: Any) -> None:
    pending = [(document, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise NotJson(f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, dict):
            pending.extend((item, depth + 1) for item in value.values())
            pending.extend((name, depth) for name in value)
        elif isinstance(value, list):
            pending.extend((item, depth + 1) for item in value)
        elif isinstance(value, float) and math.isinf(value):
            raise NotJson("a number is too large")
        elif isinstance(value, str) and _SURROGATE.search(value):
            raise NotJson("a string holds half a character")
