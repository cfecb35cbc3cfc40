"""Reading what entries say: numbers, digests, filters and events, each in its one spelling."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sytff_policy.ledger.verify.report import Wrong
from sytff_policy.ledger.verify.state import FilterState, Part

_LARGEST = Decimal(1_000_000)
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,20})(?:\.[0-9]{0,40}[1-9])?", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_PARAMETERS = {"rdp": ("order",), "sum": ("requests", "certificate"), "zcdp": ()}


def number(text: Any) -> Decimal:
    """An exact number in its one spelling, in 0..1000000."""
    if not isinstance(text, str):
        raise Wrong("verify.number", f"{text!r} is not an exact number")
    return _number(text)


@lru_cache(maxsize=65_536)
def _number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text) or Decimal(text) > _LARGEST:
        raise Wrong("verify.number", f"{text!r} is not an exact number in range, plainly spelled")
    return Decimal(text)


def numbers(values: Any, units: int) -> list[Decimal]:
    """A loss: one number for each of a filter's units."""
    if not isinstance(values, list) or len(values) != units:
        raise Wrong("verify.number", f"{values!r} is not a loss of {units} numbers")
    return [number(value) for value in values]


def integer(value: Any, low: int, high: int = 2**53 - 1) -> int:
    """An integer in low..high; never a boolean."""
    if type(value) is not int or not low <= value <= high:
        raise Wrong("verify.number", f"{value!r} is not an integer in {low}..{high}")
    return value


def text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise Wrong("verify.malformed", f"{value!r} is not a text")
    return value


def digest(value: Any) -> str:
    """A digest, `sha256:` and 64 hexadecimal digits."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise Wrong("verify.digest", f"{value!r} is not a digest")
    return value


def keys(body: Any, needed: frozenset[str], optional: frozenset[str] = frozenset()) -> None:
    """Refuses a body that lacks a key, or has one that nobody knows."""
    found = body.keys()
    if not (needed <= found and found - needed <= optional):
        wrong = sorted((needed - found) | (found - needed - optional))
        raise Wrong("verify.malformed", f"the entry lacks or adds {', '.join(wrong)}")


def filter_of(document: Any) -> FilterState:
    """A filter's parameters."""
    kind = document["kind"]
    if kind not in _PARAMETERS:
        raise Wrong("verify.filter", f"unknown filter {kind!r}")
    # Ledgers of the first format name neither relation nor certificate; there was no choice.
    unnamed = frozenset({"neighbouring_relation", "certificate"})
    wanted = frozenset(("kind", "epsilon", "delta", *_PARAMETERS[kind])) - unnamed
    keys(document, wanted, unnamed if kind == "sum" else unnamed - {"certificate"})
    if document.get("neighbouring_relation", "add_or_remove_one") != "add_or_remove_one":
        raise Wrong("verify.filter", "charges are for add_or_remove_one neighbours alone")
    if document.get("certificate", "pld-1") != "pld-1":
        raise Wrong("verify.filter", "the requests are certified by an unknown method")
    made = FilterState(
        kind,
        _parameter(document),
        number(document["epsilon"]),
        number(document["delta"]),
    )
    if not (made.epsilon > 0 and 0 < made.delta < 1):
        raise Wrong(
            "verify.filter", f"epsilon {made.epsilon}, delta {made.delta} guarantee nothing"
        )
    return made


def _parameter(document: Any) -> int | Decimal:
    if document["kind"] == "zcdp":
        return 0
    if document["kind"] == "sum":
        return integer(document["requests"], 1, 1_000_000)
    if not isinstance(document["order"], str):
        return integer(document["order"], 2, 256)
    order = number(document["order"])
    if not 2 < order < 32 or order % 1 == 0 or order * 100 % 1:
        raise Wrong(
            "verify.filter", f"{order} is no order: integers, and two decimals from 2 to 32"
        )
    return order


def mechanism_of_event(event: Any) -> tuple[Part, ...]:
    """A run's event: rounds of the sampled Gaussian, and perhaps one evaluation."""
    try:
        if set(event) != {"event", "of"} or event["event"] != "composed":
            raise ValueError
        rounds, *rest = event["of"]
        parts = (_rounds(rounds), *(_evaluation(part) for part in rest))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Wrong("verify.event", "the event is not a run's") from None
    if len(parts) > 2:
        raise Wrong("verify.event", "the event is not a run's")
    return parts


def mechanism_of_request(request: Any, population: int) -> tuple[Part, ...] | None:
    """What a request asks for; None if no run can do it."""
    if not isinstance(request, dict) or "rounds" not in request:
        return None
    rounds, clients = request["rounds"], request["clients_per_round"]
    evaluation = request["evaluation"]
    if type(rounds) is not int or type(clients) is not int:
        return None
    parts = [Part(rounds, clients, population, _plain(request["noise_multiplier"]))]
    if evaluation is not None:
        parts.append(Part(1, 0, 0, _plain(evaluation["noise_multiplier"])))
    return tuple(parts)


def _rounds(part: Any) -> Part:
    inner = part["of"]
    if (
        part.keys() != {"event", "count", "of"}
        or inner.keys() != {"event", "clients", "population", "of"}
        or (part["event"], inner["event"]) != ("repeated", "poisson_sampled")
    ):
        raise ValueError
    clients, population = integer(inner["clients"], 1), integer(inner["population"], 1)
    if clients > population:
        raise Wrong("verify.event", "the event samples more than everyone")
    return Part(integer(part["count"], 0, 10_000_000), clients, population, _gaussian(inner["of"]))


def _evaluation(part: Any) -> Part:
    if part.keys() != {"event", "count", "of"} or part["event"] != "repeated":
        raise ValueError
    return Part(integer(part["count"], 1, 1), 0, 0, _gaussian(part["of"]))


def _gaussian(event: Any) -> str:
    if event.keys() != {"event", "noise_multiplier"} or event["event"] != "gaussian":
        raise ValueError
    noise = event["noise_multiplier"]
    if not number(noise) > 0:
        raise Wrong("verify.event", "the event has no noise")
    return str(noise)


def _plain(value: Any) -> str:
    """The exact decimal that a JSON number is spelled as."""
    spelled = format(Decimal(repr(value)), "f")
    return spelled.rstrip("0").rstrip(".") if "." in spelled else spelled
