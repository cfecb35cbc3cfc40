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
MAX_POPULATION = 10**12
MAX_NOISE = Decimal(10) ** 9
MAX_PLACES = 400
"""Decimal places of a noise multiplier: enough for every double."""


class UnknownEvent(ValueError):
    """A document that is not an event of this vocabulary."""


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian mechanism; `noise_multiplier` is noise stddev over L2 sensitivity, >= 0."""

    noise_multiplier: Decimal

    def __post_init__(self) -> None:
        noise = self.noise_multiplier
        if not isinstance(noise, Decimal):
            raise UnknownEvent(f"noise multiplier {noise!r} must be an exact decimal")
        if not (noise.is_finite() and 0 <= noise <= MAX_NOISE):
            raise UnknownEvent(f"noise multiplier {noise} must be finite, >= 0 and <= {MAX_NOISE}")
        # A decimal with a huge exponent is short in memory and endless when it is written out.
        exponent = noise.as_tuple().exponent
        if not (isinstance(exponent, int) and -MAX_PLACES <= exponent <= 9):
            raise UnknownEvent(f"a noise multiplier of more than {MAX_PLACES} decimal places")

    def to_json(self) -> dict[str, Any]:
        return {"event": "gaussian", "noise_multiplier": decimal_text(self.noise_multiplier)}


@dataclass(frozen=True)
class PoissonSampled:
    """`event` on a sample that holds each of `population` units with chance clients/population."""

    clients: int
    population: int
    event: Gaussian

    def __post_init__(self) -> None:
        if not (_is_count(self.clients) and _is_count(self.population)):
            raise UnknownEvent("clients and population must be integers")
        if not isinstance(self.event, Gaussian):
            raise UnknownEvent(f"poisson_sampled holds a gaussian, not {_name(self.event)}")
        if not 1 <= self.clients <= self.population <= MAX_POPULATION:
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
        if not isinstance(self.event, Gaussian | PoissonSampled):
            raise UnknownEvent(
                f"repeated holds a gaussian or a poisson_sampled, not {_name(self.event)}"
            )
        if not (_is_count(self.count) and 0 <= self.count <= MAX_COUNT):
            raise UnknownEvent(f"count {self.count} must be in 0..{MAX_COUNT}")

    def to_json(self) -> dict[str, Any]:
        return {"event": "repeated", "count": self.count, "of": self.event.to_json()}


@dataclass(frozen=True)
class Composed:
    """Several events on the same units."""

    events: tuple[Repeated, ...]

    def __post_init__(self) -> None:
        if not (
            isinstance(self.events, tuple) and all(isinstance(e, Repeated) for e in self.events)
        ):
            raise UnknownEvent("composed holds a tuple of repeated events")

    def to_json(self) -> dict[str, Any]:
        return {"event": "composed", "of": [event.to_json() for event in self.events]}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _name(event: object) -> str:
    return type(event).__name__


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
    """`event` as a flat list of repeated mechanisms.

    Raises:
      UnknownEvent: For anything that is not an event of this vocabulary, by its name.
    """
    if isinstance(event, Composed):
        return event.events
    if isinstance(event, Repeated):
        return (event,)
    if isinstance(event, Gaussian | PoissonSampled):
        return (Repeated(1, event),)
    raise UnknownEvent(f"{_name(event)} is not an event that is accounted for here")


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
