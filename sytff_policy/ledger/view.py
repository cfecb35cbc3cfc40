"""A ledger to read: what auditors open. Nothing here can write, sign or settle anything."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy.engine import Connection

from sytff_policy.canonical import canonical_bytes
from sytff_policy.errors import NotFound
from sytff_policy.ledger import log
from sytff_policy.ledger.checkpoints import LogTree, cosigned_beside, with_cosignatures
from sytff_policy.ledger.comparison import compare
from sytff_policy.ledger.custody import Custody
from sytff_policy.ledger.errors import LedgerUnavailable
from sytff_policy.ledger.log import Entry
from sytff_policy.ledger.notes import Checkpoint, Note, PublicKey
from sytff_policy.ledger.receipts import make_receipt
from sytff_policy.ledger.store import Store
from sytff_policy.ledger.verify import Fault, Report, verify_entries

T = TypeVar("T")


class ReadOnlyStore(Store):
    """A store that refuses to write, for readers who may have no right to.

    Args:
      where: A SQLite file, or a database's URL.
    """

    def __init__(self, where: Path | str) -> None:
        super().__init__(where if isinstance(where, str) else _sqlite_url(where))

    @contextmanager
    def write(self) -> Iterator[Connection]:
        raise LedgerUnavailable("the ledger is open for reading alone")
        yield  # pragma: no cover

    def transact(self, work: Callable[[Connection], T]) -> T:
        raise LedgerUnavailable("the ledger is open for reading alone")


class LedgerView:
    """A node's ledger, and what is kept beside it, for reading.

    Args:
      where: A SQLite file, or a database's URL.
      custody: Where the node's last checkpoint is.
    """

    def __init__(self, where: Path | str, custody: Custody) -> None:
        self._store = ReadOnlyStore(where)
        self._custody = custody
        self._streams: weakref.WeakSet[Generator[Entry, None, None]] = weakref.WeakSet()

    def close(self) -> None:
        for stream in list(self._streams):
            # Each holds a connection until it is taken to its end, and an error may have cut it.
            stream.close()
        self._store.close()

    def __enter__(self) -> LedgerView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entries(self, **filters: Any) -> Iterator[Entry]:
        """Entries in order; filters as in `log.read`."""
        stream = self._stream(filters)
        self._streams.add(stream)
        return stream

    def _stream(self, filters: dict[str, Any]) -> Generator[Entry, None, None]:
        with self._store.read() as connection:
            yield from log.read(connection, **filters)

    def size(self) -> int:
        """How many entries the database holds."""
        last = next(self.entries(newest_first=True, limit=1), None)
        return 0 if last is None else last.seq + 1

    def checkpoint(self) -> Note | None:
        """The last signed checkpoint that is kept beside the database, if there is one."""
        witness = self._custody.witness
        kept = witness.last()
        return None if kept is None else with_cosignatures(witness, kept[0])

    def public_keys(self) -> list[PublicKey]:
        """The log's public keys, newest last."""
        return [PublicKey.parse(text) for text in self._custody.trusted()]

    def verify(self, *, recompute: str | None = None) -> Report:
        """Verifies the stored log, its checkpoints, and the book beside it.

        The log must contain the kept checkpoint. Entries after it are not signed yet; the report
        says how many are.
        """
        note = self.checkpoint()
        with self._store.read() as connection:
            report = verify_entries(
                ((entry.hash, entry.leaf) for entry in log.read(connection)),
                keys=self._custody.trusted(),
                checkpoint=None if note is None else note.signed_text,
                whole=False,
                recompute=recompute,
            )
            report.faults.extend(compare(connection, report))
        if note is None and report.keys:
            message = f"there is no checkpoint at {self._custody.witness.path} to hold it against"
            report.faults.append(Fault(-1, "verify.unwitnessed", message))
        return report

    def export(self, stream: IO[bytes]) -> int:
        """Writes what is signed, a line of canonical JSON each, then the checkpoint.

        Of a log without a checkpoint it writes every entry. Returns how many entries.
        """
        note = self.checkpoint()
        limit = None if note is None else Checkpoint.parse(note.text).size
        count = 0
        for entry in self.entries(limit=limit):
            stream.write(entry.export_line())
            count += 1
        if note is not None:
            stream.write(closing_line(note))
        return count

    def receipt(self, decision_id: str) -> dict[str, Any]:
        """A receipt of a decision, under the newest checkpoint; co-signed, if one covers it.

        Raises:
          NotFound: If there is no such decision under a checkpoint.
          ReceiptFault: If the database was altered.
        """
        tree = LogTree(self._store)
        with self._store.read() as connection:
            tree.sync(connection)
            about = list(log.read(connection, subject=decision_id))
            if not about or about[0].kind != "decision":
                raise NotFound("decision", decision_id)
            run_id = next((e.body["run_id"] for e in self._run(connection, about[0])), None)
            if run_id is not None:
                about += log.read(connection, subject=run_id)
        about.sort(key=lambda entry: entry.seq)
        note = self._covering(about[-1].seq)
        return make_receipt(decision_id, about, tree.tree, note, tree.keys)

    def _run(self, connection: Connection, decision: Entry) -> Iterator[Entry]:
        # An allowing decision is followed by its reservation in the same transaction.
        if decision.body["decision"] == "allow":
            yield from log.read(connection, kind="reservation", start=decision.seq + 1, limit=1)

    def _covering(self, seq: int) -> Note:
        witness = self._custody.witness
        for kept in (cosigned_beside(witness).last(), witness.last()):
            if kept is not None and kept[1].size > seq:
                return kept[0]
        raise NotFound("checkpoint", f"of entry {seq}")


def closing_line(note: Note) -> bytes:
    """The last line of an export."""
    return canonical_bytes({"checkpoint": note.signed_text}) + b"\n"


def _sqlite_url(path: Path) -> str:
    if not path.is_file():
        raise LedgerUnavailable(f"there is no ledger at {path}")
    if all(_may_write(place) for place in (path, path.parent)):
        return f"sqlite:///{path}"
    # Without the right to write, SQLite can join the writers' log if there is one; a database
    # without one is nobody's at the moment, and is read as it lies.
    shared = path.with_name(path.name + "-wal").exists()
    return f"sqlite:///file:{path.resolve()}?{'mode=ro' if shared else 'immutable=1'}&uri=true"


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
