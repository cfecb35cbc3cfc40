"""What every privacy filter has in common: its identity, its losses, and what it refuses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal

from sytff_policy.canonical import decimal_text
from sytff_policy.privacy.events import (
    Event,
    Gaussian,
    PoissonSampled,
    Repeated,
    UnknownEvent,
    parts,
)
from sytff_policy.privacy.exact import UnboundedLoss, on_grid, precise

FilterKind = Literal["rdp", "zcdp", "sum"]
NEIGHBOURING_RELATION = "add_or_remove_one"
MAX_EPSILON = Decimal(100_000)
MAX_DIGITS = 60


class InvalidFilter(ValueError):
    """Filter parameters outside their documented range."""


class UnsupportedEvent(UnboundedLoss):
    """An event that the filter has no valid charge for; what it costs is unbounded."""


@dataclass(frozen=True)
class Loss:
    """Accumulated privacy loss in a filter's own units; one exact decimal >= 0 per unit."""

    values: tuple[Decimal, ...]

    def __post_init__(self) -> None:
        for value in self.values:
            # A negative loss would be a refund, and a NaN one that no comparison sees.
            if not (isinstance(value, Decimal) and value.is_finite() and value >= 0):
                raise ValueError(f"{value} is not a finite privacy loss >= 0")

    def __add__(self, other: Loss) -> Loss:
        if len(self.values) != len(other.values):
            raise ValueError("losses of different filters cannot be added")
        with precise():
            return Loss(tuple(a + b for a, b in zip(self.values, other.values, strict=True)))

    def __sub__(self, other: Loss) -> Loss:
        if not other.fits(self):
            raise ValueError(f"{other} is more than {self}")
        with precise():
            return Loss(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))

    def fits(self, capacity: Loss) -> bool:
        """Whether every component is at most the capacity's. No tolerance."""
        pairs = zip(self.values, capacity.values, strict=True)
        return all(value <= limit for value, limit in pairs)

    def is_zero(self) -> bool:
        return all(value == 0 for value in self.values)

    def to_json(self) -> list[str]:
        return [decimal_text(value) for value in self.values]


class PrivacyFilter(ABC):
    """One dataset's filter: its (epsilon, delta), its capacity, and what an event is charged.

    Args:
      epsilon: Budget, > 0, a multiple of 1e-9.
      delta: In (0, 1).
    """

    kind: FilterKind
    units: tuple[str, ...]
    covers: ClassVar[tuple[type, ...]] = (Gaussian, PoissonSampled)
    """Mechanisms that the filter's charge is a theorem about."""

    neighbouring_relation = NEIGHBOURING_RELATION

    def __init__(self, epsilon: Decimal, delta: Decimal) -> None:
        for name, value in (("epsilon", epsilon), ("delta", delta)):
            if not isinstance(value, Decimal):
                raise InvalidFilter(f"{name} {value!r} must be an exact decimal")
            if value.is_finite() and len(value.as_tuple().digits) > MAX_DIGITS:
                raise InvalidFilter(f"{name} must have at most {MAX_DIGITS} digits")
        if not (epsilon.is_finite() and 0 < epsilon <= MAX_EPSILON):
            raise InvalidFilter(f"epsilon {epsilon} must be above 0 and at most {MAX_EPSILON}")
        if on_grid(epsilon) != epsilon:
            raise InvalidFilter(f"epsilon {epsilon} must be a multiple of 1e-9")
        if not (delta.is_finite() and Decimal("1e-30") <= delta < 1):
            raise InvalidFilter(f"delta {delta} must be at least 1e-30 and below 1")
        self.epsilon = epsilon
        self.delta = delta

    @property
    @abstractmethod
    def capacity(self) -> Loss:
        """The largest total loss that keeps (epsilon, delta); rounded down."""

    def charge(self, event: Event) -> Loss:
        """What `event` costs, rounded up; nothing if it repeats every mechanism 0 times.

        Raises:
          UnboundedLoss: If it has no finite cost.
          UnsupportedEvent: If no theorem covers it, by its name.
        """
        live = tuple(part for part in parts_of(event, self.kind) if part.count)
        for part in live:
            if not isinstance(part.event, self.covers):
                raise _unsupported(part.event, self.kind)
        return self._charge(live) if live else self.zero

    def quick_charge(self, event: Event) -> Loss:
        """A charge that is never below `charge` and is found in about a millisecond.

        What it admits, `charge` admits: searches for affordable requests go by it.
        """
        return self.charge(event)

    @abstractmethod
    def _charge(self, live: tuple[Repeated, ...]) -> Loss:
        """What mechanisms that all run cost together."""

    @abstractmethod
    def epsilon_of(self, total: Loss) -> Decimal:
        """The epsilon that holds at the dataset's delta for a total loss; rounded up."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What fixes this filter besides (epsilon, delta) and the neighbouring relation."""

    @property
    def zero(self) -> Loss:
        return Loss(tuple(Decimal(0) for _ in self.units))

    def admits(self, total: Loss) -> bool:
        """Whether a total loss keeps the budget."""
        return total.fits(self.capacity)

    def with_epsilon(self, epsilon: Decimal) -> PrivacyFilter:
        """The same filter after a grant."""
        made = type(self)(epsilon, self.delta, **self.parameters())
        made.capacity  # noqa: B018  (raises when the filter can admit nothing)
        return made

    def parse_loss(self, document: Any) -> Loss:
        """Decodes `Loss.to_json`, refusing anything that is not a finite loss in canonical form."""
        if not (isinstance(document, list) and len(document) == len(self.units)):
            raise ValueError(f"a loss of filter {self.kind} has the units {self.units}")
        values = []
        for text in document:
            short = isinstance(text, str) and len(text) <= MAX_DIGITS
            value = Decimal(text) if short else Decimal("nan")
            if not (value.is_finite() and value >= 0 and decimal_text(value) == text):
                raise ValueError(f"{text!r} is not a canonical loss")
            values.append(value)
        return Loss(tuple(values))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "neighbouring_relation": self.neighbouring_relation,
            "epsilon": decimal_text(self.epsilon),
            "delta": decimal_text(self.delta),
            **self.parameters(),
        }


def canonical_decimal(name: str, text: Any) -> Decimal:
    """A decimal in its one spelling."""
    try:
        value = Decimal(text) if isinstance(text, str) and len(text) <= 2 * MAX_DIGITS else None
    except ArithmeticError:
        value = None
    if value is None or not value.is_finite() or decimal_text(value) != text:
        raise InvalidFilter(f"{name} {text!r} is not a canonical decimal string")
    return value


def parts_of(event: Event, kind: str) -> tuple[Repeated, ...]:
    """`event` as a flat list, or a refusal that names filter and event."""
    try:
        return parts(event)
    except UnknownEvent:
        raise _unsupported(event, kind) from None


def _unsupported(event: object, kind: str) -> UnsupportedEvent:
    return UnsupportedEvent(f"filter {kind} has no valid charge for {type(event).__name__}")
