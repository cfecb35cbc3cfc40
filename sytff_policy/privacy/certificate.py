"""Certificates: one request, frozen at admission, is (epsilon_i, delta_i)-DP on its own.

The certified epsilon is the lesser of two upper bounds, the Renyi bound at the best of fixed
orders and the PLD bound of `sytff_policy.privacy.pld`. Either is valid here, and choosing the
lesser afterwards is too: both are statements about the same fixed mechanism, not about a sequence
that someone goes on choosing.

The certificate is a pure function of the request. It uses no accounting library and no operation
whose last digit depends on a version or a processor, so everyone computes the same digits: the
node that decides, the runner that settles later, and whoever upgraded in between. `CERTIFICATE`
names the method. It is part of a `sum` filter's identity; another method is another name, and a
dataset keeps the one that it was registered with.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from sytff_policy.privacy.events import PoissonSampled, Repeated
from sytff_policy.privacy.exact import (
    UnboundedLoss,
    conversion_constant,
    precise,
    round_up,
    sampled_gaussian_rdp,
)

CERTIFICATE = "pld-1"
ORDERS = (*range(2, 33), 40, 48, 64, 96, 128, 192, 256)


@lru_cache(maxsize=4096)
def certified_epsilon(live: tuple[Repeated, ...], delta: Decimal) -> Decimal:
    """The least epsilon that is proved for `live`, composed, at `delta`; rounded up.

    Args:
      live: Mechanisms whose parameters were fixed before any of them ran, each at least once.
      delta: In (0, 1).

    Raises:
      UnboundedLoss: If there is no finite bound.
    """
    renyi = renyi_epsilon(live, delta)
    # Imported late: most ledgers never need it.
    from sytff_policy.privacy.pld import pld_bound

    distribution = pld_bound(live, delta, renyi)
    return renyi if distribution is None else min(renyi, round_up(distribution))


@lru_cache(maxsize=4096)
def renyi_epsilon(live: tuple[Repeated, ...], delta: Decimal) -> Decimal:
    """The least Renyi bound over `ORDERS`; rounded up.

    Source: Mironov 2017, Proposition 1 (composition at one order; parameters may depend on earlier
    outputs only if they are bounded by these), and Canonne, Kamath and Steinke 2020,
    Proposition 12 (conversion).
    """
    best: Decimal | None = None
    for order in ORDERS:
        value = rdp_of(live, order)
        with precise():
            value = max(value + conversion_constant(Decimal(order), delta), Decimal(0))
        best = value if best is None else min(best, value)
    if best is None:
        raise UnboundedLoss("no order bounds this event")
    return round_up(best)


def rdp_of(live: Sequence[Repeated], order: int | Decimal) -> Decimal:
    """Renyi DP at `order` of mechanisms composed, unrounded."""
    with precise():
        return sum((part.count * _round_rdp(part, order) for part in live), Decimal(0))


def _round_rdp(part: Repeated, order: int | Decimal) -> Decimal:
    event = part.event
    if isinstance(event, PoissonSampled):
        noise = event.event.noise_multiplier
        return sampled_gaussian_rdp(event.clients, event.population, noise, order)
    return sampled_gaussian_rdp(1, 1, event.noise_multiplier, order)
