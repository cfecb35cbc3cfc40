"""Keys that sign checkpoints: in a file, or wherever else a key never leaves.

A `Signer` is what PKCS#11 modules and cloud key services offer: a public key, and signatures of
bytes by the private one. `open_signer` finds one by address. `file:` is built in; other schemes
come from packages that declare an entry point in the group `sytff_policy.signers`: a function that
gets (address, name) and returns a `Signer`.
"""

from __future__ import annotations

import os
import stat
from importlib import metadata
from pathlib import Path
from typing import Protocol, runtime_checkable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sytff_policy.errors import SytffError
from sytff_policy.ledger.notes import (
    COSIGNATURE,
    ED25519,
    Note,
    NoteError,
    PublicKey,
    Signature,
    b64,
    cosigned_message,
    unb64,
)

ENTRY_POINTS = "sytff_policy.signers"
_PREFIX = "PRIVATE+KEY+"


class KeyUnavailable(SytffError):
    """A signing key that is missing, unreadable, malformed or open to others."""

    code = "key.unavailable"


@runtime_checkable
class Signer(Protocol):
    """Something that holds an Ed25519 key and signs with it.

    `sign` is PureEdDSA over the bytes as they are (CKM_EDDSA without a context; a key service's
    Ed25519 on the raw message), 64 bytes.
    """

    @property
    def public_key(self) -> PublicKey:
        """The key's name and public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Signs `message`.

        Raises:
          KeyUnavailable: If the key cannot be used now.
        """
        ...


class FileSigner:
    """A key in a file, in the format of Go's signed notes.

    The file is one line, `PRIVATE+KEY+name+id+key`, and readable by its owner alone.

    Args:
      name: The key's name.
      key: The private key.
    """

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._public = PublicKey(name, public)

    @property
    def public_key(self) -> PublicKey:
        return self._public

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    @classmethod
    def generate(cls, path: Path, name: str) -> FileSigner:
        """Makes a key and writes it to `path`, which must not exist.

        Raises:
          KeyUnavailable: If the file exists or cannot be written.
        """
        made = cls(name, Ed25519PrivateKey.generate())
        seed = made._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        public = made._public
        line = f"{_PREFIX}{public.name}+{public.id.hex()}+{b64(bytes([ED25519]) + seed)}\n"
        try:
            # Created closed to others, never opened to them for a moment.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise KeyUnavailable(f"no key can be made at {path}: {error.strerror}") from None
        return made

    @classmethod
    def load(cls, path: Path) -> FileSigner:
        """Reads a key.

        Raises:
          KeyUnavailable: If it is missing, malformed, or others may read it.
        """
        try:
            mode = path.stat().st_mode
            content = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise KeyUnavailable(
                f"there is no signing key at {path}; put it back from your backup of secrets/"
            ) from None
        except (OSError, UnicodeDecodeError):
            raise KeyUnavailable(f"the signing key at {path} cannot be read") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyUnavailable(
                f"the signing key at {path} has mode {stat.S_IMODE(mode):o}; others may read it. "
                f"Rotate it if they could have, then `chmod 600 {path}`"
            )
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: str, where: str) -> FileSigner:
        """Reads a key's line; `where` names it in errors, which never show the key."""
        parts = content.strip().removeprefix(_PREFIX).split("+", 2)
        malformed = KeyUnavailable(f"{where} is not a signing key ({_PREFIX}name+id+key)")
        try:
            secret = unb64(parts[2])
        except (NoteError, IndexError):
            raise malformed from None
        if not content.startswith(_PREFIX) or len(secret) != 33 or secret[0] != ED25519:
            raise malformed
        made = cls(parts[0], Ed25519PrivateKey.from_private_bytes(secret[1:]))
        if made.public_key.id.hex() != parts[1]:
            raise malformed
        return made


def open_signer(address: str, name: str, *, relative_to: Path) -> Signer:
    """The signer at `address`.

    Args:
      address: `file:PATH`, or the scheme of an installed signer and what that reads.
      name: The name that the key must have.
      relative_to: Folder that a relative path starts from.

    Raises:
      KeyUnavailable: If there is none, or it is another log's.
    """
    scheme, found, rest = address.partition(":")
    if not found:
        raise KeyUnavailable(f"{address!r} is not a signer's address, such as file:PATH")
    signer: Signer
    if scheme == "file":
        signer = FileSigner.load(relative_to / rest)
    else:
        installed = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
        if scheme not in installed:
            known = ", ".join(sorted({"file", *installed}))
            raise KeyUnavailable(f"no signer for {scheme!r} is installed; there is: {known}")
        signer = installed[scheme].load()(rest, name)
    if signer.public_key.name != name:
        raise KeyUnavailable(f"the key at {scheme}: is of {signer.public_key.name}, not of {name}")
    return signer


def sign_note(text: str, signer: Signer) -> Note:
    """`text` as a note with this signer's signature, which is checked before it is handed out.

    Raises:
      KeyUnavailable: If the signer's answer is not its key's signature.
    """
    public = signer.public_key
    value = signer.sign(text.encode())
    if not public.verifies(text, value):
        raise KeyUnavailable(f"the signer of {public.name} gave a signature that is not its key's")
    return Note(text, (Signature(public.name, public.id, value),))


def cosign(text: str, signer: Signer, *, seconds: int) -> Signature:
    """A witness's cosignature: that it saw `text`, consistent with all before, at that time."""
    key = PublicKey(signer.public_key.name, signer.public_key.key, COSIGNATURE)
    value = seconds.to_bytes(8, "big") + signer.sign(cosigned_message(text, seconds))
    return Signature(key.name, key.id, value)
