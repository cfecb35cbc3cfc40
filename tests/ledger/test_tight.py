"""What was executed, by privacy loss distributions: below what was spent, and only information."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sytff_policy.ledger import Ledger
from sytff_policy.privacy import RunMechanism
from tests.ledger.helpers import RUN, finish, reserve


def test_what_was_executed_costs_less_than_what_was_spent(sqlite_ledger: Ledger) -> None:
    for _ in range(3):
        finish(sqlite_ledger, reserve(sqlite_ledger))
    dead = reserve(sqlite_ledger)
    sqlite_ledger.progress(dead, rounds_started=3, evaluation_started=False)
    sqlite_ledger.settle(dead, status="failed", code="run.died")
    report = sqlite_ledger.verify(recompute="pld")
    assert report.ok
    assert report.tight is not None
    tight = report.tight["registry"]
    assert tight is not None
    assert 0 < tight < sqlite_ledger.dataset("registry").budget().spent
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, pld

    accountant = pld.PLDAccountant()
    accountant.compose(PoissonSampledDpEvent(0.05, GaussianDpEvent(1.0)), 3 * RUN.rounds + 3)
    accountant.compose(GaussianDpEvent(5.0), 3)
    assert tight == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-6)


def test_too_little_noise_is_not_recomputed(sqlite_ledger: Ledger) -> None:
    sqlite_ledger.grant("registry", Decimal(100), by="owner")
    quiet = RunMechanism(1, 1, 1000, Decimal("0.29"))
    finish(sqlite_ledger, reserve(sqlite_ledger, quiet), rounds=1, status="failed")
    assert sqlite_ledger.verify(recompute="pld").tight == {"registry": None}
    with pytest.raises(ValueError, match="unknown method"):
        sqlite_ledger.verify(recompute="magic")
