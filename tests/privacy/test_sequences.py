"""(epsilon, delta) of random request sequences, recomputed by a second implementation.

The filters see each sequence request by request and refuse what does not fit. The oracle keeps
totals of its own in doubles: Renyi divergences by trapezoids, zCDP with a search over orders of
its own, certificates from the verifier's loss distributions. It must come to the same epsilon, and
every refusal must be right.
"""

from __future__ import annotations

import random
from decimal import Decimal
from functools import lru_cache

import pytest

from sytff_policy.ledger.verify.distribution import certified_interval
from sytff_policy.ledger.verify.state import Part
from sytff_policy.privacy import Composed, Loss, PoissonSampled, PrivacyFilter, make_filter
from tests.privacy.oracles import conversion, renyi_of, rho_of, run_of, zcdp_epsilon

SEQUENCES = 1000
DELTA = "1e-6"
SUM_ORDERS = (*range(2, 33), 40, 48, 64, 96, 128, 192, 256)
CLOSE = 2e-5

POOL = [
    run_of(rounds, clients, 5000, noise, evaluation)
    for rounds, clients, noise, evaluation in [
        (1, 50, "1", None),
        (10, 50, "1", "5"),
        (20, 100, "1.2", "8"),
        (50, 25, "0.8", None),
        (100, 50, "1.5", "10"),
        (5, 500, "2", None),
        (200, 10, "0.7", "20"),
        (3, 5000, "9", "12"),
        (30, 200, "1.7", "6"),
        (80, 5, "0.6", None),
        (1, 5000, "4", None),
        (500, 20, "1.1", "15"),
    ]
]


class Oracle:
    """A budget kept in doubles."""

    def __init__(self, kind: str, epsilon: float, parameter: float) -> None:
        self.kind, self.budget, self.parameter = kind, epsilon, parameter
        self.total, self.requests = 0.0, 0

    def cost(self, index: int) -> float:
        event = POOL[index]
        if self.kind == "rdp":
            return _renyi(index, self.parameter)
        if self.kind == "zcdp":
            return rho_of(event)
        return _certified(index, int(self.parameter))

    def epsilon(self, total: float) -> float:
        if total == 0:
            return 0.0
        if self.kind == "rdp":
            return max(0.0, total + conversion(self.parameter, float(DELTA)))
        if self.kind == "zcdp":
            return zcdp_epsilon(total, float(DELTA))
        return total

    def admits(self, index: int) -> bool | None:
        """None where doubles cannot tell."""
        after = self.epsilon(self.total + self.cost(index))
        if self.kind == "sum" and self.requests + 1 > self.parameter:
            return False
        slack = CLOSE * max(1.0, self.budget) + (self.budget * 2e-3 if self.kind == "zcdp" else 0)
        return None if abs(after - self.budget) < slack else after < self.budget

    def take(self, index: int) -> None:
        self.total += self.cost(index)
        self.requests += 1


@lru_cache(maxsize=4096)
def _renyi(index: int, order: float) -> float:
    return renyi_of(POOL[index], order)


@lru_cache(maxsize=4096)
def _certified(index: int, requests: int) -> float:
    share = float(DELTA) / requests
    event: Composed = POOL[index]
    bounds = [renyi_of(event, float(order)) + conversion(order, share) for order in SUM_ORDERS]
    live = []
    for part in event.events:
        if isinstance(part.event, PoissonSampled):
            inner = part.event
            sampled = (inner.clients, inner.population, str(inner.event.noise_multiplier))
        else:
            sampled = (0, 0, str(part.event.noise_multiplier))
        live.append(Part(part.count, *sampled))
    interval = certified_interval(tuple(live), share, min(bounds))
    return min(bounds) if interval is None else sum(interval) / 2


def _filters() -> list[tuple[PrivacyFilter, Oracle]]:
    made = []
    for epsilon in ("0.9", "2.5", "6"):
        for order in (8, 12, 20, 30):
            made.append(("rdp", epsilon, {"order": order}, order))
        made.append(("zcdp", epsilon, {}, 0))
        for requests in (3, 8):
            made.append(("sum", epsilon, {"requests": requests}, requests))
    found = []
    for kind, epsilon, parameters, parameter in made:
        if kind == "rdp" and conversion(parameter, float(DELTA)) >= float(epsilon):
            continue
        filter_ = make_filter(kind, Decimal(epsilon), Decimal(DELTA), **parameters)
        found.append((filter_, Oracle(kind, float(epsilon), parameter)))
    return found


@pytest.mark.slow
def test_a_thousand_sequences_come_to_the_oracles_epsilon() -> None:
    choose = random.Random(20)
    kinds = _filters()
    decided = {"admitted": 0, "refused": 0, "undecided": 0}
    for _ in range(SEQUENCES):
        privacy_filter, template = choose.choice(kinds)
        oracle = Oracle(template.kind, template.budget, template.parameter)
        total: Loss = privacy_filter.zero
        for index in (choose.randrange(len(POOL)) for _ in range(choose.randint(1, 12))):
            after = total + privacy_filter.charge(POOL[index])
            admitted, expected = privacy_filter.admits(after), oracle.admits(index)
            assert expected is None or admitted == expected, (privacy_filter.to_json(), index)
            decided["undecided" if expected is None else "admitted" if admitted else "refused"] += 1
            if admitted:
                total = after
                oracle.take(index)
        stated = float(privacy_filter.epsilon_of(total))
        truth = oracle.epsilon(oracle.total)
        # Rounding goes up; zCDP's grid of orders is within 0.1% of the best order.
        above = truth * 2e-3 if privacy_filter.kind == "zcdp" else 0.0
        assert truth - CLOSE <= stated <= truth + above + CLOSE
        assert stated <= privacy_filter.epsilon
    assert decided["admitted"] > 2000
    assert decided["refused"] > 1000
    assert decided["undecided"] < 50
