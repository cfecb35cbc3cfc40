"""Signing keys: one conformance suite for whatever holds one, and the file's own rules."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.ledger.keys import (
    ENTRY_POINTS,
    FileSigner,
    KeyUnavailable,
    Signer,
    open_signer,
    sign_note,
)
from sytff_policy.ledger.notes import PublicKey

NAME = "sytff-policy/node-test"

# Reads the key file with code of its own: a token shares nothing with the node but the interface.
TOKEN = """
import base64, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
fields = open(sys.argv[1]).read().strip().split("+", 4)
key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(fields[4])[1:])
if sys.argv[2] == "public":
    public = bytes([1]) + key.public_key().public_bytes_raw()
    print(fields[2], fields[3], base64.b64encode(public).decode(), sep="+")
else:
    sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read()))
"""


class Token:
    """A key in another process, as a hardware token or a key service holds it."""

    def __init__(self, address: str, name: str) -> None:
        self._address = address

    def _ask(self, what: str, message: bytes = b"") -> bytes:
        command = [sys.executable, "-c", TOKEN, self._address, what]
        return subprocess.run(command, input=message, stdout=subprocess.PIPE, check=True).stdout

    @property
    def public_key(self) -> PublicKey:
        return PublicKey.parse(self._ask("public").decode())

    def sign(self, message: bytes) -> bytes:
        return self._ask("sign", message)


def installed(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    point = metadata.EntryPoint("token", f"{module.__name__}:Token", ENTRY_POINTS)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [point])


@pytest.fixture(params=["file", "token"])
def signer(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signer:
    FileSigner.generate(tmp_path / "key", NAME)
    if request.param == "token":
        installed(monkeypatch, sys.modules[__name__])
    return open_signer(f"{request.param}:{tmp_path / 'key'}", NAME, relative_to=tmp_path)


def test_what_it_signs_its_public_key_verifies(signer: Signer) -> None:
    assert isinstance(signer, Signer)
    for message in (b"", b"text\n", bytes(range(256)) * 300):
        signature = signer.sign(message)
        assert len(signature) == 64
        assert signer.sign(message) == signature
    note = sign_note("text\n", signer)
    assert note.signed_by([signer.public_key]) == [signer.public_key]


def test_a_key_of_another_log_is_refused(signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(KeyUnavailable, match="not of node-other"):
        open_signer(f"file:{tmp_path / 'key'}", "node-other", relative_to=tmp_path)


def test_a_relative_path_starts_from_the_nodes_folder(tmp_path: Path) -> None:
    made = FileSigner.generate(tmp_path / "key", NAME)
    assert open_signer("file:key", NAME, relative_to=tmp_path).public_key == made.public_key


@pytest.mark.parametrize("address", ["", "key", "pkcs11:token=none"])
def test_an_address_that_nothing_serves_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(KeyUnavailable):
        open_signer(address, NAME, relative_to=tmp_path)


def test_a_signer_that_answers_wrongly_is_found_before_anyone_gets_its_note(
    tmp_path: Path,
) -> None:
    class Broken(FileSigner):
        def sign(self, message: bytes) -> bytes:
            return super().sign(message + b"!")

    made = FileSigner.generate(tmp_path / "key", NAME)
    with pytest.raises(KeyUnavailable, match="not its key's"):
        sign_note("text\n", Broken(NAME, made._key))


def test_a_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    FileSigner.generate(path, NAME)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(KeyUnavailable, match="mode 640"):
        FileSigner.load(path)


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key"
    FileSigner.generate(path, NAME)
    before = path.read_bytes()
    with pytest.raises(KeyUnavailable):
        FileSigner.generate(path, NAME)
    assert path.read_bytes() == before


def test_a_missing_key_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(KeyUnavailable, match="no signing key at"):
        FileSigner.load(tmp_path / "none")


ALTERATIONS: dict[str, Callable[[str], str]] = {
    "empty": lambda line: "",
    "without its prefix": lambda line: line.removeprefix("PRIVATE+KEY+"),
    "another id": lambda line: line[: line.rindex("+") - 1] + "x" + line[line.rindex("+") :],
    "another name": lambda line: line.replace("node-test", "node-else"),
    "cut": lambda line: line[:-9],
    "another key": lambda line: line[:-6] + "AAAA" + line[-2:],
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_a_damaged_key_is_refused_and_not_shown(alteration: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    FileSigner.generate(path, NAME)
    line = path.read_text()
    path.write_text(ALTERATIONS[alteration](line))
    with pytest.raises(KeyUnavailable) as caught:
        FileSigner.load(path)
    assert line.split("+", 4)[4][4:24] not in str(caught.value)
