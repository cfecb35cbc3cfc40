"""Signed notes and checkpoints, in formats that other tools read.

- Signed notes and their keys: https://c2sp.org/signed-note, as in Go's golang.org/x/mod/sumdb/note.
- Checkpoints: https://c2sp.org/tlog-checkpoint. Body: origin, size, root; then extension lines.
- Cosignatures of witnesses: https://c2sp.org/tlog-cosignature, version 1.

A note is text that ends in a newline, an empty line, and one line for each signature. A key is
known by its name and by four bytes of a hash of name and key; a signature of an unknown key says
nothing and is skipped, a wrong one of a known key is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sytff_policy.errors import SytffError

ED25519 = 1
COSIGNATURE = 4
"""Algorithms of keys: a log's signature of the text, and a witness's of time and text."""

MAX_NOTE = 1_000_000
"""Bytes of the largest note that is read."""

_SIGNATURE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


class NoteError(SytffError):
    """A note, key or checkpoint that is malformed or not signed as it must be."""

    code = "checkpoint.invalid"


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies notes.

    Attributes:
      name: Whose it is; no spaces, no plus sign.
      key: Ed25519 public key, 32 bytes.
      algorithm: `ED25519` for a log, `COSIGNATURE` for a witness.
    """

    name: str
    key: bytes
    algorithm: int = ED25519

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^\s+]{1,200}", self.name) or not self.name.isprintable():
            raise NoteError(f"{self.name!r} cannot be a key's name: no spaces, no plus sign")
        if len(self.key) != 32 or self.algorithm not in (ED25519, COSIGNATURE):
            raise NoteError(f"the key of {self.name} is not an Ed25519 key of a log or a witness")

    @property
    def id(self) -> bytes:
        """Four bytes that tell this key from others of the same name."""
        content = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.key
        return hashlib.sha256(content).digest()[:4]

    @property
    def text(self) -> str:
        """`name+id+key`, as other tools print and read it."""
        return f"{self.name}+{self.id.hex()}+{b64(bytes([self.algorithm]) + self.key)}"

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Reads `text`.

        Raises:
          NoteError: If it is not a key, or its id is another key's.
        """
        parts = text.strip().split("+", 2)
        content = b"" if len(parts) < 3 else unb64(parts[2])
        if not content:
            raise NoteError(f"{text.strip()[:120]!r} is not a public key: name+id+key")
        made = cls(parts[0], content[1:], content[0])
        if made.id.hex() != parts[1]:
            raise NoteError(f"the key of {made.name} has id {made.id.hex()}, not {parts[1]}")
        return made

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether `signature` is this key's, over `text`."""
        message = text.encode()
        if self.algorithm == COSIGNATURE:
            if len(signature) != 72:
                return False
            seconds, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = cosigned_message(text, seconds)
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Signature:
    """A signature line."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        return f"\u2014 {self.name} {b64(self.key_id + self.value)}\n"


@dataclass(frozen=True)
class Note:
    """Text with signatures, none of them checked yet."""

    text: str
    signatures: tuple[Signature, ...]

    @property
    def signed_text(self) -> str:
        """The note as it travels."""
        return self.text + "\n" + "".join(item.line for item in self.signatures)

    @classmethod
    def parse(cls, signed: str | bytes) -> Note:
        """Reads a note.

        Raises:
          NoteError: If it is malformed.
        """
        try:
            content = signed.decode() if isinstance(signed, bytes) else signed
        except UnicodeDecodeError:
            raise NoteError("a note is UTF-8 text") from None
        if len(content.encode()) > MAX_NOTE:
            raise NoteError(f"a note has at most {MAX_NOTE} bytes")
        if any(ord(char) < 0x20 and char != "\n" for char in content):
            raise NoteError("a note has no control characters")
        text, found, rest = content.rpartition("\n\n")
        if not (found and rest.endswith("\n")):
            raise NoteError("a note is text, an empty line, and signatures")
        return cls(text + "\n", tuple(signature_line(line) for line in rest[:-1].split("\n")))

    def signed_by(self, keys: Iterable[PublicKey]) -> list[PublicKey]:
        """Those of `keys` that signed.

        Raises:
          NoteError: If there is a wrong signature of one of them.
        """
        signers: list[PublicKey] = []
        for key in keys:
            for item in self.signatures:
                if (item.name, item.key_id) != (key.name, key.id):
                    continue
                if not key.verifies(self.text, item.value):
                    raise NoteError(f"the signature of {key.name}+{key.id.hex()} is wrong")
                if key not in signers:
                    signers.append(key)
        return signers

    def with_signatures(self, more: Iterable[Signature]) -> Note:
        """This note with further signatures."""
        new = tuple(item for item in more if item not in self.signatures)
        return Note(self.text, self.signatures + new)


@dataclass(frozen=True)
class Checkpoint:
    """What a log's key says of the log.

    Attributes:
      origin: The log's name; the name of its keys too.
      size: Number of entries.
      root: Root of the tree over them.
      extensions: Further lines.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        lines = (self.origin, str(self.size), b64(self.root), *self.extensions)
        return "".join(line + "\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Reads the text of a note.

        Raises:
          NoteError: If it is not a checkpoint, or not in its one spelling.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise NoteError("a checkpoint is origin, size, root and further lines, none empty")
        if not re.fullmatch(r"0|[1-9][0-9]{0,17}", lines[1]):
            raise NoteError(f"{lines[1][:40]!r} is not a checkpoint's size")
        root = unb64(lines[2])
        if len(root) != 32:
            raise NoteError(f"{lines[2][:80]!r} is not a checkpoint's root")
        return cls(lines[0], int(lines[1]), root, tuple(lines[3:-1]))


def signature_line(line: str) -> Signature:
    """Reads one signature line.

    Raises:
      NoteError: If it is none.
    """
    match = _SIGNATURE.fullmatch(line)
    content = unb64(match[2]) if match else b""
    if match is None or len(content) <= 4:
        raise NoteError(f"{line[:120]!r} is not a signature line")
    return Signature(match[1], content[:4], content[4:])


def cosigned_message(text: str, seconds: int) -> bytes:
    """What a witness signs: that it saw this text at this time (Unix seconds)."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def b64(data: bytes) -> str:
    """Standard base64, padded."""
    return base64.b64encode(data).decode()


def unb64(text: str) -> bytes:
    """Inverse of `b64`; refuses every other spelling of the same bytes.

    Raises:
      NoteError: If it is not base64.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError(f"{text[:80]!r} is not base64") from None
    if b64(data) != text:
        raise NoteError(f"{text[:80]!r} is not the one spelling of its bytes")
    return data
