"""Second implementations, by other methods: quadrature, closed forms, plain sums of doubles."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache

import mpmath
import numpy as np

from sytff_policy.privacy import Composed, Gaussian, PoissonSampled, Repeated


def renyi_by_quadrature(q: str, z: str, order: str) -> mpmath.mpf:
    """Renyi divergence of the sampled Gaussian from its definition, by mpmath's quadrature."""
    with mpmath.workdps(30):
        rate, noise, a = mpmath.mpf(q), mpmath.mpf(z), mpmath.mpf(order)

        def integrand(x: mpmath.mpf) -> mpmath.mpf:
            ratio = 1 - rate + rate * mpmath.exp((2 * x - 1) / (2 * noise**2))
            return mpmath.npdf(x, 0, noise) * ratio**a

        points = [-12 * noise, -4 * noise, 0, a / 2, a, a + 4 * noise, a + 12 * noise]
        return mpmath.log(mpmath.quad(integrand, sorted(set(points)))) / (a - 1)


@lru_cache(maxsize=4096)
def renyi_by_trapezoids(q: float, z: float, order: float) -> float:
    """The same in doubles, on a fine even grid, where trapezoids converge exponentially."""
    if q == 1.0:
        return order / (2 * z * z)
    x = np.linspace(-14 * z, order + 14 * z, 60_001)
    ratio = np.logaddexp(math.log1p(-q), math.log(q) + (2 * x - 1) / (2 * z * z))
    exponent = -x * x / (2 * z * z) + order * ratio
    top = float(exponent.max())
    total = float(np.exp(exponent - top).sum()) * float(x[1] - x[0])
    return (top + math.log(total / (z * math.sqrt(2 * math.pi)))) / (order - 1)


def conversion(order: float, delta: float) -> float:
    """Canonne, Kamath and Steinke 2020, Proposition 12, as dp-accounting writes it."""
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def analytic_gaussian_epsilon(z: float, delta: str) -> mpmath.mpf:
    """The exact epsilon of one Gaussian: Balle and Wang 2018, Theorem 8."""
    with mpmath.workdps(40):
        noise, target = mpmath.mpf(z), mpmath.mpf(delta)

        def excess(epsilon: mpmath.mpf) -> mpmath.mpf:
            return (
                mpmath.ncdf(1 / (2 * noise) - epsilon * noise)
                - mpmath.exp(epsilon) * mpmath.ncdf(-1 / (2 * noise) - epsilon * noise)
                - target
            )

        if excess(mpmath.mpf(0)) <= 0:
            return mpmath.mpf(0)
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        while excess(high) > 0:
            high *= 2
        for _ in range(120):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) > 0 else (low, middle)
        return high


def run_of(
    rounds: int, clients: int, population: int, noise: str, evaluation: str | None = None
) -> Composed:
    """A run's event, built without the code that builds it for the filters."""
    parts = [Repeated(rounds, PoissonSampled(clients, population, Gaussian(Decimal(noise))))]
    if evaluation is not None:
        parts.append(Repeated(1, Gaussian(Decimal(evaluation))))
    return Composed(tuple(parts))


def renyi_of(event: Composed, order: float) -> float:
    """Renyi DP of a run at an order."""
    total = 0.0
    for part in event.events:
        inner = part.event
        if isinstance(inner, PoissonSampled):
            q, z = inner.clients / inner.population, float(inner.event.noise_multiplier)
        else:
            q, z = 1.0, float(inner.noise_multiplier)
        total += part.count * renyi_by_trapezoids(q, z, order)
    return total


def rho_of(event: Composed) -> float:
    """zCDP's rho of a run, without a gain from sampling."""
    total = 0.0
    for part in event.events:
        inner = part.event.event if isinstance(part.event, PoissonSampled) else part.event
        total += part.count / (2 * float(inner.noise_multiplier) ** 2)
    return total


def zcdp_epsilon(rho: float, delta: float) -> float:
    """The least epsilon over all orders, by a search of its own."""
    grid = 1 + np.logspace(-4, 6, 20_001)
    values = rho * grid + np.log1p(-1 / grid) - np.log(delta * grid) / (grid - 1)
    return max(0.0, float(values.min()))
