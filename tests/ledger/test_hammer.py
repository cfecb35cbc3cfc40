"""Many clients on one budget: each gets an answer, and the budget is never exceeded."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from sytff_policy.ledger import BudgetChanged, BudgetExceeded, Ledger
from sytff_policy.privacy import RunMechanism, make_filter
from tests.ledger.conftest import register
from tests.ledger.helpers import finish, reserve

pytestmark = pytest.mark.slow

RUN = RunMechanism(4, 50, 1000, Decimal(1))
REQUESTS = 6
PROCESSES = 4


def ask(ledger: Ledger, name: str) -> str:
    """One request: judged again when the budget moved, at last while nobody else can write."""
    for _ in range(2):
        try:
            return reserve(ledger, RUN, researcher=name, organization="clinic")
        except BudgetChanged:
            continue
        except BudgetExceeded:
            return "refused"
    try:
        return reserve_in_turn(ledger, name)
    except BudgetExceeded:
        return "refused"


def reserve_in_turn(ledger: Ledger, name: str, run: RunMechanism = RUN) -> str:
    with ledger.turn() as turn:
        record = turn.standing("registry", name, "clinic").record
        return reserve(turn, run, researcher=name, organization="clinic", record=record)


def clients(where: str, process: int, count: int, answers: Any) -> None:
    ledger = Ledger.open(where)
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def run(number: int) -> None:
        for turn in range(REQUESTS):
            outcome = ask(ledger, f"client {process}-{number}")
            if outcome != "refused" and turn % 2:
                # Some finish while others ask, so that budget moves both ways.
                finish(ledger, outcome, rounds=2, status="failed")
            with lock:
                outcomes["refused" if outcome == "refused" else "reserved"] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()
    answers.put(outcomes)


@pytest.mark.timeout(600)
def test_many_clients_on_one_budget(where: str) -> None:
    """64 on PostgreSQL and 16 on SQLite, in several processes, on a budget too small for them."""
    ledger = register(Ledger.create(where, "node-test"))
    ledger.cap("registry", "organization", "clinic", Decimal("7.5"), by="owner")
    each = (16 if ledger.store.is_sqlite else 64) // PROCESSES
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    workers = [
        context.Process(target=clients, args=(where, number, each, answers))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    outcomes: Counter[str] = sum((answers.get() for _ in workers), Counter())
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert outcomes.total() == PROCESSES * each * REQUESTS
    assert outcomes["reserved"]
    report = ledger.verify()
    assert report.ok, report.faults[:5]
    record = ledger.dataset("registry")
    limit = ledger.standing("registry", "client 0-0", "clinic").limits[0]
    assert record.filter.admits(record.used)
    assert limit.filter.admits(limit.used)
    if not ledger.store.is_sqlite:
        assert outcomes["refused"]
        charge = record.filter.charge(RUN.event())
        assert not limit.admits(charge)
    ledger.close()


def test_what_is_refused_in_a_turn_leaves_nothing_behind(where: str) -> None:
    ledger = Ledger.create(where, "node-test")
    ledger.register(
        name="registry",
        version="v",
        population=1000,
        owner="owner",
        description={},
        privacy_filter=make_filter("rdp", Decimal(4), Decimal("1e-5"), order=4),
        bundle="sha256:" + "0" * 64,
    )
    count = sum(1 for _ in ledger.entries())
    with pytest.raises(BudgetExceeded):
        reserve_in_turn(ledger, "alice", RunMechanism(5000, 50, 1000, Decimal(1)))
    assert sum(1 for _ in ledger.entries()) == count
    assert ledger.verify().ok
    ledger.close()
