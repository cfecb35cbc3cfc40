"""Privacy events: what a mechanism did, or will do at worst, to every unit's privacy.

A small closed vocabulary beside dp-accounting's `DpEvent`. It is exact (sampling rates are ratios
of integers, noise multipliers are decimals), and it is decoded through a fixed table of tags:
`DpEvent.from_named_tuple` imports whatever module its input names, and the ledger's content must
never choose code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sytff_policy.canonical import decimal_text

if TYPE_CHECKING:
    import dp_accounting

MAX_COUNT = 10_000_000


class UnknownEvent(ValueError):
    """A document that is not an event of this vocabulary."""


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian mechanism; `noise_multiplier` is noise stddev over L2 sensitivity, >= 0."""

    noise_multiplier: Decimal

    def __post_init__(self) -> None:
        if not (self.noise_multiplier.is_finite() and self.noise_multiplier >= 0):
            raise UnknownEvent(f"noise multiplier {self.noise_multiplier} must be finite and >= 0")

    def to_json(self) -> dict[str, Any]:
        return {"event": "gaussian", "noise_multiplier": decimal_text(self.noise_multiplier)}


@dataclass(frozen=True)
class PoissonSampled:
    """`event` on a sample that holds each of `population` units with chance clients/population."""

    clients: int
    population: int
    event: Gaussian

    def __post_init__(self) -> None:
        if not 1 <= self.clients <= self.population:
            raise UnknownEvent(f"sampling rate {self.clients}/{self.population} must be in (0, 1]")

    def to_json(self) -> dict[str, Any]:
        return {
            "event": "poisson_sampled",
            "clients": self.clients,
            "population": self.population,
            "of": self.event.to_json(),
        }


@dataclass(frozen=True)
class Repeated:
    """`event`, `count` times (>= 0), each with fresh randomness."""

    count: int
    event: Gaussian | PoissonSampled

    def __post_init__(self) -> None:
        if not 0 <= self.count <= MAX_COUNT:
            raise UnknownEvent(f"count {self.count} must be in 0..{MAX_COUNT}")

    def to_json(self) -> dict[str, Any]:
        return {"event": "repeated", "count": self.count, "of": self.event.to_json()}


@dataclass(frozen=True)
class Composed:
    """Several events on the same units."""

    events: tuple[Repeated, ...]

    def to_json(self) -> dict[str, Any]:
        return {"event": "composed", "of": [event.to_json() for event in self.events]}


Event = Gaussian | PoissonSampled | Repeated | Composed


def from_json(document: Any) -> Event:
    """Decodes what `to_json` wrote.

    Raises:
      UnknownEvent: For any other document: unknown tags, missing or extra keys, wrong types.
    """
    if not isinstance(document, dict):
        raise UnknownEvent("an event is a JSON object")
    tag = document.get("event")
    if not isinstance(tag, str) or tag not in _DECODERS:
        raise UnknownEvent(f"unknown event {tag!r}; known: {', '.join(sorted(_DECODERS))}")
    keys, decode = _DECODERS[tag]
    if set(document) != keys | {"event"}:
        raise UnknownEvent(f"event {tag!r} has the keys {sorted(keys)}, not {sorted(document)}")
    return decode(document)


def _integer(document: dict[str, Any], key: str) -> int:
    value = document[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnknownEvent(f"{key} must be an integer")
    return value


def _gaussian(document: dict[str, Any]) -> Gaussian:
    text = document["noise_multiplier"]
    try:
        value = Decimal(text) if isinstance(text, str) else None
    except ArithmeticError:
        value = None
    if value is None or not value.is_finite() or decimal_text(value) != text:
        raise UnknownEvent(f"noise_multiplier {text!r} is not a canonical decimal string")
    return Gaussian(value)


def _poisson(document: dict[str, Any]) -> PoissonSampled:
    inner = from_json(document["of"])
    if not isinstance(inner, Gaussian):
        raise UnknownEvent("poisson_sampled holds a gaussian")
    return PoissonSampled(_integer(document, "clients"), _integer(document, "population"), inner)


def _repeated(document: dict[str, Any]) -> Repeated:
    inner = from_json(document["of"])
    if not isinstance(inner, Gaussian | PoissonSampled):
        raise UnknownEvent("repeated holds a gaussian or a poisson_sampled")
    return Repeated(_integer(document, "count"), inner)


def _composed(document: dict[str, Any]) -> Composed:
    if not isinstance(document["of"], list):
        raise UnknownEvent("composed holds a list")
    parts = [from_json(item) for item in document["of"]]
    repeated = tuple(part for part in parts if isinstance(part, Repeated))
    if len(repeated) != len(parts):
        raise UnknownEvent("composed holds repeated events")
    return Composed(repeated)


_DECODERS: dict[str, tuple[set[str], Callable[[dict[str, Any]], Event]]] = {
    "gaussian": ({"noise_multiplier"}, _gaussian),
    "poisson_sampled": ({"clients", "population", "of"}, _poisson),
    "repeated": ({"count", "of"}, _repeated),
    "composed": ({"of"}, _composed),
}


def parts(event: Event) -> tuple[Repeated, ...]:
    """`event` as a flat list of repeated mechanisms."""
    if isinstance(event, Composed):
        return event.events
    if isinstance(event, Repeated):
        return (event,)
    return (Repeated(1, event),)


def to_dp_event(event: Event) -> dp_accounting.DpEvent:
    """The same event in dp-accounting's vocabulary."""
    # Imported late: it takes seconds from cold, and most commands state no epsilon.
    import dp_accounting

    if isinstance(event, Gaussian):
        return dp_accounting.GaussianDpEvent(float(event.noise_multiplier))
    if isinstance(event, PoissonSampled):
        return dp_accounting.PoissonSampledDpEvent(
            event.clients / event.population, to_dp_event(event.event)
        )
    if isinstance(event, Repeated):
        return dp_accounting.SelfComposedDpEvent(to_dp_event(event.event), event.count)
    return dp_accounting.ComposedDpEvent([to_dp_event(item) for item in event.events])
