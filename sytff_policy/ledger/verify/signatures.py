"""Public keys, signed notes and checkpoints, read for verification alone."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sytff_policy.ledger.verify.report import Wrong

NEXT_KEY = "next-key "
_DASH = "\u2014 "


@dataclass(frozen=True)
class Key:
    """An Ed25519 key by name; `text` is its only spelling."""

    text: str
    name: str
    id: bytes
    public: bytes

    @classmethod
    def read(cls, text: object, *, of_witness: bool = False) -> Key:
        """Reads `name+id+key` of a log, or of a witness."""
        fields = text.split("+", 2) if isinstance(text, str) else []
        if len(fields) != 3 or not fields[0] or any(char.isspace() for char in fields[0]):
            raise Wrong("verify.key", f"{text!r} is not a public key")
        content = _bytes(fields[2])
        identity = hashlib.sha256(fields[0].encode() + b"\n" + content).digest()[:4]
        algorithm = b"\x04" if of_witness else b"\x01"
        if content[:1] != algorithm or len(content) != 33 or identity.hex() != fields[1]:
            raise Wrong("verify.key", f"{text!r} is not such an Ed25519 key with its id")
        return cls(str(text), fields[0], identity, content[1:])


@dataclass(frozen=True)
class SignedCheckpoint:
    """A note that is a checkpoint; its signatures are checked by `require_signature`."""

    text: str
    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...]
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def read(cls, note: object) -> SignedCheckpoint:
        """Reads a note."""
        if not isinstance(note, str):
            raise Wrong("verify.checkpoint", "the checkpoint is not text")
        text, gap, rest = note.rpartition("\n\n")
        lines = text.split("\n")
        if not gap or not rest.endswith("\n") or len(lines) < 3 or not all(lines):
            raise Wrong("verify.checkpoint", "the checkpoint is not a signed note")
        size = lines[1]
        if not (size.isascii() and size.isdigit() and len(size) < 19 and str(int(size)) == size):
            raise Wrong("verify.checkpoint", f"{size[:40]!r} is not a size")
        return cls(
            text=text + "\n",
            origin=lines[0],
            size=int(size),
            root=_bytes(lines[2]),
            extensions=tuple(lines[3:]),
            signatures=tuple(_signature(line) for line in rest[:-1].split("\n")),
        )

    def require_signature(self, key: Key) -> None:
        """That `key` signed, and never wrongly."""
        mine = self._by(key)
        if self.origin != key.name or not mine:
            raise Wrong("verify.signature", f"the checkpoint is not signed by {key.text}")
        for value in mine:
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(value, self.text.encode())
            except InvalidSignature:
                message = f"the checkpoint's signature by {key.text} is wrong"
                raise Wrong("verify.signature", message) from None

    def require_cosignature(self, witness: Key) -> None:
        """That a witness signed it, with the time at which it did."""
        mine = self._by(witness)
        if not mine:
            raise Wrong("verify.unwitnessed", f"the checkpoint is not co-signed by {witness.text}")
        for value in mine:
            seconds = int.from_bytes(value[:8], "big")
            message = f"cosignature/v1\ntime {seconds}\n{self.text}".encode()
            try:
                Ed25519PublicKey.from_public_bytes(witness.public).verify(value[8:], message)
            except InvalidSignature:
                wrong = f"the checkpoint's cosignature by {witness.text} is wrong"
                raise Wrong("verify.signature", wrong) from None

    def _by(self, key: Key) -> list[bytes]:
        mine = [value for name, value in self.signatures if name == key.name]
        return [value[4:] for value in mine if value[:4] == key.id]


def _signature(line: str) -> tuple[str, bytes]:
    name, _, value = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not name:
        raise Wrong("verify.checkpoint", f"{line[:80]!r} is not a signature line")
    return name, _bytes(value)


def _bytes(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    if not content or base64.b64encode(content).decode() != text:
        raise Wrong("verify.checkpoint", f"{text[:80]!r} is not base64 in its one spelling")
    return content
