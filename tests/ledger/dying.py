"""Processes that meet with an accident at a chosen moment of one ledger operation.

Moments are not sampled: every statement that goes to the database has one before it and one after
it, every transaction one before its commit and one after, and every file that is synced, renamed
or opened one before and one after. A server that has imported everything forks one process for
each accident; it speaks JSON lines.

Accidents: `kill` ends the process with SIGKILL at the moment; `disconnect` ends its connections to
PostgreSQL; `full` lets no file grow beyond a size; `none` counts the moments.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from sytff_policy.errors import SytffError
from sytff_policy.ledger import IdempotencyConflict, Ledger, LedgerFault
from sytff_policy.ledger.checkpoints import Checkpoints
from sytff_policy.ledger.custody import Custody
from tests.ledger.helpers import RUN, reserve

RESULTS = {"weights.safetensors": "sha256:" + "1" * 64}
OPERATIONS = ("reserve", "progress", "settle", "release", "checkpoint", "deny", "grant", "cap")
_counter = itertools.count()
NODE = {"node_id": "node-test"}


def opened(where: str, folder: Path) -> tuple[Ledger, Checkpoints]:
    """A node's ledger: every write signed and witnessed by a file in `folder`."""
    return Custody.of(folder, NODE).open(Ledger.open(where))


class Moments:
    """Counts moments, and acts at one of them.

    Args:
      act: What happens at the moment.
      at: Its number; None only counts.
    """

    def __init__(self, act: Callable[[], None], at: int | None) -> None:
        self.count = 0
        self._act = act
        self._at = at
        self._inside = False

    def pass_one(self) -> None:
        """One moment goes by."""
        if self._inside:
            return
        self._inside = True
        if self.count == self._at:
            self._act()
        self.count += 1
        self._inside = False

    def watch(self, engine: sa.Engine) -> None:
        """Counts the statements and commits of an engine."""
        event.listen(engine, "before_cursor_execute", lambda *_: self.pass_one())
        event.listen(engine, "after_cursor_execute", lambda *_: self.pass_one())
        # The commit event comes before the driver commits.
        event.listen(engine, "commit", lambda _: self.pass_one())
        commit = engine.dialect.do_commit

        def committed(connection: Any) -> None:
            commit(connection)
            self.pass_one()

        engine.dialect.do_commit = committed  # type: ignore[method-assign]

    def watch_files(self) -> None:
        """Counts what is done to files: opened, synced, renamed."""
        for name in ("open", "fsync", "replace"):
            original = getattr(os, name)

            def around(*arguments: Any, _original: Any = original, **named: Any) -> Any:
                self.pass_one()
                result = _original(*arguments, **named)
                self.pass_one()
                return result

            setattr(os, name, around)


def operate(ledger: Ledger, checkpoints: Checkpoints, operation: str, run_id: str) -> None:
    """One operation on a run that a test has brought to where it can happen."""
    if operation == "reserve":
        reserve(ledger, RUN, organization="clinic", key=run_id)
    elif operation == "progress":
        ledger.progress(run_id, rounds_started=7, evaluation_started=False)
    elif operation == "settle":
        ledger.settle(run_id, status="failed", code="run.died")
    elif operation == "release":
        ledger.release(run_id, RESULTS)
    elif operation == "checkpoint":
        checkpoints.record()
    elif operation == "deny":
        identity = f"dec-{os.getpid()}-{next(_counter)}"
        body = {
            "decision": "deny",
            "decision_id": identity,
            "dataset": "registry",
            "reasons": [{"code": "test"}],
            "request": {},
            "request_digest": "sha256:"
            + "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "bundles": {"node": "sha256:" + "b" * 64, "dataset": "sha256:" + "0" * 64},
            "researcher": {"id": "alice", "organization": "clinic"},
        }
        ledger.record_decision(identity, "registry", "alice", body)
    elif operation == "grant":
        ledger.grant("registry", Decimal(1), by="owner")
    elif operation == "cap":
        ledger.cap("registry", "researcher", "alice", Decimal(7), by="owner")
    else:
        raise ValueError(operation)


def meet(where: str, folder: str, operation: str, run_id: str, accident: str, at: int) -> Any:
    """Runs one operation into an accident; returns what the process could still say."""
    ledger, checkpoints = opened(where, Path(folder))
    engine = ledger.store._store._engine  # type: ignore[attr-defined]

    def disconnect() -> None:
        other = sa.create_engine(engine.url, poolclass=sa.NullPool)
        with other.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        other.dispose()

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    moments = Moments({"kill": kill, "disconnect": disconnect}.get(accident, kill), at)
    if accident == "full":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (at, resource.RLIM_INFINITY))
        moments = Moments(kill, None)
    moments.watch(engine)
    moments.watch_files()
    try:
        operate(ledger, checkpoints, operation, run_id)
        outcome = "done"
    except SytffError as error:
        outcome = error.code
    if accident == "full":
        # Someone made room: the same process goes on.
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    again = "done"
    if outcome != "done":
        try:
            operate(ledger, checkpoints, operation, run_id)
        except (LedgerFault, IdempotencyConflict) as error:
            again = error.code
    return {"moments": moments.count, "outcome": outcome, "again": again}


def main() -> None:
    """Serves until stdin closes."""
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            code = 1
            try:
                answer = meet(**json.loads(line))
                os.write(writer, json.dumps(answer).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            said = stream.read()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        sys.stdout.write(json.dumps({"code": code, **json.loads(said or b"{}")}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
