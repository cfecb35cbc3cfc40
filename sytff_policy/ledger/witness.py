"""Where the last checkpoint is kept outside the database, so that an older copy is noticed.

A file, best on another disk than the database, and any number of HTTP witnesses of other people:
they speak https://c2sp.org/tlog-witness, keep the last checkpoint that they saw of this log, and
co-sign a newer one only with a proof that it continues the old one.

A database that is older than a kept checkpoint, or forked from it, has forgotten spending or never
held what was signed. Nothing may go on with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sytff_policy.errors import SytffError
from sytff_policy.ledger.notes import (
    COSIGNATURE,
    Checkpoint,
    Note,
    NoteError,
    PublicKey,
    Signature,
    b64,
    signature_line,
)
from sytff_policy.ledger.tree import Tree

TIMEOUT_S = 10.0
MAX_ANSWER = 100_000

_PROCEED = """\
Nothing was changed. To go on:
 1. Stop the node and put the newest database back: one with at least {kept} entries. A copy of \
ledger.db without its -wal file lacks the newest entries.
 2. If it is lost for good, what the missing entries spent cannot be known and counts as the whole \
budget. Keep this folder as evidence, make a new node, and register there only data of people \
whose budget here was not used."""


class WitnessError(SytffError):
    """A database that is not the one that was witnessed.

    Attributes:
      size: Entries in the database.
      kept: Entries that the witness's checkpoint covers.
    """

    def __init__(self, message: str, size: int, kept: int) -> None:
        self.size = size
        self.kept = kept
        super().__init__(f"{message}\n{_PROCEED.format(kept=kept)}")


class RolledBack(WitnessError):
    """The database is older than the last checkpoint."""

    code = "ledger.rolled_back"

    def __init__(self, size: int, kept: int, where: str) -> None:
        super().__init__(
            f"the ledger's database is older than its last checkpoint: it holds {size} entries, "
            f"and {where} has seen {kept}. What the missing {kept - size} spent would be forgotten",
            size,
            kept,
        )


class Forked(WitnessError):
    """The database does not continue the last checkpoint."""

    code = "ledger.forked"

    def __init__(self, size: int, kept: int, where: str) -> None:
        super().__init__(
            f"the ledger's database is forked from its last checkpoint: the first {kept} of its "
            f"{size} entries are not the ones that {where} has seen",
            size,
            kept,
        )


class WitnessUnavailable(SytffError):
    """A witness that does not answer, or a file that cannot be read or written."""

    code = "witness.unavailable"


class WitnessMissing(WitnessUnavailable):
    """The file with the last checkpoint is gone, so nothing shows that the database is whole."""

    code = "witness.missing"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"there is no checkpoint at {path}, where this node keeps its last one. Without it an "
            "older database would go unnoticed. Put the file back; if it is lost, put there the "
            "newest signed checkpoint that you have: the last line of an export, or the one in a "
            "receipt or in an auditor's hands"
        )


class Witness(Protocol):
    """Something that remembers the last checkpoint of this log."""

    def accept(self, note: Note, checkpoint: Checkpoint, tree: Tree) -> Sequence[Signature]:
        """Hands over a checkpoint; returns cosignatures, if this witness gives any.

        Raises:
          RolledBack, Forked: If the checkpoint does not continue the one it remembers.
          WitnessUnavailable: If it cannot be asked.
        """
        ...


@dataclass(frozen=True)
class FileWitness:
    """The last checkpoint in a file.

    Waiting for the disk would double the time of a decision, and a decision alone draws nothing.
    So what need not survive a power cut goes into a second file beside the first, `.newest`: any
    other end of the process, or of the node, leaves it whole. Without it the first file counts.

    Args:
      path: The file. Its folder is made if need be.
    """

    path: Path

    @property
    def newest(self) -> Path:
        return self.path.with_name(self.path.name + ".newest")

    def last(self) -> tuple[Note, Checkpoint] | None:
        """The newest that is kept; None if there is no file.

        Raises:
          WitnessUnavailable: If the first file cannot be read, or is not a checkpoint.
        """
        kept = _read(self.path)
        if kept is None:
            return None
        try:
            newest = _read(self.newest)
        except WitnessUnavailable:
            # Torn by a power cut, or by someone who could as well have removed it.
            return kept
        return kept if newest is None or newest[1].size <= kept[1].size else newest

    def accept(self, note: Note, checkpoint: Checkpoint, tree: Tree) -> Sequence[Signature]:
        kept = _read(self.path)
        if kept is not None:
            require_growth(kept[1], tree, str(self.path))
            if kept[1].text == checkpoint.text:
                note = kept[0].with_signatures(note.signatures)
        self.keep(note, durable=True)
        return ()

    def keep(self, note: Note, *, durable: bool) -> None:
        """Keeps a checkpoint that continues the kept one.

        Args:
          note: The signed checkpoint.
          durable: Whether it must survive a power cut.

        Raises:
          WitnessUnavailable: If it cannot be written.
        """
        content = note.signed_text.encode()
        try:
            if durable:
                self._replace(content)
            else:
                self._overwrite(content)
        except OSError as error:
            raise WitnessUnavailable(f"{self.path} cannot be written: {error.strerror}") from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the file against other processes, so that it only ever moves forwards."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise WitnessUnavailable(f"{self.path} cannot be locked: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, content: bytes) -> None:
        # Whole or not at all: written beside it, on disk before it takes the place.
        descriptor, partial = tempfile.mkstemp(dir=self.path.parent, prefix=".checkpoint-")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                # Public, and auditors read it: no secret is in a checkpoint.
                os.fchmod(stream.fileno(), 0o644)
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, self.path)
        except OSError:
            Path(partial).unlink(missing_ok=True)
            raise

    def _overwrite(self, content: bytes) -> None:
        # In place, because file systems wait for the disk when a file takes another's place.
        descriptor = os.open(self.newest, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.fchmod(descriptor, 0o644)
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)


def _read(path: Path) -> tuple[Note, Checkpoint] | None:
    try:
        note = Note.parse(path.read_bytes())
        return note, Checkpoint.parse(note.text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WitnessUnavailable(f"{path} cannot be read: {error.strerror}") from None
    except NoteError as error:
        raise WitnessUnavailable(f"{path} is not a signed checkpoint: {error}") from None


class HttpWitness:
    """A witness that somebody else runs.

    Args:
      url: Its submission prefix; `/add-checkpoint` is added.
      key: Its key, with algorithm `COSIGNATURE`.
      timeout: Seconds for one answer.
    """

    def __init__(self, url: str, key: PublicKey, *, timeout: float = TIMEOUT_S) -> None:
        if not url.startswith(("https://", "http://")):
            raise WitnessUnavailable(f"{url!r} is not the address of an HTTP witness")
        if key.algorithm != COSIGNATURE:
            raise WitnessUnavailable(f"the key of {key.name} is not a witness's key")
        self.url = url.rstrip("/")
        self.key = key
        self._timeout = timeout
        self._seen = 0

    def accept(self, note: Note, checkpoint: Checkpoint, tree: Tree) -> Sequence[Signature]:
        for _ in range(3):
            old = self._seen
            status, answer = self._post(self._submission(old, note, checkpoint, tree))
            if status == 200:
                signature = self._cosignature(note, answer)
                self._seen = checkpoint.size
                return (signature,)
            if status == 422:
                raise Forked(tree.size, old, self.url)
            if status != 409:
                raise WitnessUnavailable(f"the witness {self.url} answers {status}")
            seen = _size(answer, self.url)
            if seen > checkpoint.size:
                raise RolledBack(checkpoint.size, seen, self.url)
            if seen == old:
                # It knows exactly this size, and another root for it.
                raise Forked(tree.size, seen, self.url)
            self._seen = seen
        raise WitnessUnavailable(f"the witness {self.url} changes its mind; try again")

    def _submission(self, old: int, note: Note, checkpoint: Checkpoint, tree: Tree) -> bytes:
        proof = tree.consistency(old, checkpoint.size) if 0 < old <= checkpoint.size else []
        lines = [f"old {old}", *map(b64, proof), "", note.signed_text]
        return "\n".join(lines).encode()

    def _post(self, body: bytes) -> tuple[int, bytes]:
        request = urllib.request.Request(f"{self.url}/add-checkpoint", data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                return response.status, response.read(MAX_ANSWER)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(MAX_ANSWER)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise WitnessUnavailable(
                f"the witness {self.url} cannot be reached ({reason}), so nothing shows that this "
                "database is the newest. Try again when it answers; to go on without it, take it "
                "out of `witness` in node.json"
            ) from None

    def _cosignature(self, note: Note, answer: bytes) -> Signature:
        try:
            lines = answer.decode().splitlines()
            cosigned = Note(note.text, tuple(signature_line(line) for line in lines if line))
            if cosigned.signed_by([self.key]):
                for item in cosigned.signatures:
                    if (item.name, item.key_id) == (self.key.name, self.key.id):
                        return item
        except (NoteError, UnicodeDecodeError) as error:
            raise WitnessUnavailable(f"the witness {self.url} answers wrongly: {error}") from None
        raise WitnessUnavailable(
            f"the witness {self.url} did not sign with the key {self.key.text}"
        )


def require_growth(kept: Checkpoint, tree: Tree, where: str) -> None:
    """That `tree` continues a checkpoint.

    Raises:
      RolledBack: If it is smaller.
      Forked: If it began otherwise.
    """
    if kept.size > tree.size:
        raise RolledBack(tree.size, kept.size, where)
    if tree.root(kept.size) != kept.root:
        raise Forked(tree.size, kept.size, where)


def now_seconds() -> int:
    """Unix time, which witnesses sign."""
    return int(time.time())


def _size(answer: bytes, url: str) -> int:
    text = answer.decode("ascii", "replace").strip()
    if not (text.isdigit() and len(text) < 19):
        raise WitnessUnavailable(f"the witness {url} refuses without saying what it has seen")
    return int(text)
