"""Where a node's signing key and its last checkpoint are: `signer` and `witness` of node.json.

    "signer": "file:secrets/ledger.key",
    "witness": {
      "file": "/mnt/other-disk/checkpoint",
      "http": [{"url": "https://witness.example/", "key": "witness.example+..."}]
    }

Both have defaults in the node's folder. A witness file in that folder notices a database that was
put back alone; against someone who puts back the whole folder it must lie elsewhere, or a witness
of other people must be named.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sytff_policy.errors import InvalidInput
from sytff_policy.ledger.checkpoints import KEY, Checkpoints, WitnessedStore, origin_of
from sytff_policy.ledger.keys import FileSigner, KeyUnavailable, Signer, open_signer
from sytff_policy.ledger.ledger import Ledger
from sytff_policy.ledger.notes import NoteError, PublicKey
from sytff_policy.ledger.witness import FileWitness, HttpWitness

SIGNER = "file:secrets/ledger.key"
WITNESS_FILE = "witness/checkpoint"
KEYS_FILE = "ledger.keys"
SETTINGS = "node.json"


@dataclass(frozen=True)
class Custody:
    """One node's key and witnesses.

    Attributes:
      folder: The node's folder, from which relative paths start.
      origin: The log's name, which its keys have.
      signer: Address of the signing key.
      next_signer: Address of the key that a rotation hands over to; empty outside of one.
      file: Where the last checkpoint is kept.
      http: (url, key) of every HTTP witness.
    """

    folder: Path
    origin: str
    signer: str = SIGNER
    next_signer: str = ""
    file: str = WITNESS_FILE
    http: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, folder: Path, settings: dict[str, Any]) -> Custody:
        """From a node's settings.

        Raises:
          InvalidInput: If they are malformed.
        """
        witness = settings.get("witness", {})
        try:
            made = cls(
                folder,
                origin_of(settings["node_id"]),
                settings.get("signer", SIGNER),
                settings.get("next_signer", ""),
                witness.get("file", WITNESS_FILE),
                tuple((item["url"], item["key"]) for item in witness.get("http", [])),
            )
        except (AttributeError, KeyError, TypeError):
            made = cls(folder, "", "")
        texts = (made.signer, made.next_signer, made.file, *(t for pair in made.http for t in pair))
        if not made.signer or not all(isinstance(item, str) for item in texts):
            raise InvalidInput(
                "witness",
                f"is malformed in {folder / SETTINGS}",
                limit='{"file": PATH, "http": [{"url": URL, "key": KEY}]}, and "signer": ADDRESS',
            )
        return made

    def settings(self) -> dict[str, Any]:
        """What node.json says of it."""
        document: dict[str, Any] = {"signer": self.signer}
        if self.next_signer:
            document["next_signer"] = self.next_signer
        http = [{"url": url, "key": key} for url, key in self.http]
        document["witness"] = {"file": self.file, **({"http": http} if http else {})}
        return document

    @property
    def witness(self) -> FileWitness:
        """The file with the last checkpoint."""
        return FileWitness(self.folder / self.file)

    def make_key(self) -> None:
        """Makes the key of a new node, if it is one in a file."""
        if self.signer.startswith("file:"):
            FileSigner.generate(self.folder / self.signer.removeprefix("file:"), self.origin)

    def witnesses(self) -> list[HttpWitness]:
        """The HTTP witnesses.

        Raises:
          InvalidInput: If a key is malformed.
        """
        try:
            return [HttpWitness(url, PublicKey.parse(key)) for url, key in self.http]
        except NoteError as error:
            raise InvalidInput("witness.http", str(error)) from None

    def open(self, ledger: Ledger) -> tuple[Ledger, Checkpoints]:
        """The ledger with every write witnessed, once it is known to be the witnessed one.

        Raises:
          RolledBack, Forked, WitnessUnavailable: See `Checkpoints.open`.
          KeyUnavailable: If the log's key is not at hand.
        """
        entry = next(ledger.entries(kind=KEY, newest_first=True, limit=1), None)
        if entry is None and self.signer == SIGNER and not (self.folder / SIGNER[5:]).exists():
            # A node of a release that signed nothing.
            self.make_key()
        signer = self._signer("" if entry is None else entry.body["key"])
        checkpoints = Checkpoints(ledger.store, signer, self.witness, self.witnesses())
        checkpoints.open()
        self._write_keys(checkpoints)
        return Ledger(WitnessedStore(ledger.store, checkpoints)), checkpoints

    def rotate(self, checkpoints: Checkpoints, address: str | None) -> PublicKey:
        """Hands the log over to another key.

        The settings name both keys while the log changes hands, so that a node that stops in
        between finds the one that the log has.

        Args:
          checkpoints: The log's, opened.
          address: Where the new key is; None makes one in a file, and removes the present file.

        Returns:
          The new key.
        """
        if address is None:
            number = len(checkpoints.keys) + 1
            address = f"file:secrets/ledger-{number}.key"
            path = self.folder / address.removeprefix("file:")
            # Left by a rotation that stopped before the log knew of it.
            path.unlink(missing_ok=True)
            FileSigner.generate(path, self.origin)
        successor = open_signer(address, self.origin, relative_to=self.folder)
        _rewrite(self.folder, replace(self, next_signer=address))
        checkpoints.rotate(successor)
        self._write_keys(checkpoints)
        self._handed_over(address)
        return successor.public_key

    def trusted(self) -> list[str]:
        """The log's public keys, as this node keeps them beside the database; newest last."""
        try:
            return (self.folder / KEYS_FILE).read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []

    def _signer(self, current: str) -> Signer:
        if self.next_signer:
            successor = open_signer(self.next_signer, self.origin, relative_to=self.folder)
            if successor.public_key.text == current:
                self._handed_over(self.next_signer)
                return successor
        return open_signer(self.signer, self.origin, relative_to=self.folder)

    def _handed_over(self, address: str) -> None:
        _rewrite(self.folder, replace(self, signer=address, next_signer=""))
        if self.signer.startswith("file:") and address != self.signer:
            (self.folder / self.signer.removeprefix("file:")).unlink(missing_ok=True)

    def _write_keys(self, checkpoints: Checkpoints) -> None:
        keys = [key.text for key in checkpoints.keys]
        if keys != self.trusted():
            _replace(self.folder / KEYS_FILE, "".join(f"{key}\n" for key in keys))


def _rewrite(folder: Path, custody: Custody) -> None:
    path = folder / SETTINGS
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("next_signer", None)
    settings |= custody.settings()
    _replace(path, json.dumps(settings, indent=2) + "\n")


def _replace(path: Path, content: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be written: {error.strerror}") from None
