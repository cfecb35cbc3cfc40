"""What was executed, by privacy loss distributions: information beside the replayed budgets.

Composing distributions states what the executed mechanisms cost if they had been fixed
beforehand. Requests are chosen as answers come in, for which that is no bound; the budgets are the
bound.
"""

from __future__ import annotations

import math

from sytff_policy.ledger.verify.state import BudgetState, State

MOST_MECHANISMS = 200
LEAST_NOISE = 0.3
"""Below this noise multiplier a distribution takes minutes and says nothing of use."""


def tight_epsilons(state: State, method: str) -> dict[str, float | None]:
    """Epsilon at its delta for every budget; None where it would take too long.

    Raises:
      ValueError: For another method than `pld`.
    """
    if method != "pld":
        raise ValueError(f"unknown method {method!r}; known: pld")
    return {name: _tight(budget) for name, budget in state.budgets.items()}


def _tight(budget: BudgetState) -> float | None:
    live = {part: count for part, count in budget.executed.items() if count}
    if not live:
        return 0.0
    if len(live) > MOST_MECHANISMS or min(float(part.noise) for part in live) < LEAST_NOISE:
        return None
    # Imported late: it takes seconds from cold.
    import dp_accounting
    from dp_accounting import pld

    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    accountant = pld.PLDAccountant(neighboring_relation=relation)
    for part, count in live.items():
        event: dp_accounting.DpEvent = dp_accounting.GaussianDpEvent(float(part.noise))
        if part.clients:
            rate = part.clients / part.population
            event = dp_accounting.PoissonSampledDpEvent(rate, event)
        accountant.compose(event, count)
    epsilon = float(accountant.get_epsilon(float(budget.filter.delta)))
    return epsilon if epsilon >= 0 and math.isfinite(epsilon) else None
