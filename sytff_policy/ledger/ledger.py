"""The ledger as the rest of the package sees it: one object, each method one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from sqlalchemy.engine import Connection

from sytff_policy.ledger import book, budgets, datasets, log, usage
from sytff_policy.ledger.comparison import compare
from sytff_policy.ledger.log import Entry
from sytff_policy.ledger.records import (
    BudgetRecord,
    DatasetRecord,
    RunRecord,
    Scope,
    Standing,
    UsageRecord,
)
from sytff_policy.ledger.store import Store
from sytff_policy.ledger.verify import Report, verify_entries
from sytff_policy.privacy import PrivacyFilter, RunMechanism


class Turn:
    """One write transaction: what is read in it stays as it is until it ends.

    Args:
      connection: A connection that holds the write lock.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._read: tuple[str, str, Standing] | None = None

    def standing(self, dataset: str, researcher: str, organization: str = "") -> Standing:
        """What a researcher's request on a dataset is judged against."""
        found = book.standing(self._connection, dataset, researcher, organization)
        self._read = researcher, organization, found
        return found

    def record_decision(
        self, decision_id: str, dataset: str, researcher: str, body: dict[str, Any]
    ) -> None:
        """Records a decision, after the operator's policy if that is a new one."""
        node_policy = body.get("bundles", {}).get("node")
        if node_policy is not None:
            datasets.note_node_policy(self._connection, node_policy)
        log.append(
            self._connection,
            "decision",
            body,
            dataset=dataset,
            researcher=researcher,
            subject=decision_id,
        )

    def reserve(
        self,
        record: DatasetRecord,
        *,
        run_id: str,
        decision_id: str,
        researcher: str,
        mechanism: RunMechanism,
        request_digest: str,
        idempotency_key: str | None,
        decision: dict[str, Any],
        organization: str = "",
    ) -> None:
        """Records an allowing decision and reserves its worst case.

        Raises:
          BudgetChanged, BudgetExceeded, IdempotencyConflict: See `book.reserve`. The transaction
            must be given up then.
        """
        read, self._read = self._read, None
        current = None
        if read is not None and read[:2] == (researcher, organization) and read[2].record is record:
            # Nobody else has written since it was read, and this turn has reserved nothing.
            current = read[2]
        self.record_decision(decision_id, record.name, researcher, decision)
        book.reserve(
            self._connection,
            record,
            run_id=run_id,
            decision_id=decision_id,
            researcher=researcher,
            mechanism=mechanism,
            request_digest=request_digest,
            idempotency_key=idempotency_key,
            organization=organization,
            current=current,
        )


class Ledger:
    """One node's log and budget book.

    Args:
      store: The database.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def create(cls, where: Path | str, node_id: str) -> Ledger:
        """A new ledger in a SQLite file or at a database's URL, with its first entry."""
        ledger = cls(_store(where, create=True))
        with ledger.store.write() as connection:
            if next(log.read(connection, limit=1), None) is None:
                log.append(connection, "genesis", {"node_id": node_id, "format": 1})
        return ledger

    @classmethod
    def open(cls, where: Path | str) -> Ledger:
        """An existing ledger in a SQLite file or at a database's URL."""
        return cls(_store(where))

    def close(self) -> None:
        self.store.close()

    def datasets(self) -> list[DatasetRecord]:
        """All registered datasets, by name."""
        with self.store.read() as connection:
            return datasets.find_all(connection)

    def dataset(self, name: str) -> DatasetRecord:
        """One dataset with the state of its budgets."""
        with self.store.read() as connection:
            return datasets.find(connection, name)

    def budgets(self) -> list[BudgetRecord]:
        """All budgets, by name."""
        with self.store.read() as connection:
            return budgets.find_all(connection)

    def versions(self) -> set[str]:
        """Every dataset version that the log names: of registrations and of new rows."""
        kinds = ("dataset.registered", "dataset.version")
        with self.store.read() as connection:
            return {
                entry.body["version"] for kind in kinds for entry in log.read(connection, kind=kind)
            }

    def usage(self, dataset: str, researcher: str) -> tuple[UsageRecord, UsageRecord]:
        """A researcher's usage of a dataset: today (UTC), and in all."""
        found = self.standing(dataset, researcher)
        return found.today, found.in_all

    def standing(self, dataset: str, researcher: str, organization: str = "") -> Standing:
        """What a researcher's request on a dataset is judged against, in one snapshot."""
        with self.store.read() as connection:
            return book.standing(connection, dataset, researcher, organization)

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """A transaction in which nobody else writes; everything in it is undone by an error."""
        with self.store.write() as connection:
            yield Turn(connection)

    def register(
        self,
        *,
        name: str,
        version: str,
        population: int,
        owner: str,
        description: dict[str, Any],
        privacy_filter: PrivacyFilter | None,
        bundle: str | None = None,
        bundle_revision: str = "",
        share_with: Sequence[str] = (),
    ) -> None:
        """Registers a dataset and, in the same transaction, its first policy.

        Args, beyond those of `datasets.register`:
          bundle: Digest of its first policy, if it has one.
          bundle_revision: The policy's own name for its revision.
        """

        def work(connection: Connection) -> None:
            datasets.register(
                connection,
                name=name,
                version=version,
                population=population,
                owner=owner,
                description=description,
                privacy_filter=privacy_filter,
                share_with=share_with,
            )
            if bundle is not None:
                datasets.activate(connection, name, bundle, revision=bundle_revision, by=owner)

        self.store.transact(work)

    def new_version(
        self, name: str, *, version: str, population: int, description: dict[str, Any], by: str
    ) -> None:
        """Replaces a dataset's rows; what its people have spent stays spent."""
        self.store.transact(
            lambda connection: datasets.new_version(
                connection,
                name,
                version=version,
                population=population,
                description=description,
                by=by,
            )
        )

    def grant(self, name: str, amount: Decimal, *, by: str) -> None:
        """Adds to a dataset's first budget."""
        self.store.transact(lambda connection: datasets.grant(connection, name, amount, by=by))

    def cap(
        self, dataset: str, scope: Scope, subject: str, epsilon: Decimal | None, *, by: str
    ) -> None:
        """Caps what a researcher or an organization may use of a dataset's first budget."""

        def work(connection: Connection) -> None:
            budget = datasets.find(connection, dataset).budgets[0].name
            budgets.set_cap(connection, budget, scope, subject, epsilon, by=by)

        self.store.transact(work)

    def activate(self, name: str, bundle: str, *, revision: str, by: str) -> None:
        """Changes a dataset's active policy."""
        self.store.transact(
            lambda connection: datasets.activate(connection, name, bundle, revision=revision, by=by)
        )

    def record_decision(
        self, decision_id: str, dataset: str, researcher: str, body: dict[str, Any]
    ) -> None:
        """Records a decision that reserves nothing: a denial or a review."""
        self.store.transact(
            lambda connection: Turn(connection).record_decision(
                decision_id, dataset, researcher, body
            )
        )

    def reserve(self, record: DatasetRecord, **arguments: Any) -> None:
        """Records an allowing decision and reserves its worst case, in one transaction.

        Takes the arguments of `Turn.reserve`, and raises what it raises; nothing is recorded then.
        """
        self.store.transact(lambda connection: Turn(connection).reserve(record, **arguments))

    def resolve_review(self, decision_id: str, *, approved: bool, by: str) -> None:
        """Records the owner's answer to a decision that waits for review."""
        self.store.transact(
            lambda connection: book.resolve_review(
                connection, decision_id, approved=approved, by=by
            )
        )

    def check_key(self, researcher: str, key: str, request_digest: str) -> None:
        """Refuses an idempotency key that was used before."""
        with self.store.read() as connection:
            usage.check_key(connection, researcher, key, request_digest)

    def progress(self, run_id: str, *, rounds_started: int, evaluation_started: bool) -> None:
        """Durably records that rounds may draw noise, before they do."""
        self.store.transact(
            lambda connection: book.progress(
                connection,
                run_id,
                rounds_started=rounds_started,
                evaluation_started=evaluation_started,
            )
        )

    def settle(self, run_id: str, *, status: str, code: str = "") -> None:
        """Books what a run may have executed and frees the rest of its reservation."""
        self.store.transact(
            lambda connection: book.settle(connection, run_id, status=status, code=code)
        )

    def fault(self, run_id: str, code: str) -> None:
        """Records that a run broke its contract; what it made is never released."""

        def work(connection: Connection) -> None:
            run = book.find_run(connection, run_id)
            log.append(
                connection,
                "fault",
                {"run_id": run_id, "dataset": run.dataset, "code": code},
                dataset=run.dataset,
                researcher=run.researcher,
                subject=run_id,
            )

        self.store.transact(work)

    def release(self, run_id: str, results: dict[str, str]) -> None:
        """Records the digests of what leaves the node."""
        self.store.transact(lambda connection: book.release(connection, run_id, results))

    def run(self, run_id: str) -> RunRecord:
        """One run's row."""
        with self.store.read() as connection:
            return book.find_run(connection, run_id)

    def open_runs(self) -> list[RunRecord]:
        """Runs whose reservation is not settled."""
        with self.store.read() as connection:
            return book.open_runs(connection)

    def entries(self, **filters: Any) -> Iterator[Entry]:
        """Entries in order; filters as in `log.read`."""
        with self.store.read() as connection:
            yield from log.read(connection, **filters)

    def export(self, stream: IO[bytes]) -> int:
        """Writes every entry as one line of canonical JSON; returns how many."""
        count = 0
        for entry in self.entries():
            stream.write(entry.export_line())
            count += 1
        return count

    def verify(self, *, recompute: str | None = None) -> Report:
        """Verifies the stored log, and that the book beside it is the one its entries make.

        Args:
          recompute: As in `verify_export`.
        """
        with self.store.read() as connection:
            pairs = ((entry.hash, entry.leaf) for entry in log.read(connection))
            report = verify_entries(pairs, recompute=recompute)
            report.faults.extend(compare(connection, report))
        return report


def _store(where: Path | str, *, create: bool = False) -> Store:
    if isinstance(where, str) and "://" in where:
        return Store(where, create=create)
    return Store.sqlite(Path(where), create=create)
