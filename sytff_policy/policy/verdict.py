"""What policies answer, checked before it is believed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sytff_policy.decision import Reason, Scalar, Value

CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
MAX_CODE = 100
MAX_FIELD = 200
MAX_REASONS = 200
MAX_TEXT = 2000
MAX_VALUES = 1000
MAX_BOUNDS = 200
MAX_DIGITS = 400
MAX_EXACT_INTEGER = 2**53 - 1
"""The largest integer that every reader of JSON, and canonical JSON, keeps exactly."""

# Control characters would let a policy's text rewrite the terminal of whoever reads it, and
# surrogates and reordering marks have no honest use in it.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True)
class Bound:
    """What a field may be, as far as policies say in advance. None means unbounded.

    A bound informs; it never allows. One that nothing satisfies (`min` above `max`, no allowed
    value) is what two packages say that cannot both be content.
    """

    min: Decimal | None = None
    max: Decimal | None = None
    allowed: tuple[Scalar, ...] | None = None

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
    # A policy may name a source, as reasons have one; which package spoke is known better here.
    known = {"code", "source", "message", "field", "limit", "actual"}
    if not isinstance(item, dict) or not {"code", "message"} <= set(item) <= known:
        raise Malformed(f"{name} holds something that is not a reason object")
    code, message, place = item["code"], item["message"], item.get("field") or ""
    if not (isinstance(code, str) and len(code) <= MAX_CODE and CODE.fullmatch(code)):
        raise Malformed(f"{name} holds a reason whose code is not like `dataset.rounds`")
    if not _is_text(message, MAX_TEXT):
        raise Malformed(f"{name} reason {code} has no printable message of {MAX_TEXT} characters")
    if not _is_text(place, MAX_FIELD):
        raise Malformed(f"{name} reason {code} has no printable field of {MAX_FIELD} characters")
    return Reason(
        code=code,
        source=source,
        message=message,
        field=place,
        limit=_value(item.get("limit")),
        actual=_value(item.get("actual")),
    )


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most and not _UNPRINTABLE.search(value)


def _value(value: Any) -> Value:
    if not isinstance(value, list):
        return _scalar(value)
    if len(value) > MAX_VALUES:
        raise Malformed(f"a limit or actual value lists more than {MAX_VALUES} values")
    return [_scalar(item) for item in value]


def _scalar(value: Any) -> Scalar:
    if value is None or isinstance(value, bool) or _is_text(value, MAX_TEXT):
        return value  # type: ignore[no-any-return]
    if isinstance(value, int | float | Decimal):
        return _stated(_exact(value))
    raise Malformed("a value is not a number, printable text, true, false or null")


def _exact(value: float | Decimal) -> Decimal:
    """A number that can be compared and written out; nothing endless, nothing not a number."""
    if isinstance(value, int) and value.bit_length() > 4 * MAX_DIGITS:
        raise Malformed(f"a number has more than {MAX_DIGITS} digits")
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    digits = number.as_tuple()
    if not number.is_finite() or max(len(digits.digits), abs(number.adjusted())) > MAX_DIGITS:
        raise Malformed(f"a number is not finite or has more than {MAX_DIGITS} digits")
    return number


def _stated(number: Decimal) -> Scalar:
    """The number as decisions and the ledger can hold it: as text where a double would alter it."""
    if number == number.to_integral_value():
        return int(number) if abs(number) <= MAX_EXACT_INTEGER else str(int(number))
    double = float(number)
    return number if math.isfinite(double) and Decimal(repr(double)) == number else str(number)


def _bounds(document: Any) -> dict[str, Bound]:
    if not isinstance(document, dict):
        raise Malformed("bounds is not an object")
    if len(document) > MAX_BOUNDS:
        raise Malformed(f"bounds has more than {MAX_BOUNDS} fields")
    return {_bounded(name): _bound(name, value) for name, value in document.items()}


def _bounded(name: Any) -> str:
    if not _is_text(name, MAX_FIELD) or not name:
        raise Malformed("bounds are keyed by the path of a field, such as `rounds`")
    return str(name)


def _bound(name: str, value: Any) -> Bound:
    if not isinstance(value, dict) or not set(value) <= {"min", "max", "allowed"}:
        raise Malformed(f"bounds of {name} are not an object of min, max and allowed")
    low, high = (_number(name, value.get(key)) for key in ("min", "max"))
    allowed = value.get("allowed")
    if allowed is not None and not (isinstance(allowed, list) and len(allowed) <= MAX_VALUES):
        raise Malformed(f"allowed values of {name} are not a list of at most {MAX_VALUES}")
    return Bound(low, high, None if allowed is None else tuple(_scalar(item) for item in allowed))


def _number(name: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Malformed(f"bounds of {name} are not numbers")
    return _exact(value)


def _pick(
    choose: Callable[[list[Decimal]], Decimal], first: Decimal | None, second: Decimal | None
) -> Decimal | None:
    present = [value for value in (first, second) if value is not None]
    return choose(present) if present else None


def _both(
    first: tuple[Scalar, ...] | None, second: tuple[Scalar, ...] | None
) -> tuple[Scalar, ...] | None:
    if first is None or second is None:
        return first if second is None else second
    # Python's True equals 1; JSON's does not.
    others = {(isinstance(value, bool), value) for value in second}
    return tuple(value for value in first if (isinstance(value, bool), value) in others)
