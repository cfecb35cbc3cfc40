"""Privacy filters: whether one more mechanism fits, when each request may depend on all answers.

Requests are chosen adaptively, parameters and all, so only accountings that are valid *filters*
are here. All state privacy for neighbours that differ by adding or removing one unit.

- `RdpFilter`: Renyi DP summed at one order fixed in advance.
- `ZcdpFilter`: sums of rho, converted once at the end.
- `SumFilter`: each request certified as (epsilon_i, delta_i)-DP on its own when its parameters are
  frozen at admission; the pairs are added.

Each class names its theorem. The theorems hold as well when several requests are open at a time and
their rounds interleave: Haney et al., "Concurrent Composition for Interactive Differential Privacy
with Adaptive Privacy-Loss Parameters", CCS 2023 (every filter for non-interactive mechanisms, in
(epsilon, delta) or in Renyi DP of one fixed order, extends to concurrent interactive ones).
Composing PLDs over requests, and choosing the best Renyi order afterwards, are not valid in
general and are not offered.

What all of them assume is in the documentation, under "What is assumed": above all that the events
are what ran, and that a unit's contribution is bounded by the clip norm.

A filter's state is a `Loss` in its own units. `epsilon_of` states any loss as the epsilon that can
be claimed at the dataset's delta; the budget is reported in that unit. Direction of error: charges
and stated epsilons are rounded up, capacities down, each to a multiple of 1e-9; sums and
comparisons are exact; there is no tolerance.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

from sytff_policy.canonical import decimal_text
from sytff_policy.privacy.base import (
    NEIGHBOURING_RELATION,
    InvalidFilter,
    Loss,
    PrivacyFilter,
    canonical_decimal,
    parts_of,
)
from sytff_policy.privacy.certificate import (
    CERTIFICATE,
    certified_epsilon,
    rdp_of,
    renyi_epsilon,
)
from sytff_policy.privacy.events import Event, Gaussian, PoissonSampled, Repeated
from sytff_policy.privacy.exact import (
    GUARD,
    MAX_FRACTIONAL_ORDER,
    UnboundedLoss,
    conversion_constant,
    precise,
    round_down,
    round_up,
)

MAX_ORDER = 256
MAX_REQUESTS = 1_000_000


class RdpFilter(PrivacyFilter):
    """Renyi DP at one order, fixed at registration.

    Theorem: Feldman and Zrnic, "Individual Privacy Accounting via a Renyi Filter", NeurIPS 2021,
    Theorem 4.3. If every mechanism, given all earlier outputs, is (a, rho_t)-Renyi DP, where rho_t
    may itself be chosen from those outputs, and the process stops before the sum of rho_t exceeds
    B, the whole is (a, B)-Renyi DP. Then it is (epsilon, delta)-DP with
    epsilon = B + ln(1 - 1/a) - ln(a delta) / (a - 1): Canonne, Kamath and Steinke, "The Discrete
    Gaussian for Differential Privacy", NeurIPS 2020, Proposition 12. Assumption: the order is fixed
    before the first request.

    Args:
      epsilon, delta: The budget.
      order: An integer in 2..256, or a `Decimal` of at most two places between 2 and 32, or its
        text. Charges at integers are exact before rounding; in between they are a proved upper
        bound (`sytff_policy.privacy.exact`). `budget plan` shows what each order admits.
    """

    kind = "rdp"
    units = ("rdp",)

    def __init__(self, epsilon: Decimal, delta: Decimal, order: int | Decimal | str) -> None:
        super().__init__(epsilon, delta)
        self.order = _order(order)
        if not self.epsilon - self._constant > 0:
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

    def _charge(self, live: tuple[Repeated, ...]) -> Loss:
        return Loss((round_up(rdp_of(live, self.order)),))

    def epsilon_of(self, total: Loss) -> Decimal:
        return Decimal(0) if total.is_zero() else max(total.values[0] + self._constant, Decimal(0))

    def parameters(self) -> dict[str, Any]:
        exact_order = self.order if isinstance(self.order, int) else decimal_text(self.order)
        return {"order": exact_order}


class ZcdpFilter(PrivacyFilter):
    """Sums of zCDP's rho. Without a gain from sampling: rho of a round is 1 / (2 z^2).

    Theorem: Feldman and Zrnic 2021, Remark 4.4 (the filter of Theorem 4.3 at all orders at once,
    because rho-zCDP is (a, a rho)-Renyi DP for every a > 1); also Whitehouse et al.,
    "Fully-Adaptive Composition in Differential Privacy", ICML 2023. The bound B on rho is then
    (a, a B)-Renyi DP at every order, so the conversion may choose the best of them. The Gaussian
    mechanism is 1/(2 z^2)-zCDP: Bun and Steinke 2016, Proposition 6.

    Poisson sampling never increases a Renyi divergence (it is quasi-convex), so that rho is valid
    for sampled rounds too; it is the filter for large noise and full participation.
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

    def _charge(self, live: tuple[Repeated, ...]) -> Loss:
        with precise():
            total = sum((part.count * _rho(part) for part in live), Decimal(0))
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

    Theorem: basic composition with parameters chosen adaptively: Rogers, Roth, Ullman and Vadhan,
    "Privacy Odometers and Filters", NeurIPS 2016, and Whitehouse et al. 2023, where
    sum epsilon_i <= epsilon and sum delta_i <= delta is a valid filter for adaptively chosen
    (epsilon_i, delta_i). Assumption: a request's parameters are frozen before it runs, so that its
    certificate is a plain (epsilon_i, delta_i) statement (`sytff_policy.privacy.certificate`).

    Args:
      epsilon, delta: The budget.
      requests: How many requests the budget's delta is shared over, >= 1.
      certificate: The method that certifies, by its versioned name.
    """

    kind = "sum"
    units = ("epsilon", "requests")

    def __init__(
        self, epsilon: Decimal, delta: Decimal, requests: int, certificate: str = CERTIFICATE
    ) -> None:
        super().__init__(epsilon, delta)
        if not (
            isinstance(requests, int)
            and not isinstance(requests, bool)
            and 1 <= requests <= MAX_REQUESTS
        ):
            raise InvalidFilter(f"requests {requests!r} must be an integer in 1..{MAX_REQUESTS}")
        if certificate != CERTIFICATE:
            raise InvalidFilter(f"certificate {certificate!r} is unknown; known: {CERTIFICATE}")
        self.requests = requests
        self.certificate = certificate

    @property
    def request_delta(self) -> Decimal:
        """delta_i of every request."""
        with precise():
            return self.delta / self.requests * (1 - GUARD)

    @property
    def capacity(self) -> Loss:
        return Loss((self.epsilon, Decimal(self.requests)))

    def _charge(self, live: tuple[Repeated, ...]) -> Loss:
        return Loss((certified_epsilon(live, self.request_delta), Decimal(1)))

    def quick_charge(self, event: Event) -> Loss:
        live = tuple(part for part in parts_of(event, self.kind) if part.count)
        return Loss((renyi_epsilon(live, self.request_delta), Decimal(1))) if live else self.zero

    def epsilon_of(self, total: Loss) -> Decimal:
        return total.values[0]

    def parameters(self) -> dict[str, Any]:
        return {"requests": self.requests, "certificate": self.certificate}


def make_filter(kind: str, epsilon: Decimal, delta: Decimal, **parameters: Any) -> PrivacyFilter:
    """The filter of a given kind.

    Raises:
      InvalidFilter: For an unknown kind or parameters.
    """
    kinds = {"rdp": RdpFilter, "zcdp": ZcdpFilter, "sum": SumFilter}
    if not isinstance(kind, str) or kind not in kinds:
        raise InvalidFilter(f"unknown filter {kind!r}; known: {', '.join(kinds)}")
    try:
        made: PrivacyFilter = kinds[kind](epsilon, delta, **parameters)
    except TypeError:
        raise InvalidFilter(
            f"filter {kind} does not take the parameters {', '.join(sorted(parameters)) or 'none'}"
        ) from None
    made.capacity  # noqa: B018  (raises when the filter can admit nothing)
    return made


def filter_from_json(document: Any) -> PrivacyFilter:
    """Decodes `PrivacyFilter.to_json`."""
    if not isinstance(document, dict):
        raise InvalidFilter("a filter is a JSON object")
    rest = dict(document)
    try:
        kind, relation = rest.pop("kind"), rest.pop("neighbouring_relation")
        epsilon, delta = (canonical_decimal(key, rest.pop(key)) for key in ("epsilon", "delta"))
    except KeyError as error:
        raise InvalidFilter(f"a filter without {error}") from None
    if relation != NEIGHBOURING_RELATION:
        raise InvalidFilter(
            f"neighbouring relation {relation!r} is unknown; known: {NEIGHBOURING_RELATION}"
        )
    made = make_filter(kind, epsilon, delta, **rest)
    if made.to_json() != document:
        raise InvalidFilter("a filter has exactly one spelling, and this is another")
    return made


def _order(value: int | Decimal | str) -> int | Decimal:
    order: int | Decimal
    if isinstance(value, str):
        order = canonical_decimal("order", value)
    elif isinstance(value, Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        order = value
    else:
        raise InvalidFilter(f"order {value!r} must be an integer or an exact decimal")
    if isinstance(order, Decimal):
        if not (order.is_finite() and 2 <= order <= MAX_ORDER):
            raise InvalidFilter(f"order {value} must be in 2..{MAX_ORDER}")
        if order == order.to_integral_value():
            order = int(order)
        elif not (
            order < MAX_FRACTIONAL_ORDER and order * 100 == (order * 100).to_integral_value()
        ):
            raise InvalidFilter(
                f"order {value} must be an integer, or have two decimals below "
                f"{MAX_FRACTIONAL_ORDER}"
            )
    if not 2 <= order <= MAX_ORDER:
        raise InvalidFilter(f"order {value} must be in 2..{MAX_ORDER}")
    return order


def _rho(part: Repeated) -> Decimal:
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
