"""Go's checksum database code, which shares nothing with ours, accepts what we sign and prove."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.canonical import canonical_bytes
from sytff_policy.home import Home
from sytff_policy.ledger.checkpoints import LogTree
from sytff_policy.ledger.keys import FileSigner, sign_note
from sytff_policy.ledger.notes import Checkpoint, Note, b64
from tests.support import ALICE, ask, make_home

HERE = Path(__file__).parent
GO = shutil.which("go")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(GO is None, reason="Go is not here: it reads our checkpoints and proofs"),
]

Case = dict[str, Any]


@pytest.fixture(scope="module")
def interop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built at the versions that go.mod and go.sum pin."""
    assert GO is not None
    binary = tmp_path_factory.mktemp("interop") / "interop"
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    subprocess.run([GO, "build", "-o", binary, "."], cwd=HERE, env=environment, check=True)
    return binary


def batch(interop: Path, cases: list[Case]) -> list[str]:
    lines = b"\n".join(canonical_bytes(case) for case in cases)
    done = subprocess.run([interop, "batch"], input=lines, stdout=subprocess.PIPE, check=True)
    answers = done.stdout.decode().splitlines()
    assert len(answers) == len(cases)
    return answers


def accepts(interop: Path, *arguments: str | Path) -> bool:
    command = [interop, *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with make_home(tmp_path_factory.mktemp("node")) as made:
        for _ in range(4):
            made.gate.admit(ask(made, rounds=10**6), "registry", ALICE)
            made.gate.admit(ask(made), "registry", ALICE)
        yield made


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.checkpoints.keys[-1].text


@pytest.fixture(scope="module")
def cases(home: Home, key: str) -> list[Case]:
    """Every entry in the newest tree, and growth from every size to the newest."""
    tree = LogTree(home.ledger.store)
    with home.ledger.store.read() as connection:
        tree.sync(connection)
    signer = FileSigner.load(home.folder / "secrets" / "ledger.key")

    def note(size: int) -> str:
        made = Checkpoint(signer.public_key.name, size, tree.tree.root(size))
        return sign_note(made.text, signer).signed_text

    newest = note(tree.size)
    made: list[Case] = [{"op": "note", "key": key, "note": note(n)} for n in range(tree.size + 1)]
    for entry in home.ledger.entries():
        proof = [b64(step) for step in tree.tree.inclusion(entry.seq)]
        made.append(
            {
                "op": "record",
                "key": key,
                "note": newest,
                "index": entry.seq,
                "leaf": entry.leaf,
                "proof": proof,
            }
        )
    for old in range(1, tree.size + 1):
        proof = [b64(step) for step in tree.tree.consistency(old)]
        made.append({"op": "tree", "key": key, "note": newest, "old": note(old), "proof": proof})
    return made


def test_go_accepts_every_checkpoint_and_proof(interop: Path, cases: list[Case]) -> None:
    assert set(batch(interop, cases)) == {"ok"}


def _other(text: str) -> str:
    """The same base64 with another first byte."""
    return ("A" if text[0] != "A" else "B") + text[1:]


def _signature_changed(note: str) -> str:
    head, dash, tail = note.rpartition(" ")
    return head + dash + tail[:20] + _other(tail[20:])


ALTERATIONS: dict[str, Callable[[Case], Case]] = {
    "another size": lambda c: {**c, "note": _line(c["note"], 1, "1000")},
    "another root": lambda c: {**c, "note": _line(c["note"], 2, _other(c["note"].split("\n")[2]))},
    "another origin": lambda c: {**c, "note": c["note"].replace("sytff-policy/", "sytff-other/")},
    "another signature": lambda c: {**c, "note": _signature_changed(c["note"])},
    "no signature": lambda c: {**c, "note": c["note"].partition("\n\n")[0] + "\n\n"},
    "another key": lambda c: {**c, "key": OTHER_KEY},
    "a record in another place": lambda c: {**c, "index": c["index"] + 1},
    "another leaf": lambda c: {**c, "leaf": c["leaf"].replace("seq", "sep")},
    "a step changed": lambda c: {**c, "proof": [_other(c["proof"][0]), *c["proof"][1:]]},
    "a step missing": lambda c: {**c, "proof": c["proof"][:-1]},
    "a step more": lambda c: {**c, "proof": [*c["proof"], c["proof"][0]]},
    "the old checkpoint changed": lambda c: {**c, "old": _signature_changed(c["old"])},
    "old and new exchanged": lambda c: {**c, "old": c["note"], "note": c["old"]},
}
# From golang.org/x/mod/sumdb/note, over a seed that anyone can make.
OTHER_KEY = "sytff-policy/node-golden+f13f97b7+Aa32poV9uWHabHkjyry04xYwLMpcL80RzRrcUuOzjt13"
NEEDS = {
    "a record in another place": "index",
    "another leaf": "leaf",
    "a step changed": "proof",
    "a step missing": "proof",
    "a step more": "proof",
    "the old checkpoint changed": "old",
    "old and new exchanged": "old",
}


def _line(note: str, number: int, text: str) -> str:
    lines = note.split("\n")
    lines[number] = text
    return "\n".join(lines)


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_go_rejects_it_altered(interop: Path, cases: list[Case], alteration: str) -> None:
    field = NEEDS.get(alteration, "note")
    # A tree that continues itself has an empty proof, of which no step can be changed.
    fitting = [case for case in cases if case.get(field) and case.get("old") != case["note"]]
    altered = [ALTERATIONS[alteration](case) for case in fitting]
    assert len(altered) >= 10
    answers = batch(interop, altered)
    assert "ok" not in answers


@pytest.fixture(scope="module")
def export(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "ledger.jsonl"
    with Home.view(home.folder) as view, path.open("wb") as stream:
        view.export(stream)
    return path


def test_go_accepts_an_export_and_rejects_it_altered(
    interop: Path, export: Path, key: str, tmp_path: Path
) -> None:
    assert accepts(interop, "export", key, export)
    assert not accepts(interop, "export", OTHER_KEY, export)
    lines = export.read_bytes().splitlines(keepends=True)
    altered = {
        "changed": [lines[0].replace(b"node-", b"mode-"), *lines[1:]],
        "deleted": lines[:3] + lines[4:],
        "reordered": [*lines[:3], lines[4], lines[3], *lines[5:]],
        "truncated": lines[:-1],
        "shortened": [*lines[:-2], lines[-1]],
        "repeated": [*lines[:4], *lines[3:]],
    }
    for name, content in altered.items():
        path = tmp_path / name
        path.write_bytes(b"".join(content))
        assert not accepts(interop, "export", key, path), name


def test_go_accepts_the_golden_log_under_its_last_key(interop: Path) -> None:
    golden = HERE.parent / "ledger" / "golden" / "signed"
    first, last = (golden / "keys").read_text().split()
    assert accepts(interop, "export", last, golden / "export.jsonl")
    assert not accepts(interop, "export", first, golden / "export.jsonl")


def test_go_accepts_a_receipt_and_rejects_it_altered(
    interop: Path, home: Home, key: str, tmp_path: Path
) -> None:
    with Home.view(home.folder) as view:
        decisions = list(view.entries(kind="decision"))
        receipts = [view.receipt(entry.body["decision_id"]) for entry in decisions]
    for number, receipt in enumerate(receipts):
        path = tmp_path / f"{number}.json"
        path.write_bytes(canonical_bytes(receipt))
        assert accepts(interop, "receipt", key, path)
        assert not accepts(interop, "receipt", OTHER_KEY, path)
        content = json.loads(path.read_bytes())
        content["entries"][0]["leaf"]["body"]["decision"] = "review"
        path.write_bytes(canonical_bytes(content))
        assert not accepts(interop, "receipt", key, path)


def test_a_cosigned_checkpoint_is_still_a_note_to_go(interop: Path, cases: list[Case]) -> None:
    note = Note.parse(cases[-1]["note"])
    foreign = note.signed_text + "— witness.example/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9\n"
    assert batch(interop, [{**cases[0], "note": foreign}]) == ["ok"]
