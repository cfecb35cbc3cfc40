"""Counter-proposals: the nearest requests that policy and accountant would both allow.

The search moves only parameters that trade accuracy for privacy. It first repairs what the
policies' published bounds say is out of range, then looks for the best single change that the
filter admits, and for mixtures of two when no single change is enough. The filter alone is exact
and fast, so it guides the search; every proposal that is returned has also been judged whole, by
the same function that judges a request, against the same situation. That makes the invariant hold
by construction: resubmitted unchanged, with nothing spent in between, a proposal is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sytff_policy._model import parse
from sytff_policy.decision import CounterProposal
from sytff_policy.errors import InvalidInputs
from sytff_policy.judge import (
    ACCOUNTANT_SOURCE,
    Judgement,
    Situation,
    affordable,
    mechanism_of,
)
from sytff_policy.policy import Bound
from sytff_policy.privacy import FEW_ORDERS, rdp_epsilon
from sytff_policy.request import TrainRequest

MAX_JUDGEMENTS = 30
MOST_NOISE = 100.0
"""Beyond this a proposal would be allowed and useless."""

SILENCE = {"noise_multiplier": 1e-3, "evaluation.noise_multiplier": 5.0}
"""What stands in for no noise at all: where the search for more begins, and the usual evaluation's.
"""

CLAMPED_FIELDS = (
    "rounds",
    "clients_per_round",
    "noise_multiplier",
    "clipping.norm",
    "batch_size",
    "local_epochs",
    "evaluation.noise_multiplier",
)

Judge = Callable[[TrainRequest], Judgement]


@dataclass
class _Search:
    asked: TrainRequest
    situation: Situation
    judge: Judge
    judgements: int = 0
    epsilon_limit: float = math.inf
    found: dict[str, CounterProposal] = field(default_factory=dict)

    def affordable(self, candidate: TrainRequest) -> bool:
        """Whether all filters admit a candidate, and the owner's limit on one request does."""
        record = self.situation.record
        if not affordable(candidate, self.situation):
            return False
        if not math.isfinite(self.epsilon_limit):
            return True
        mechanism = mechanism_of(candidate, record.population)
        if mechanism is None:
            return False
        delta = float(record.filter.delta)
        return rdp_epsilon(mechanism.event(), delta, FEW_ORDERS) <= self.epsilon_limit

    def offer(self, candidate: TrainRequest) -> Judgement:
        """Judges a candidate whole, and keeps it if it is allowed."""
        self.judgements += 1
        judgement = self.judge(candidate)
        cost = judgement.cost
        if judgement.allowed and cost.epsilon is not None and cost.charge is not None:
            self.found[candidate.digest] = CounterProposal(
                request=candidate.to_json(),
                changes=changes(self.asked, candidate),
                epsilon=cost.epsilon,
                charge=cost.charge,
            )
        return judgement

    def offer_all(self, candidates: Iterable[TrainRequest | None]) -> None:
        """Offers the candidates that exist, are new, and fit the limit on judgements."""
        for candidate in candidates:
            known = candidate is None or candidate == self.asked or candidate.digest in self.found
            if candidate is not None and not known and self.judgements < MAX_JUDGEMENTS:
                self.offer(candidate)


def propose(
    asked: TrainRequest, judgement: Judgement, situation: Situation, judge: Judge
) -> tuple[CounterProposal, ...]:
    """Finds requests near `asked` that are allowed in `situation`.

    Args:
      asked: The denied request.
      judgement: Its judgement.
      situation: What it was judged in.
      judge: Judges a candidate in that same situation.

    Returns:
      Proposals with the fewest changes first; empty when nothing near is allowed.
    """
    search = _Search(asked, situation, judge)
    base, bounds = _repair(search, judgement)
    if base is None:
        return ()
    if search.affordable(base):
        search.offer_all([base])
    else:
        search.offer_all(move(search, base, bounds) for move in MOVES)
        if not search.found:
            search.offer_all(_mixtures(search, base, bounds))
        if not search.found and base.evaluation is not None:
            silent = base.model_copy(update={"evaluation": None})
            search.offer_all(move(search, silent, bounds) for move in MOVES)
    return tuple(sorted(search.found.values(), key=lambda p: (len(p.changes), sorted(p.changes))))


def changes(asked: TrainRequest, other: TrainRequest) -> dict[str, dict[str, Any]]:
    """Field path -> {"from", "to"} for every field in which two requests differ."""
    return dict(_differences(asked.to_json(), other.to_json(), ""))


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            below = f"{path}.{key}" if path else key
            yield from _differences(before.get(key), after.get(key), below)
    elif before != after:
        yield path, {"from": before, "to": after}


def _repair(search: _Search, judgement: Judgement) -> tuple[TrainRequest | None, dict[str, Bound]]:
    """Moves what is outside the policies' bounds to the nearest bound, until they are content.

    Bounds can depend on the request (adaptive clipping bounds noise by the cohort), so moving one
    field can move another's bound; a few passes settle it.
    """
    candidate, current = search.asked, judgement
    for _ in range(4):
        clamped = _clamp(candidate, current.bounds, search.situation.record.population)
        if clamped is None:
            return None, current.bounds
        if clamped == candidate:
            break
        candidate, current = clamped, search.offer(clamped)
    if any(
        reason.source != ACCOUNTANT_SOURCE and not _about_cost(reason.field)
        for reason in current.reasons
    ):
        # A policy still refuses for a reason that no parameter can mend.
        return None, current.bounds
    search.epsilon_limit = _range(current.bounds.get("cost.epsilon"))[1]
    return candidate, current.bounds


def _about_cost(name: str) -> bool:
    return name.startswith(("cost", "budget", "usage"))


def _clamp(
    candidate: TrainRequest, bounds: dict[str, Bound], population: int
) -> TrainRequest | None:
    document = candidate.to_json()
    for name in CLAMPED_FIELDS:
        value = _get(document, name)
        if value is None:
            continue
        low, high = _range(bounds.get(name))
        if name == "clients_per_round":
            high = min(high, float(population))
        if not low <= high:
            return None
        if name in SILENCE and not value > 0:
            low = max(low, SILENCE[name])
            if not low <= high:
                return None
        nearest: float | int = min(max(value, low), high)
        if isinstance(value, int):
            nearest = math.ceil(nearest) if nearest == low else math.floor(nearest)
        if nearest != value:
            _set(document, name, nearest)
    if document.get("no_clients") is not None and document["no_clients"] > population:
        document["no_clients"] = population
    try:
        return parse(TrainRequest, document)
    except InvalidInputs:
        return None


def _range(bound: Bound | None) -> tuple[float, float]:
    if bound is None:
        return -math.inf, math.inf
    low = -math.inf if bound.min is None else float(bound.min)
    high = math.inf if bound.max is None else float(bound.max)
    return low, high


def _fewer_rounds(
    search: _Search, base: TrainRequest, bounds: dict[str, Bound]
) -> TrainRequest | None:
    lowest = max(1, math.ceil(_range(bounds.get("rounds"))[0])) if "rounds" in bounds else 1
    return _largest(search, base, "rounds", lowest, base.rounds)


def _fewer_clients(
    search: _Search, base: TrainRequest, bounds: dict[str, Bound]
) -> TrainRequest | None:
    bound = bounds.get("clients_per_round")
    lowest = max(1, math.ceil(_range(bound)[0])) if bound and bound.min is not None else 1
    return _largest(search, base, "clients_per_round", lowest, base.clients_per_round)


def _largest(
    search: _Search, base: TrainRequest, name: str, low: int, high: int
) -> TrainRequest | None:
    def at(value: int) -> TrainRequest:
        return base.model_copy(update={name: value})

    if low > high or not search.affordable(at(low)):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if search.affordable(at(middle)) else (low, middle - 1)
    return at(low)


def _more_noise(
    search: _Search, base: TrainRequest, bounds: dict[str, Bound]
) -> TrainRequest | None:
    """The least noise, at three significant digits, that the filter admits."""

    def at(value: float) -> TrainRequest:
        return base.model_copy(update={"noise_multiplier": value})

    most = min(_range(bounds.get("noise_multiplier"))[1], max(MOST_NOISE, base.noise_multiplier))
    low, high = max(base.noise_multiplier, 1e-3), _three_digits(most, up=False)
    if low > high or not search.affordable(at(high)):
        return None
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if search.affordable(at(middle)) else (middle, high)
        if high / low < 1.0005:
            break
    value = min(_three_digits(high, up=True), _three_digits(most, up=False))
    return at(value) if search.affordable(at(value)) else None


def _mixtures(
    search: _Search, base: TrainRequest, bounds: dict[str, Bound]
) -> Iterator[TrainRequest | None]:
    """Two changes at a time: half-way in one parameter (on a log scale), the rest in another."""
    most = min(_range(bounds.get("noise_multiplier"))[1], MOST_NOISE)
    highest = _three_digits(most, up=False)
    if highest > base.noise_multiplier:
        for share in (0.25, 0.5, 0.75, 1.0):
            start = max(base.noise_multiplier, 1e-3)
            noise = min(_three_digits(start * (highest / start) ** share, up=True), highest)
            noisier = base.model_copy(update={"noise_multiplier": noise})
            pair = [_fewer_rounds(search, noisier, bounds), _fewer_clients(search, noisier, bounds)]
            if any(pair):
                yield from pair
                return
    fewer = max(1, base.clients_per_round // 4)
    yield _fewer_rounds(search, base.model_copy(update={"clients_per_round": fewer}), bounds)


MOVES = (_fewer_rounds, _more_noise, _fewer_clients)


def _three_digits(value: float, *, up: bool) -> float:
    if not (math.isfinite(value) and value > 0):
        return value
    number = Decimal(repr(value))
    quantum = Decimal(1).scaleb(number.adjusted() - 2)
    rounded = number.quantize(quantum, rounding="ROUND_CEILING" if up else "ROUND_FLOOR")
    return float(rounded)


def _get(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _set(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        document = document[part]
    document[last] = value
