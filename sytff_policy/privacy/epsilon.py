"""Epsilon of a request on its own, by dp-accounting.

These numbers inform people and policies. The budget is never kept with them: charges come from
the dataset's filter (`sytff_policy.privacy.filters`).
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version

from sytff_policy.privacy.events import Event, Gaussian, PoissonSampled, parts, to_dp_event
from sytff_policy.privacy.exact import UnboundedLoss, exact, round_up

ACCOUNTANT = f"dp-accounting {version('dp-accounting')}"


FEW_ORDERS = (1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 11, 16, 24, 40, 64)
"""Orders for a quick upper bound, within a few percent of the full grid's."""


_FIRST, _STRIDES = 9, (10, 3, 1)


@lru_cache(maxsize=4096)
def rdp_epsilon(event: Event, delta: float, orders: tuple[float, ...] | None = None) -> float:
    """Epsilon at `delta` by Renyi DP, at the best of `orders` (dp-accounting's default ones).

    An upper bound, valid for one request whose parameters were fixed before it ran. Versions of
    dp-accounting differ in how they bound fractional orders, so a statement of this number names
    the version (`ACCOUNTANT`).

    Returns:
      Epsilon >= 0; `math.inf` when there is no bound.
    """
    if _is_unbounded(event):
        return math.inf
    if orders is not None:
        return _rdp_epsilon(event, delta, orders)[0]
    # Imported late, here and below: it takes seconds from cold.
    from dp_accounting.rdp.rdp_privacy_accountant import DEFAULT_RDP_ORDERS

    grid = [float(order) for order in DEFAULT_RDP_ORDERS]
    # The best order lies between the neighbours of the best of a coarser grid, because epsilon
    # falls and then rises with the order. Whatever is left out, the least of some orders is a
    # bound; and a decision waits for a tenth of the work. The first orders are integers, which
    # cost least.
    epsilon, low, high = math.inf, _FIRST, len(grid)
    for stride in _STRIDES:
        places = range(low, high, stride)
        found, best = _rdp_epsilon(event, delta, tuple(grid[place] for place in places))
        epsilon = min(epsilon, found)
        place = grid.index(best) if best in grid else low
        low, high = max(0, place - stride + 1), min(len(grid), place + stride)
    return epsilon


def _rdp_epsilon(event: Event, delta: float, orders: tuple[float, ...]) -> tuple[float, float]:
    """Epsilon, and the order that it is best at."""
    from dp_accounting import NeighboringRelation, rdp

    accountant = rdp.RdpAccountant(list(orders), NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(to_dp_event(event))
    epsilon, best = accountant.get_epsilon_and_optimal_order(delta)
    return _checked(float(epsilon)), float(best)


def pld_epsilon(event: Event, delta: float) -> float:
    """Epsilon at `delta` by privacy loss distributions: tighter, and seconds to minutes slower.

    Never call it while a request waits: at noise 0.05 it runs for more than a minute.
    """
    if _is_unbounded(event):
        return math.inf
    from dp_accounting import NeighboringRelation, pld

    accountant = pld.PLDAccountant(neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(to_dp_event(event))
    return _checked(float(accountant.get_epsilon(delta)))


def stated_epsilon(event: Event, delta: Decimal) -> Decimal | None:
    """`rdp_epsilon` rounded up to the budget's quantum; None when unbounded."""
    value = rdp_epsilon(event, float(delta))
    if not math.isfinite(value):
        return None
    try:
        return round_up(exact(value))
    except UnboundedLoss:
        return None


def _is_unbounded(event: Event) -> bool:
    for part in parts(event):
        inner = part.event.event if isinstance(part.event, PoissonSampled) else part.event
        if part.count and not _noise(inner) > 0:
            return True
    return False


def _noise(event: Gaussian) -> Decimal:
    return event.noise_multiplier


def _checked(value: float) -> float:
    # NaN compares false with everything, so it is excluded by asking for what is wanted.
    return value if value >= 0 else math.inf
