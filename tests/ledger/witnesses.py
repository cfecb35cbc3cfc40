"""A witness as other people run one: https://c2sp.org/tlog-witness over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sytff_policy.ledger.keys import FileSigner, cosign
from sytff_policy.ledger.notes import COSIGNATURE, Checkpoint, Note, PublicKey, unb64
from sytff_policy.ledger.tree import EMPTY_ROOT, verify_consistency

NAME = "witness.example/w1"


class Witness:
    """What it knows of each log, and how it answers.

    Attributes:
      refuses: A status to answer with instead, as a broken or hostile witness would.
      asked: How many checkpoints it was shown.
    """

    def __init__(self) -> None:
        self._signer = FileSigner(NAME, Ed25519PrivateKey.generate())
        self.key = PublicKey(NAME, self._signer.public_key.key, COSIGNATURE)
        self.logs: dict[str, tuple[list[PublicKey], int, bytes]] = {}
        self.refuses: tuple[int, bytes] | None = None
        self.asked = 0
        self.url = ""

    def trust(self, key: PublicKey) -> None:
        known = self.logs.get(key.name, ([], 0, EMPTY_ROOT))
        self.logs[key.name] = ([*known[0], key], *known[1:])

    def answer(self, body: bytes) -> tuple[int, bytes]:
        self.asked += 1
        if self.refuses is not None:
            return self.refuses
        head, _, signed = body.partition(b"\n\n")
        first, *proof = head.decode().split("\n")
        note = Note.parse(signed)
        checkpoint = Checkpoint.parse(note.text)
        old = int(first.removeprefix("old "))
        if checkpoint.origin not in self.logs:
            return 404, b""
        keys, size, root = self.logs[checkpoint.origin]
        if not note.signed_by(keys):
            return 403, b""
        if old > checkpoint.size:
            return 400, b""
        if old != size or (old == checkpoint.size and root != checkpoint.root):
            return 409, f"{size}\n".encode()
        steps = [unb64(line) for line in proof]
        if not verify_consistency(old, checkpoint.size, root, checkpoint.root, steps):
            return 422, b""
        self.logs[checkpoint.origin] = (keys, checkpoint.size, checkpoint.root)
        return 200, cosign(note.text, self._signer, seconds=1_700_000_000).line.encode()


@contextmanager
def running() -> Iterator[Witness]:
    """A witness that listens on this machine until the end."""
    witness = Witness()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/w/add-checkpoint"
            status, answer = witness.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    witness.url = f"http://127.0.0.1:{server.server_port}/w"
    try:
        yield witness
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
