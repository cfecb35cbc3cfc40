"""The ledger as the rest of the package sees it: one object, each method one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from sytff_policy.canonical import canonical_bytes
from sytff_policy.ledger import book, log
from sytff_policy.ledger.book import DatasetRecord, RunRecord, UsageRecord
from sytff_policy.ledger.log import Entry
from sytff_policy.ledger.store import Store
from sytff_policy.ledger.verify import Fault, Report, verify_entries
from sytff_policy.privacy import PrivacyFilter, RunMechanism


class Ledger:
    """One node's log and budget book.

    Args:
      store: The database.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def create(cls, path: Path, node_id: str) -> Ledger:
        """A new ledger in a SQLite file, with its first entry."""
        ledger = cls(Store.sqlite(path, create=True))
        with ledger.store.write() as connection:
            if next(log.read(connection, limit=1), None) is None:
                log.append(connection, "genesis", {"node_id": node_id, "format": 1})
        return ledger

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """An existing ledger in a SQLite file."""
        return cls(Store.sqlite(path))

    def close(self) -> None:
        self.store.close()

    def datasets(self) -> list[DatasetRecord]:
        """All registered datasets, by name."""
        with self.store.read() as connection:
            return book.find_all(connection)

    def dataset(self, name: str) -> DatasetRecord:
        """One dataset with its budget state."""
        with self.store.read() as connection:
            return book.find(connection, name)

    def versions(self) -> set[str]:
        """Every dataset version that the log names."""
        return {entry.body["version"] for entry in self.entries(kind="dataset.registered")}

    def usage(self, dataset: str, researcher: str) -> tuple[UsageRecord, UsageRecord]:
        """A researcher's usage of a dataset: today (UTC), and in all."""
        with self.store.read() as connection:
            return (
                book.used_by(connection, dataset, researcher, book.today()),
                book.used_by(connection, dataset, researcher, None),
            )

    def register(
        self,
        *,
        name: str,
        version: str,
        population: int,
        owner: str,
        description: dict[str, Any],
        privacy_filter: PrivacyFilter,
        bundle: str | None = None,
        bundle_revision: str = "",
    ) -> None:
        """Registers a dataset and, in the same transaction, its first policy."""
        with self.store.write() as connection:
            book.register(
                connection,
                name=name,
                version=version,
                population=population,
                owner=owner,
                description=description,
                privacy_filter=privacy_filter,
            )
            if bundle is not None:
                book.activate(connection, name, bundle, revision=bundle_revision, by=owner)

    def grant(self, name: str, amount: Decimal, *, by: str) -> None:
        """Adds to a dataset's budget."""
        with self.store.write() as connection:
            book.grant(connection, name, amount, by=by)

    def activate(self, name: str, bundle: str, *, revision: str, by: str) -> None:
        """Changes a dataset's active policy."""
        with self.store.write() as connection:
            book.activate(connection, name, bundle, revision=revision, by=by)

    def record_decision(
        self, decision_id: str, dataset: str, researcher: str, body: dict[str, Any]
    ) -> None:
        """Records a decision that reserves nothing: a denial or a review."""
        with self.store.write() as connection:
            _append_decision(connection, decision_id, dataset, researcher, body)

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
    ) -> None:
        """Records an allowing decision and reserves its worst case, in one transaction.

        Raises:
          BudgetChanged, BudgetExceeded, IdempotencyConflict: See `book.reserve`; nothing is
            recorded then.
        """
        with self.store.write() as connection:
            _append_decision(connection, decision_id, record.name, researcher, decision)
            book.reserve(
                connection,
                record,
                run_id=run_id,
                decision_id=decision_id,
                researcher=researcher,
                mechanism=mechanism,
                request_digest=request_digest,
                idempotency_key=idempotency_key,
            )

    def check_key(self, researcher: str, key: str, request_digest: str) -> None:
        """Refuses an idempotency key that was used before."""
        with self.store.read() as connection:
            book.check_key(connection, researcher, key, request_digest)

    def progress(self, run_id: str, *, rounds_started: int, evaluation_started: bool) -> None:
        """Durably records that rounds may draw noise, before they do."""
        with self.store.write() as connection:
            book.progress(
                connection,
                run_id,
                rounds_started=rounds_started,
                evaluation_started=evaluation_started,
            )

    def settle(self, run_id: str, *, status: str, code: str = "") -> None:
        """Books what a run may have executed and frees the rest of its reservation."""
        with self.store.write() as connection:
            book.settle(connection, run_id, status=status, code=code)

    def fault(self, run_id: str, code: str) -> None:
        """Records that a run broke its contract; what it made is never released."""
        with self.store.write() as connection:
            run = book.find_run(connection, run_id)
            log.append(
                connection,
                "fault",
                {"run_id": run_id, "dataset": run.dataset, "code": code},
                dataset=run.dataset,
                researcher=run.researcher,
                subject=run_id,
            )

    def release(self, run_id: str, results: dict[str, str]) -> None:
        """Records the digests of what leaves the node."""
        with self.store.write() as connection:
            book.release(connection, run_id, results)

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
            stream.write(canonical_bytes(entry.to_json()) + b"\n")
            count += 1
        return count

    def verify(self) -> Report:
        """Verifies the stored log, and that the book beside it is the one its entries make."""
        report = verify_entries((entry.hash, entry.leaf) for entry in self.entries())
        for record in self.datasets():
            replayed = report.budgets.get(record.name)
            book_state = {
                "filter": record.filter.kind,
                "epsilon": str(record.filter.epsilon),
                "spent": [str(value) for value in record.spent.values],
                "reserved": [str(value) for value in record.reserved.values],
            }
            if replayed is None or not _same_numbers(replayed, book_state):
                message = f"the book of {record.name!r} is not what the entries make"
                report.faults.append(Fault(-1, "verify.book", message))
        if len(self.datasets()) != len(report.budgets):
            message = "the book has other datasets than the entries"
            report.faults.append(Fault(-1, "verify.book", message))
        return report


def _same_numbers(first: dict[str, Any], second: dict[str, Any]) -> bool:
    keys = ("spent", "reserved")
    return (
        first["filter"] == second["filter"]
        and Decimal(first["epsilon"]) == Decimal(second["epsilon"])
        and all([*map(Decimal, first[k])] == [*map(Decimal, second[k])] for k in keys)
    )


def _append_decision(
    connection: Any, decision_id: str, dataset: str, researcher: str, body: dict[str, Any]
) -> None:
    log.append(
        connection, "decision", body, dataset=dataset, researcher=researcher, subject=decision_id
    )
