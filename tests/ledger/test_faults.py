"""Whatever happens in the middle of a write: the log verifies, nothing is lost, work goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.ledger import IdempotencyConflict, Ledger, LedgerFault
from sytff_policy.ledger.checkpoints import Checkpoints
from sytff_policy.ledger.custody import Custody
from sytff_policy.privacy import make_filter
from tests.ledger.dying import NODE, OPERATIONS, opened, operate
from tests.ledger.helpers import RUN, reserve

pytestmark = pytest.mark.slow

Accident = Callable[..., dict[str, Any]]
ROUNDS = 7


@pytest.fixture(scope="module")
def accident() -> Iterator[Accident]:
    """Runs an operation of another process into an accident."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.dying"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def happen(**request: Any) -> dict[str, Any]:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield happen
        process.stdin.close()


class Node:
    """A node's ledger between accidents.

    Args:
      where: Its database.
      folder: Where its key and its last checkpoint are.
    """

    def __init__(self, where: str, folder: Path) -> None:
        self.where, self.folder = where, folder
        (folder / "secrets").mkdir()
        Custody.of(folder, NODE).make_key()
        Ledger.create(where, "node-test").close()
        self.ledger: Ledger
        self.checkpoints: Checkpoints
        self.reopen()
        self.ledger.register(
            name="registry",
            version="v",
            population=1000,
            owner="owner",
            description={},
            privacy_filter=make_filter("rdp", Decimal(10_000), Decimal("1e-5"), order=4),
            bundle="sha256:" + "0" * 64,
        )

    def reopen(self) -> None:
        """What a restart does: it refuses a database that is not the witnessed one."""
        if hasattr(self, "ledger"):
            self.ledger.close()
        self.ledger, self.checkpoints = opened(self.where, self.folder)

    def prepare(self, operation: str) -> str:
        """A run at the point where an operation can happen."""
        if operation == "reserve":
            return f"key-{sum(1 for _ in self.ledger.entries())}"
        run_id = reserve(self.ledger, organization="clinic")
        if operation in ("settle", "release"):
            rounds = RUN.rounds if operation == "release" else ROUNDS
            whole = operation == "release"
            self.ledger.progress(run_id, rounds_started=rounds, evaluation_started=whole)
        if operation == "release":
            self.ledger.settle(run_id, status="completed")
        return run_id

    def kinds_since(self, start: int) -> list[str]:
        return [entry.kind for entry in self.ledger.entries(start=start)]

    def check(self, operation: str, run_id: str, start: int, new: dict[str, list[str]]) -> None:
        """After an accident: verified, atomic, nothing forgotten."""
        report = self.ledger.verify()
        assert report.ok, report.faults
        kinds = [kind for kind in self.kinds_since(start) if kind != "checkpoint"]
        assert kinds in ([], new[operation])
        record = self.ledger.dataset("registry")
        if operation == "settle":
            drawn = record.filter.charge(RUN.executed(ROUNDS, evaluated=False))
            assert drawn.fits(record.used)
        if operation == "progress":
            run = self.ledger.run(run_id)
            assert run.rounds_started == (ROUNDS if kinds else 0)

    def go_on(self, operation: str, run_id: str) -> None:
        """The operation again, and everything after it."""
        try:
            operate(self.ledger, self.checkpoints, operation, run_id)
        except (LedgerFault, IdempotencyConflict):
            # It was done before the accident.
            assert operation in ("settle", "release", "reserve")
        for run in self.ledger.open_runs():
            self.ledger.settle(run.run_id, status="failed", code="run.interrupted")
        assert self.ledger.dataset("registry").reserved.is_zero()


ENTRIES = {
    "reserve": ["decision", "reservation"],
    "progress": ["progress"],
    "settle": ["settlement"],
    "release": ["release"],
    "checkpoint": [],
    "deny": ["node.policy", "decision"],
    "grant": ["budget.granted"],
    "cap": ["cap.set"],
}


@pytest.fixture
def node(where: str, tmp_path: Path) -> Iterator[Node]:
    folder = tmp_path / "node"
    folder.mkdir()
    made = Node(where, folder)
    yield made
    made.ledger.close()


def size(node: Node) -> int:
    return sum(1 for _ in node.ledger.entries())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_that_is_killed_at_any_moment_of_a_write(
    node: Node, operation: str, accident: Accident
) -> None:
    """Killed before, between and after every statement, commit and file operation."""
    moment, killed = 0, True
    before_any = size(node)
    while killed:
        run_id = node.prepare(operation)
        start = size(node)
        outcome = accident(
            where=node.where,
            folder=str(node.folder),
            operation=operation,
            run_id=run_id,
            accident="kill",
            at=moment,
        )
        killed = outcome["code"] == -9
        assert killed or (outcome["code"], outcome["outcome"]) == (0, "done")
        node.reopen()
        new = {**ENTRIES, "deny": ["decision"]}
        kinds = node.kinds_since(start)
        node.check(operation, run_id, start, ENTRIES if "node.policy" in kinds else new)
        node.go_on(operation, run_id)
        moment += 1
    assert moment > 15
    assert size(node) > before_any
    report = node.ledger.verify()
    assert report.ok, report.faults


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_connection_that_is_lost_at_any_moment_of_a_write(
    operation: str, accident: Accident, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The same process says so, and goes on with a new connection."""
    server = request.getfixturevalue("server")
    folder = tmp_path / "node"
    folder.mkdir()
    node = Node(server.database(), folder)
    moment, lost = 0, True
    outcomes = set()
    while lost:
        run_id = node.prepare(operation)
        start = size(node)
        node.ledger.close()
        outcome = accident(
            where=node.where,
            folder=str(node.folder),
            operation=operation,
            run_id=run_id,
            accident="disconnect",
            at=moment,
        )
        assert outcome["code"] == 0
        outcomes.add(outcome["outcome"])
        lost = outcome["moments"] > moment
        node.reopen()
        report = node.ledger.verify()
        assert report.ok, report.faults
        kinds = node.kinds_since(start)
        assert set(ENTRIES[operation]) <= {*kinds, "node.policy"}
        node.go_on(operation, run_id)
        moment += 1
    assert outcomes == {"done", "ledger.unavailable"}
    node.ledger.close()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_disk_that_is_full(operation: str, accident: Accident, tmp_path: Path) -> None:
    """No file grows beyond a size, from one that nothing fits into to one that all fits into."""
    folder = tmp_path / "node"
    folder.mkdir()
    node = Node(f"sqlite:///{tmp_path}/ledger.db", folder)
    outcomes = []
    limit = 0
    while not outcomes or outcomes[-1] != "done" or limit < 2**14:
        run_id = node.prepare(operation)
        start = size(node)
        # Into the database file, so that the write-ahead log begins anew: it is what fills up.
        node.ledger.close()
        outcome = accident(
            where=node.where,
            folder=str(node.folder),
            operation=operation,
            run_id=run_id,
            accident="full",
            at=limit,
        )
        assert outcome["code"] == 0, outcome
        outcomes.append(outcome["outcome"])
        node.reopen()
        report = node.ledger.verify()
        assert report.ok, report.faults
        kinds = node.kinds_since(start)
        assert set(ENTRIES[operation]) <= {*kinds, "node.policy"}
        node.go_on(operation, run_id)
        limit += 2**11
    assert set(outcomes) - {"done"}
    assert outcomes[-1] == "done"
    node.ledger.close()
