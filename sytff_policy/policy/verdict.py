"""What policies answer, checked before it is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sytff_policy.decision import Reason

CODE = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$")
MAX_REASONS = 200
MAX_TEXT = 2000


@dataclass(frozen=True)
class Bound:
    """What a field may be, as far as policies say in advance. None means unbounded."""

    min: Decimal | None = None
    max: Decimal | None = None
    allowed: tuple[Any, ...] | None = None

    def narrowed(self, other: Bound) -> Bound:
        """The bound that satisfies both."""
        return Bound(
            _pick(max, self.min, other.min),
            _pick(min, self.max, other.max),
            _both(self.allowed, other.allowed),
        )


@dataclass(frozen=True)
class Verdict:
    """The answer of all packages together."""

    deny: tuple[Reason, ...] = ()
    review: tuple[Reason, ...] = ()
    warn: tuple[Reason, ...] = ()
    bounds: Mapping[str, Bound] = field(default_factory=dict)

    def joined(self, other: Verdict) -> Verdict:
        """Both verdicts: every reason of each, and the narrower bound of each field."""
        bounds = dict(self.bounds)
        for name, bound in other.bounds.items():
            bounds[name] = bounds[name].narrowed(bound) if name in bounds else bound
        return Verdict(
            self.deny + other.deny, self.review + other.review, self.warn + other.warn, bounds
        )


class Malformed(ValueError):
    """A policy's answer that does not keep the contract."""


def denied(code: str, source: str, message: str) -> Verdict:
    """A verdict that denies for one reason of the engine's own."""
    return Verdict(deny=(Reason(code=code, source=source, message=message),))


def parse_package(source: str, document: Any) -> Verdict:
    """Checks one package's document against the contract.

    Args:
      source: Name of the package's document, such as `data.sytff.dataset`.
      document: Its value, numbers as int or Decimal; None when undefined.

    Returns:
      The verdict; anything undefined or malformed is a denial.
    """
    if not isinstance(document, dict) or "deny" not in document:
        return denied(
            "policy.undefined",
            source,
            f"{source}.deny is undefined: without a policy every request is denied",
        )
    try:
        bounds = _bounds(document.get("bounds", {}))
        deny, review, warn = (
            _reasons(source, name, document.get(name, [])) for name in ("deny", "review", "warn")
        )
    except Malformed as error:
        return denied("policy.malformed", source, f"{source}: {error}")
    return Verdict(deny, review, warn, bounds)


def _reasons(source: str, name: str, value: Any) -> tuple[Reason, ...]:
    if not isinstance(value, list):
        raise Malformed(f"{name} is not a set of reason objects")
    if len(value) > MAX_REASONS:
        raise Malformed(f"{name} has more than {MAX_REASONS} reasons")
    return tuple(_reason(source, name, item) for item in value)


def _reason(source: str, name: str, item: Any) -> Reason:
    known = {"code", "message", "field", "limit", "actual"}
    if not isinstance(item, dict) or not {"code", "message"} <= set(item) <= known:
        raise Malformed(f"{name} holds something that is not a reason object")
    code, message = item["code"], item["message"]
    if not (isinstance(code, str) and CODE.match(code) and len(code) <= 100):
        raise Malformed(f"{name} holds a reason whose code is not like `dataset.rounds`")
    place = item.get("field", "")
    if not (isinstance(message, str) and len(message) <= MAX_TEXT and isinstance(place, str)):
        raise Malformed(f"{name} reason {code} has a message or field that is not text")
    return Reason(
        code=code,
        source=source,
        message=message,
        field=place[:200],
        limit=_value(item.get("limit")),
        actual=_value(item.get("actual")),
    )


def _value(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool | Decimal):
        return value
    if isinstance(value, list) and len(value) <= 1000:
        return [_value(item) for item in value]
    raise Malformed("a limit or actual value is neither a scalar nor a list of scalars")


def _bounds(document: Any) -> dict[str, Bound]:
    if not isinstance(document, dict):
        raise Malformed("bounds is not an object")
    return {name: _bound(name, value) for name, value in document.items()}


def _bound(name: str, value: Any) -> Bound:
    if not isinstance(value, dict) or not set(value) <= {"min", "max", "allowed"}:
        raise Malformed(f"bounds of {name} are not an object of min, max and allowed")
    low, high = (_number(name, value.get(key)) for key in ("min", "max"))
    allowed = value.get("allowed")
    if allowed is not None and not isinstance(allowed, list):
        raise Malformed(f"allowed values of {name} are not a list")
    return Bound(low, high, None if allowed is None else tuple(allowed))


def _number(name: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Malformed(f"bounds of {name} are not numbers")
    return Decimal(value)


def _pick(choose: Any, first: Decimal | None, second: Decimal | None) -> Decimal | None:
    present = [value for value in (first, second) if value is not None]
    return choose(present) if present else None


def _both(first: tuple[Any, ...] | None, second: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if first is None or second is None:
        return first if second is None else second
    return tuple(value for value in first if value in second)
