"""Privacy filters: whether one more mechanism fits, when each request may depend on all answers.

Requests are chosen adaptively, so only accountings that are valid *filters* are here:

- `RdpFilter`: Renyi DP summed at one order fixed in advance. Feldman and Zrnic, "Individual
  Privacy Accounting via a Renyi Filter", NeurIPS 2021, Theorem 4.3; concurrent interaction: Haney
  et al., "Concurrent Composition for Interactive Differential Privacy with Adaptive Privacy-Loss
  Parameters", CCS 2023.
- `ZcdpFilter`: sums of rho (the same paper, Remark 4.4), converted once at the end.
- `SumFilter`: each request certified as (epsilon_i, delta_i)-DP on its own when its parameters are
  frozen at admission; the pairs are added (basic adaptive composition, Dwork and Roth 2014,
  Theorem 3.16 with adaptive choice of parameters: Rogers et al. 2016).

Composing PLDs over requests, and choosing the best Renyi order afterwards, are not valid in
general and are not offered.

A filter's state is a `Loss` in its own units. `epsilon_of` states any loss as the epsilon that can
be claimed at the dataset's delta; the budget is reported in that unit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from sytff_policy.canonical import decimal_text
from sytff_policy.privacy.events import Event, Gaussian, PoissonSampled, Repeated, parts
from sytff_policy.privacy.exact import (
    GUARD,
    UnboundedLoss,
    conversion_constant,
    on_grid,
    precise,
    round_down,
    round_up,
    sampled_gaussian_rdp,
)

FilterKind = Literal["rdp", "zcdp", "sum"]
MAX_ORDER = 256
MAX_EPSILON = Decimal(100_000)


class InvalidFilter(ValueError):
    """Filter parameters outside their documented range."""


@dataclass(frozen=True)
class Loss:
    """Accumulated privacy loss in a filter's own units; one exact decimal per unit."""

    values: tuple[Decimal, ...]

    def __add__(self, other: Loss) -> Loss:
        if len(self.values) != len(other.values):
            raise ValueError("losses of different filters cannot be added")
        with precise():
            return Loss(tuple(a + b for a, b in zip(self.values, other.values, strict=True)))

    def __sub__(self, other: Loss) -> Loss:
        with precise():
            result = Loss(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))
        if not all(value >= 0 for value in result.values):
            raise ValueError(f"{other} is more than {self}")
        return result

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

    def __init__(self, epsilon: Decimal, delta: Decimal) -> None:
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

    @abstractmethod
    def charge(self, event: Event) -> Loss:
        """What `event` costs, rounded up.

        Raises:
          UnboundedLoss: If it has no finite cost.
        """

    @abstractmethod
    def epsilon_of(self, total: Loss) -> Decimal:
        """The epsilon that holds at the dataset's delta for a total loss; rounded up."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What fixes this filter besides (epsilon, delta)."""

    @property
    def zero(self) -> Loss:
        return Loss(tuple(Decimal(0) for _ in self.units))

    def admits(self, total: Loss) -> bool:
        """Whether a total loss keeps the budget."""
        return total.fits(self.capacity)

    def with_epsilon(self, epsilon: Decimal) -> PrivacyFilter:
        """The same filter after a grant."""
        return make_filter(self.kind, epsilon, self.delta, **self.parameters())

    def parse_loss(self, document: Any) -> Loss:
        """Decodes `Loss.to_json`, refusing anything that is not a finite loss in canonical form."""
        if not (isinstance(document, list) and len(document) == len(self.units)):
            raise ValueError(f"a loss of filter {self.kind} has the units {self.units}")
        values = []
        for text in document:
            value = Decimal(text) if isinstance(text, str) else Decimal("nan")
            if not (value.is_finite() and value >= 0 and decimal_text(value) == text):
                raise ValueError(f"{text!r} is not a canonical loss")
            values.append(value)
        return Loss(tuple(values))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "epsilon": decimal_text(self.epsilon),
            "delta": decimal_text(self.delta),
            **self.parameters(),
        }


class RdpFilter(PrivacyFilter):
    """Renyi DP at one integer order, fixed at registration.

    The order is an integer so that charges are a finite sum, exact in decimals and independent of
    any library's series for fractional orders. `budget plan` shows what each order admits.
    """

    kind = "rdp"
    units = ("rdp",)

    def __init__(self, epsilon: Decimal, delta: Decimal, order: int) -> None:
        super().__init__(epsilon, delta)
        if not (isinstance(order, int) and not isinstance(order, bool) and 2 <= order <= MAX_ORDER):
            raise InvalidFilter(f"order {order!r} must be an integer in 2..{MAX_ORDER}")
        self.order = order
        if not self.capacity.values[0] > 0:
            raise InvalidFilter(
                f"order {order} admits nothing at epsilon {epsilon} and delta {delta}: the "
                f"conversion alone costs {self._constant}"
            )

    @property
    def _constant(self) -> Decimal:
        return conversion_constant(Decimal(self.order), self.delta)

    @property
    def capacity(self) -> Loss:
        return Loss((self.epsilon - self._constant,))

    def charge(self, event: Event) -> Loss:
        with precise():
            total = sum(
                (part.count * _rdp(part, self.order) for part in parts(event) if part.count),
                Decimal(0),
            )
        return Loss((round_up(total),))

    def epsilon_of(self, total: Loss) -> Decimal:
        return Decimal(0) if total.is_zero() else max(total.values[0] + self._constant, Decimal(0))

    def parameters(self) -> dict[str, Any]:
        return {"order": self.order}


class ZcdpFilter(PrivacyFilter):
    """Sums of zCDP's rho. Without a gain from sampling: rho of a round is 1 / (2 z^2).

    Poisson sampling never increases a Renyi divergence, so that is valid for sampled rounds too;
    it is the filter for large noise and full participation.
    """

    kind = "zcdp"
    units = ("rho",)

    @property
    def capacity(self) -> Loss:
        with precise():
            best = max((self.epsilon - c) / order for order, c in _zcdp_grid(self.delta))
        if not best > 0:
            raise InvalidFilter(f"zcdp admits nothing at epsilon {self.epsilon}")
        return Loss((round_down(best),))

    def charge(self, event: Event) -> Loss:
        with precise():
            total = sum((part.count * _rho(part) for part in parts(event)), Decimal(0))
        return Loss((round_up(total),))

    def epsilon_of(self, total: Loss) -> Decimal:
        if total.is_zero():
            return Decimal(0)
        rho = total.values[0]
        with precise():
            best = min(rho * order + c for order, c in _zcdp_grid(self.delta))
        return round_up(max(best, Decimal(0)))

    def parameters(self) -> dict[str, Any]:
        return {}


class SumFilter(PrivacyFilter):
    """Each request certified on its own at delta / requests; epsilons and deltas are added.

    The certificate is the Renyi bound at the best order for that request: choosing the order per
    request is sound here, because a request's parameters are frozen before it runs and its
    certificate is a plain (epsilon_i, delta_i) statement.

    Args:
      requests: How many requests the budget's delta is shared over, >= 1.
    """

    kind = "sum"
    units = ("epsilon", "requests")

    def __init__(self, epsilon: Decimal, delta: Decimal, requests: int) -> None:
        super().__init__(epsilon, delta)
        if not (isinstance(requests, int) and 1 <= requests <= 1_000_000):
            raise InvalidFilter(f"requests {requests!r} must be an integer in 1..1000000")
        self.requests = requests

    @property
    def request_delta(self) -> Decimal:
        """delta_i of every request."""
        with precise():
            return self.delta / self.requests * (1 - GUARD)

    @property
    def capacity(self) -> Loss:
        return Loss((self.epsilon, Decimal(self.requests)))

    def charge(self, event: Event) -> Loss:
        live = tuple(part for part in parts(event) if part.count)
        if not live:
            return self.zero
        return Loss((certified_epsilon(live, self.request_delta), Decimal(1)))

    def epsilon_of(self, total: Loss) -> Decimal:
        return total.values[0]

    def parameters(self) -> dict[str, Any]:
        return {"requests": self.requests}


def make_filter(kind: str, epsilon: Decimal, delta: Decimal, **parameters: Any) -> PrivacyFilter:
    """The filter of a given kind.

    Raises:
      InvalidFilter: For an unknown kind or parameters.
    """
    kinds = {"rdp": RdpFilter, "zcdp": ZcdpFilter, "sum": SumFilter}
    if kind not in kinds:
        raise InvalidFilter(f"unknown filter {kind!r}; known: {', '.join(kinds)}")
    try:
        made: PrivacyFilter = kinds[kind](epsilon, delta, **parameters)
    except TypeError as error:
        raise InvalidFilter(f"filter {kind}: {error}") from None
    made.capacity  # noqa: B018  (raises when the filter can admit nothing)
    return made


def filter_from_json(document: Any) -> PrivacyFilter:
    """Decodes `PrivacyFilter.to_json`."""
    if not isinstance(document, dict):
        raise InvalidFilter("a filter is a JSON object")
    rest = dict(document)
    try:
        kind, epsilon, delta = rest.pop("kind"), rest.pop("epsilon"), rest.pop("delta")
        return make_filter(kind, Decimal(epsilon), Decimal(delta), **rest)
    except (KeyError, ArithmeticError) as error:
        raise InvalidFilter(f"malformed filter: {error!r}") from None


@lru_cache(maxsize=1024)
def certified_epsilon(live: tuple[Repeated, ...], delta: Decimal) -> Decimal:
    """Epsilon of fixed mechanisms at `delta`: the least Renyi bound over integer orders."""
    best: Decimal | None = None
    for order in (*range(2, 33), 40, 48, 64, 96, 128, 192, 256):
        with precise():
            total = sum((part.count * _rdp(part, order) for part in live), Decimal(0))
            value = max(total + conversion_constant(Decimal(order), delta), Decimal(0))
        best = value if best is None else min(best, value)
    if best is None:
        raise UnboundedLoss("no order bounds this event")
    return round_up(best)


def _rdp(part: Repeated, order: int) -> Decimal:
    event = part.event
    if isinstance(event, PoissonSampled):
        noise = event.event.noise_multiplier
        return sampled_gaussian_rdp(event.clients, event.population, noise, order)
    return sampled_gaussian_rdp(1, 1, event.noise_multiplier, order)


def _rho(part: Repeated) -> Decimal:
    if not part.count:
        return Decimal(0)
    inner: Gaussian = part.event.event if isinstance(part.event, PoissonSampled) else part.event
    if inner.noise_multiplier == 0:
        raise UnboundedLoss("no noise")
    with precise():
        return 1 / (2 * inner.noise_multiplier * inner.noise_multiplier)


@lru_cache(maxsize=64)
def _zcdp_grid(delta: Decimal) -> tuple[tuple[Decimal, Decimal], ...]:
    # Any order gives a valid conversion; a fixed geometric grid makes the least of them a
    # monotone function of rho, within 0.1% of the optimum.
    with precise():
        orders = [1 + Decimal("0.01") * Decimal("1.06") ** step for step in range(230)]
    return tuple((order, conversion_constant(order, delta)) for order in orders)
