"""Checkpoints of a log: what its key says of it, kept by witnesses and recorded in the log.

After every write the node signs a checkpoint of the whole log and hands it to the file witness.
HTTP witnesses get it before anything that is drawn or released depends on it: a decision or a
reservation alone draws nothing, so those wait for the next one. Every hundred entries the
checkpoint is also an entry of the log, over all entries before it.

The tree is made from the stored leaf hashes once, when the log is opened, which also shows whether
this is the database that was witnessed. Afterwards each checkpoint costs what was appended since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sytff_policy.canonical import DIGEST_PREFIX
from sytff_policy.ledger import log
from sytff_policy.ledger.keys import KeyUnavailable, Signer, sign_note
from sytff_policy.ledger.notes import Checkpoint, Note, PublicKey
from sytff_policy.ledger.schema import entries
from sytff_policy.ledger.store import Store
from sytff_policy.ledger.tree import Tree
from sytff_policy.ledger.witness import (
    FileWitness,
    Forked,
    RolledBack,
    Witness,
    WitnessMissing,
    WitnessUnavailable,
    require_growth,
)

CHECKPOINT = "checkpoint"
KEY = "key.activated"
LOG_EVERY = 100
"""Entries between two checkpoints in the log."""

NEXT_KEY = "next-key "
"""Begins the line by which a key's last checkpoint names its successor."""

_DRAWS = frozenset({"progress", "release"})
"""Entries that noise or results wait for: without every witness they fail."""

_LOCAL = frozenset({"decision", "reservation", CHECKPOINT})

T = TypeVar("T")


def origin_of(node_id: str) -> str:
    """A log's name in its checkpoints, which its keys have too."""
    return f"sytff-policy/{node_id}"


class LogTree:
    """The tree over a database's entries, brought up to date on demand.

    Args:
      store: The database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tree = Tree(self._read)
        self.keys: list[PublicKey] = []
        self.logged = 0
        self._last = b""

    @property
    def size(self) -> int:
        return self.tree.size

    def sync(self, connection: Connection) -> set[str]:
        """Reads what was appended; returns its kinds.

        Raises:
          RolledBack, Forked: If what was read before is gone or another.
        """
        size, kinds = self.size, set()
        start = max(size - 1, 0)
        query = (
            sa.select(entries.c.seq, entries.c.hash, entries.c.kind)
            .where(entries.c.seq >= start)
            .order_by(entries.c.seq)
        )
        last = self._last
        new: list[bytes] = []
        activated: list[int] = []
        for rows in connection.execute(query.execution_options(yield_per=5000)).partitions():
            for count, (seq, text, kind) in enumerate(rows, start=start):
                if seq != count:
                    raise Forked(count, count, "the numbering of its own entries")
                leaf = bytes.fromhex(text[len(DIGEST_PREFIX) :])
                if seq < size:
                    if leaf != last:
                        raise Forked(size, size, "this process")
                    continue
                new.append(leaf)
                kinds.add(kind)
                if kind == CHECKPOINT:
                    self.logged = seq + 1
                elif kind == KEY:
                    activated.append(seq)
            start += len(rows)
        if start < size:
            raise RolledBack(start, size, "this process")
        self.tree.extend(new)
        self._last = new[-1] if new else last
        for seq in activated:
            entry = next(log.read(connection, start=seq, limit=1))
            self.keys.append(PublicKey.parse(entry.body["key"]))
        return kinds

    def _read(self, start: int, stop: int) -> Sequence[bytes]:
        with self._store.read() as connection:
            rows = connection.execute(
                sa.select(entries.c.hash)
                .where((entries.c.seq >= start) & (entries.c.seq < stop))
                .order_by(entries.c.seq)
            ).scalars()
            return [bytes.fromhex(text.removeprefix(DIGEST_PREFIX)) for text in rows]


class Checkpoints:
    """Signs checkpoints of one log and has them witnessed.

    Args:
      store: The database.
      signer: The log's key.
      file: Where the last checkpoint is kept.
      witnesses: Others who keep it.
      log_every: Entries between two checkpoints in the log.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer,
        file: FileWitness,
        witnesses: Iterable[Witness] = (),
        *,
        log_every: int = LOG_EVERY,
    ) -> None:
        self._store = store
        self._signer = signer
        self.file = file
        self.cosigned = cosigned_beside(file)
        self._witnesses = tuple(witnesses)
        self._log_every = log_every
        self._log = LogTree(store)
        # One thread at a time signs and publishes; re-entered when the log's own checkpoint is
        # committed.
        self._lock = threading.RLock()
        self._kept: tuple[Note, Checkpoint] | None = None
        self._owed: set[str] = set()

    @property
    def origin(self) -> str:
        return self._signer.public_key.name

    @property
    def keys(self) -> list[PublicKey]:
        """Every key of this log so far; the last one signs."""
        return list(self._log.keys)

    def open(self) -> None:
        """Checks the database against the witnesses, before anything relies on it.

        A log without a key gets its first one.

        Raises:
          RolledBack, Forked: If this is not the database that was witnessed.
          WitnessMissing: If the file with the last checkpoint is gone.
          WitnessUnavailable: If a witness cannot be asked.
          KeyUnavailable: If the signer's key is not the log's.
        """
        with self._lock:
            self._publish(first=True)
            if not self._log.keys:
                with self._store.write() as connection:
                    log.append(connection, KEY, {"key": self._signer.public_key.text, "note": None})
                self._publish()
            self._ask_witnesses(required=True)

    def committed(self) -> None:
        """Has the log witnessed as it is now; called after every write.

        Raises:
          RolledBack, Forked: If the database is not the one that this process wrote to.
          WitnessUnavailable: If the file cannot be written, or an HTTP witness does not answer
            although noise or results wait for it. What was written stays written.
        """
        with self._lock:
            self._publish()
            if self._log.size - self._log.logged >= self._log_every:
                self.record()
            if self._owed - _LOCAL or self._log.size - self._log.logged == 0:
                self._ask_witnesses(required=bool(self._owed & _DRAWS))

    def record(self) -> None:
        """Appends a checkpoint of all entries to the log."""
        with self._lock:
            with self._store.write() as connection:
                self._owed |= self._log.sync(connection)
                note = self._sign()
                log.append(connection, CHECKPOINT, {"note": note.signed_text})
            self._publish()

    def rotate(self, successor: Signer) -> None:
        """Hands over to another key, which the present one signs.

        Raises:
          KeyUnavailable: If the new key is the present one, or another log's.
        """
        key = successor.public_key
        if key.name != self.origin or key in self._log.keys:
            raise KeyUnavailable(f"{key.text} cannot follow: it is another log's or was used here")
        with self._lock:
            with self._store.write() as connection:
                self._owed |= self._log.sync(connection)
                note = self._sign(NEXT_KEY + key.text)
                log.append(connection, KEY, {"key": key.text, "note": note.signed_text})
            self._signer = successor
            self._publish()
            self._ask_witnesses(required=False)

    def latest(self) -> tuple[Note, Checkpoint]:
        """The newest signed checkpoint, of all entries."""
        with self._lock:
            return self._publish()

    def witnessed(self) -> tuple[Note, Checkpoint]:
        """The newest checkpoint after every witness has seen it, with their cosignatures.

        Raises:
          WitnessUnavailable: If one does not answer.
        """
        with self._lock:
            self._ask_witnesses(required=True)
            note, checkpoint = self._publish()
            return with_cosignatures(self.file, note), checkpoint

    def _publish(self, *, first: bool = False) -> tuple[Note, Checkpoint]:
        with self.file.alone():
            # Under the file's lock, so that what it keeps is never newer than what is read here.
            with self._store.read() as connection:
                self._owed |= self._log.sync(connection)
            kept = self.file.last()
            if kept is None and (self._log.keys or not first):
                raise WitnessMissing(self.file.path)
            if kept is not None and kept != self._kept:
                # What this process kept itself continues into the tree that it has.
                self._require_ours(*kept)
            self._require_signer()
            if kept is None or kept != self._kept or kept[1].size != self._log.size:
                note = self._sign()
                durable = first or bool(self._owed - _LOCAL)
                self.file.keep(note, durable=durable)
                self._kept = note, Checkpoint.parse(note.text)
            return self._kept

    def _require_ours(self, note: Note, checkpoint: Checkpoint) -> None:
        if checkpoint.origin != self.origin:
            raise WitnessUnavailable(
                f"{self.file.path} keeps a checkpoint of {checkpoint.origin}, not of {self.origin}"
            )
        require_growth(checkpoint, self._log.tree, str(self.file.path))
        if not note.signed_by([*self._log.keys, self._signer.public_key]):
            raise WitnessUnavailable(f"{self.file.path} is not signed by a key of {self.origin}")

    def _require_signer(self) -> None:
        mine, keys = self._signer.public_key, self._log.keys
        if keys and keys[-1] != mine:
            raise KeyUnavailable(
                f"the signer's key is {mine.text}, the log's is {keys[-1].text}; "
                "name the signer of that key as `signer` in node.json"
            )

    def _sign(self, *extensions: str) -> Note:
        tree = self._log.tree
        checkpoint = Checkpoint(self.origin, tree.size, tree.root(), extensions)
        return sign_note(checkpoint.text, self._signer)

    def _ask_witnesses(self, *, required: bool) -> None:
        for witness in self._witnesses:
            try:
                self._ask(witness)
            except WitnessUnavailable:
                if required:
                    raise
        # A witness that failed is asked again when something needs it; its next checkpoint covers
        # this one.
        self._owed.clear()

    def _ask(self, witness: Witness) -> None:
        note, checkpoint = self._publish()
        try:
            signatures = witness.accept(note, checkpoint, self._log.tree)
        except RolledBack as older:
            # Another process may have shown it more, meanwhile.
            note, checkpoint = self._publish()
            if checkpoint.size < older.kept:
                raise
            signatures = witness.accept(note, checkpoint, self._log.tree)
        with self.cosigned.alone():
            self.cosigned.accept(note.with_signatures(signatures), checkpoint, self._log.tree)


def cosigned_beside(file: FileWitness) -> FileWitness:
    """Where the last co-signed checkpoint is kept, beside the last one."""
    return FileWitness(file.path.with_name(file.path.name + ".cosigned"))


def with_cosignatures(file: FileWitness, note: Note) -> Note:
    """A checkpoint with the signatures that witnesses gave of it."""
    cosigned = cosigned_beside(file).last()
    if cosigned is None or cosigned[0].text != note.text:
        return note
    return note.with_signatures(cosigned[0].signatures)


class WitnessedStore(Store):
    """A store whose every write is witnessed before it returns.

    Args:
      store: The database.
      checkpoints: Its checkpoints, opened.
    """

    def __init__(self, store: Store, checkpoints: Checkpoints) -> None:
        self.url = store.url
        self._store = store
        self._checkpoints = checkpoints

    @property
    def is_sqlite(self) -> bool:
        return self._store.is_sqlite

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._store.read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self._store.write() as connection:
            yield connection
        self._checkpoints.committed()

    def transact(self, work: Callable[[Connection], T]) -> T:
        result = self._store.transact(work)
        self._checkpoints.committed()
        return result

    def close(self) -> None:
        self._store.close()
