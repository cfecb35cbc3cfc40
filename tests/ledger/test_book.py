"""The budget book: reserve, settle, release, and what must never happen."""

from __future__ import annotations

import multiprocessing
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sytff_policy.errors import InvalidInput
from sytff_policy.ledger import (
    BudgetChanged,
    BudgetExceeded,
    IdempotencyConflict,
    Ledger,
    LedgerFault,
    LedgerUnavailable,
)
from sytff_policy.privacy import RunMechanism, make_filter
from tests.ledger.helpers import RUN, finish, reserve


def test_a_reservation_holds_its_worst_case(ledger: Ledger) -> None:
    reserve(ledger)
    budget = ledger.dataset("registry").budget()
    assert budget.spent == 0
    assert budget.reserved > 0
    assert budget.spent + budget.reserved + budget.remaining == budget.epsilon == 8


def test_settlement_of_a_whole_run_spends_what_was_reserved(ledger: Ledger) -> None:
    run_id = reserve(ledger)
    reserved = ledger.dataset("registry").budget().reserved
    finish(ledger, run_id)
    budget = ledger.dataset("registry").budget()
    assert (budget.spent, budget.reserved) == (reserved, 0)


def test_only_rounds_that_never_started_are_refunded(ledger: Ledger) -> None:
    run_id = reserve(ledger)
    reserved = ledger.dataset("registry").reserved
    ledger.progress(run_id, rounds_started=7, evaluation_started=False)
    ledger.settle(run_id, status="failed", code="run.died")
    record = ledger.dataset("registry")
    assert record.spent == record.filter.charge(RUN.executed(7, evaluated=False))
    assert not record.spent.is_zero()
    assert record.spent.fits(reserved)
    assert record.reserved.is_zero()


def test_a_run_that_never_started_costs_nothing(ledger: Ledger) -> None:
    ledger.settle(reserve(ledger), status="cancelled")
    assert ledger.dataset("registry").budget().spent == 0


def test_the_filter_refuses_what_does_not_fit(ledger: Ledger) -> None:
    count = sum(1 for _ in ledger.entries())
    with pytest.raises(BudgetExceeded):
        reserve(ledger, RunMechanism(100_000, 500, 1000, Decimal(1)))
    assert sum(1 for _ in ledger.entries()) == count
    assert ledger.dataset("registry").budget().reserved == 0


def test_two_users_share_one_dataset_cap(ledger: Ledger) -> None:
    big = RunMechanism(250, 50, 1000, Decimal(1))
    reserve(ledger, big, researcher="alice")
    with pytest.raises(BudgetExceeded):
        reserve(ledger, big, researcher="bob")
    assert ledger.usage("registry", "bob")[1].requests == 0


def test_executed_events_never_exceed_the_reservation(ledger: Ledger) -> None:
    run_id = reserve(ledger)
    with pytest.raises(LedgerFault):
        ledger.progress(run_id, rounds_started=21, evaluation_started=False)
    with pytest.raises(LedgerFault):
        ledger.progress(
            reserve(ledger, RunMechanism(5, 50, 1000, Decimal(1))),
            rounds_started=1,
            evaluation_started=True,
        )


def test_progress_never_goes_back(ledger: Ledger) -> None:
    run_id = reserve(ledger)
    ledger.progress(run_id, rounds_started=5, evaluation_started=False)
    with pytest.raises(LedgerFault):
        ledger.progress(run_id, rounds_started=4, evaluation_started=False)


def test_a_run_settles_once_and_moves_no_more(ledger: Ledger) -> None:
    run_id = reserve(ledger)
    finish(ledger, run_id)
    with pytest.raises(LedgerFault):
        ledger.settle(run_id, status="completed")
    with pytest.raises(LedgerFault):
        ledger.progress(run_id, rounds_started=20, evaluation_started=True)


def test_only_a_completed_run_is_released_and_once(ledger: Ledger) -> None:
    failed = reserve(ledger)
    ledger.settle(failed, status="failed")
    with pytest.raises(LedgerFault):
        ledger.release(failed, {"weights": "sha256:0"})
    done = reserve(ledger)
    with pytest.raises(LedgerFault):
        ledger.release(done, {"weights": "sha256:0"})
    finish(ledger, done)
    ledger.release(done, {"weights": "sha256:0"})
    with pytest.raises(LedgerFault):
        ledger.release(done, {"weights": "sha256:0"})


def test_a_decision_on_an_old_budget_reserves_nothing(ledger: Ledger) -> None:
    old = ledger.dataset("registry")
    reserve(ledger)
    with pytest.raises(BudgetChanged):
        ledger.reserve(
            old,
            run_id="run-x",
            decision_id="dec-x",
            researcher="alice",
            mechanism=RUN,
            request_digest="sha256:0",
            idempotency_key=None,
            decision={},
        )


def test_an_idempotency_key_starts_one_run(ledger: Ledger) -> None:
    first = reserve(ledger, key="again")
    with pytest.raises(IdempotencyConflict) as caught:
        reserve(ledger, key="again")
    assert caught.value.run_id == first
    assert caught.value.same_request
    reserve(ledger, key="again", researcher="bob")


def test_the_same_data_cannot_get_a_second_budget(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="registered as 'registry'"):
        ledger.register(
            name="registry2",
            version="hmac-sha256:00",
            population=1000,
            owner="owner",
            description={},
            privacy_filter=make_filter("zcdp", Decimal(8), Decimal("1e-5")),
        )


def test_a_grant_adds(ledger: Ledger) -> None:
    finish(ledger, reserve(ledger))
    before = ledger.dataset("registry").budget()
    ledger.grant("registry", Decimal(2), by="owner")
    after = ledger.dataset("registry").budget()
    assert after.epsilon == before.epsilon + 2
    assert after.spent == before.spent
    assert after.remaining == before.remaining + 2


REFUSED = {
    "sqlite": [
        "INSERT OR REPLACE INTO entries (seq, hash, leaf, kind) VALUES (0, 'x', 'x', 'x')",
    ],
    "postgresql": [
        "TRUNCATE entries",
        "TRUNCATE entries CASCADE",
        "INSERT INTO entries (seq, hash, leaf, kind) VALUES (0, 'x', 'x', 'x') "
        "ON CONFLICT (seq) DO UPDATE SET leaf = 'x'",
    ],
}


def test_the_database_refuses_to_change_or_delete_an_entry(ledger: Ledger) -> None:
    name = "sqlite" if ledger.store.is_sqlite else "postgresql"
    before = [entry.hash for entry in ledger.entries()]
    for statement in (
        "UPDATE entries SET leaf = 'x' WHERE seq = 0",
        "UPDATE entries SET kind = 'x'",
        "DELETE FROM entries WHERE seq = 0",
        "DELETE FROM entries",
        *REFUSED[name],
    ):
        with (
            pytest.raises(LedgerUnavailable, match="append-only"),
            ledger.store.write() as connection,
        ):
            connection.exec_driver_sql(statement)
    assert [entry.hash for entry in ledger.entries()] == before
    assert ledger.verify().ok


def test_no_ledger_is_not_an_empty_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        Ledger.open(tmp_path / "missing.db")
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(LedgerUnavailable):
        Ledger.open(tmp_path / "other.db")
    (tmp_path / "garbage.db").write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerUnavailable):
        Ledger.open(tmp_path / "garbage.db")


def _hammer(where: str, name: str, attempts: int) -> int:
    ledger = Ledger.open(where)
    reserved = 0
    for _ in range(attempts):
        try:
            record = ledger.dataset("registry")
            ledger.reserve(
                record,
                run_id=f"run-{name}-{reserved}",
                decision_id=f"dec-{name}-{reserved}",
                researcher=name,
                mechanism=RUN,
                request_digest="sha256:0",
                idempotency_key=None,
                decision={"of": name},
            )
            reserved += 1
        except (BudgetExceeded, BudgetChanged):
            continue
    ledger.close()
    return reserved


@pytest.mark.slow
def test_concurrent_requests_cannot_overspend(ledger: Ledger, where: str) -> None:
    """Four processes reserve as fast as they can from a budget that is too small for all."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        counts = pool.starmap(_hammer, [(where, f"user{i}", 60) for i in range(4)])
    record = ledger.dataset("registry")
    assert record.filter.admits(record.used)
    assert not record.filter.admits(record.used + record.filter.charge(RUN.event()))
    held = record.filter.zero
    for _ in range(sum(counts)):
        held = held + record.filter.charge(RUN.event())
    assert record.reserved == held


class Interleaving(RuleBasedStateMachine):
    """Any interleaving of reservations, progress and settlements keeps the budget."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger.create(Path(self.folder.name) / "ledger.db", "node-test")
        self.ledger.register(
            name="registry",
            version="v",
            population=1000,
            owner="owner",
            description={},
            privacy_filter=make_filter("rdp", Decimal(4), Decimal("1e-5"), order=4),
            bundle="sha256:" + "0" * 64,
        )
        self.open: dict[str, RunMechanism] = {}

    @rule(
        rounds=st.integers(1, 200),
        clients=st.integers(1, 200),
        noise=st.sampled_from(["0.5", "1", "3"]),
        evaluation=st.sampled_from([None, "5"]),
    )
    def ask(self, rounds: int, clients: int, noise: str, evaluation: str | None) -> None:
        run = RunMechanism(
            rounds, clients, 1000, Decimal(noise), None if evaluation is None else Decimal(5)
        )
        try:
            self.open[reserve(self.ledger, run)] = run
        except BudgetExceeded:
            record = self.ledger.dataset("registry")
            assert not record.filter.admits(record.used + record.filter.charge(run.event()))

    @rule(share=st.floats(0, 1), completed=st.booleans(), which=st.integers(0, 100))
    def end(self, share: float, completed: bool, which: int) -> None:
        if not self.open:
            return
        run_id = sorted(self.open)[which % len(self.open)]
        run = self.open.pop(run_id)
        rounds = run.rounds if completed else int(share * run.rounds)
        evaluated = completed and run.evaluation_noise is not None
        self.ledger.progress(run_id, rounds_started=rounds, evaluation_started=evaluated)
        self.ledger.settle(run_id, status="completed" if completed else "failed")

    @invariant()
    def spent_and_reserved_never_exceed_the_budget(self) -> None:
        budget = self.ledger.dataset("registry").budget()
        assert min(budget.spent, budget.reserved, budget.remaining) >= 0
        assert budget.spent + budget.reserved + budget.remaining == budget.epsilon

    def teardown(self) -> None:
        report = self.ledger.verify()
        assert report.ok, report.faults
        self.ledger.close()
        self.folder.cleanup()


TestInterleaving = Interleaving.TestCase
TestInterleaving.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
