"""Receipts: what a researcher can show to anyone, and what nobody can make of them."""

from __future__ import annotations

import copy
import io
import json
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.errors import NotFound
from sytff_policy.home import Home
from sytff_policy.ledger.errors import LedgerUnavailable
from sytff_policy.ledger.receipts import ReceiptFault
from sytff_policy.ledger.verify import verify_export, verify_receipt
from sytff_policy.ledger.view import LedgerView
from tests.ledger.helpers import finish
from tests.ledger.test_witness import _edit
from tests.support import ALICE, ask, make_home

Ids = dict[str, str]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = make_home(tmp_path)
    yield made
    made.close()


@pytest.fixture
def decided(home: Home) -> Ids:
    """A denial, and an allowed run that was trained and released."""
    denied = home.gate.admit(ask(home, rounds=10**6), "registry", ALICE).decision
    allowed = home.gate.admit(ask(home), "registry", ALICE)
    assert allowed.run_id is not None
    finish(home.ledger, allowed.run_id, rounds=10)
    home.ledger.release(allowed.run_id, {"weights.safetensors": "sha256:" + "1" * 64})
    return {"denied": denied.decision_id, "allowed": allowed.decision.decision_id}


@pytest.fixture
def view(home: Home) -> Iterator[LedgerView]:
    with Home.view(home.folder) as made:
        yield made


def keys(view: LedgerView) -> list[str]:
    return [key.text for key in view.public_keys()]


def test_a_receipt_of_a_denial_proves_it(view: LedgerView, decided: Ids) -> None:
    receipt = json.loads(json.dumps(view.receipt(decided["denied"])))
    report = verify_receipt(receipt, keys(view))
    assert report.problem == ""
    assert [kind for _, kind in report.entries] == ["decision"]
    assert receipt["entries"][0]["leaf"]["body"]["decision"] == "deny"


def test_a_receipt_of_an_allowed_request_proves_what_became_of_it(
    view: LedgerView, decided: Ids
) -> None:
    report = verify_receipt(view.receipt(decided["allowed"]), keys(view))
    assert report.ok
    kinds = [kind for _, kind in report.entries]
    assert kinds == ["decision", "reservation", "settlement", "release"]


def test_an_old_receipt_stays_valid_while_the_log_grows_and_its_key_changes(
    home: Home, view: LedgerView, decided: Ids
) -> None:
    receipt = view.receipt(decided["denied"])
    home.custody.rotate(home.checkpoints, None)
    home.ledger.grant("registry", Decimal(1), by="owner")
    assert len(keys(view)) == 2
    assert verify_receipt(receipt, keys(view)).ok
    newer = view.receipt(decided["denied"])
    assert verify_receipt(newer, keys(view)[1:]).ok
    assert not verify_receipt(newer, keys(view)[:1]).ok


def test_a_receipt_of_an_unknown_decision_is_not_found(view: LedgerView, decided: Ids) -> None:
    with pytest.raises(NotFound):
        view.receipt("dec-unknown")


def test_an_altered_database_gives_no_receipt(home: Home, view: LedgerView, decided: Ids) -> None:
    _edit("UPDATE entries SET leaf = replace(leaf, 'alice', 'malice')")(home.folder / "ledger.db")
    with pytest.raises(ReceiptFault, match="altered"):
        view.receipt(decided["denied"])


def _at(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(receipt: dict[str, Any]) -> None:
        target: Any = receipt
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return edit


FORGERIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "another outcome": _at("entries", 0, "leaf", "body", "decision", value="deny"),
    "another place": _at("entries", 0, "leaf", "seq", value=0),
    "another charge": _at("entries", 1, "leaf", "body", "charge", value=["0"]),
    "another time": _at("entries", 0, "leaf", "time_ns", value="1"),
    "another decision's name": _at("decision_id", value="dec-0"),
    "another format": _at("format", value="sytff-receipt/2"),
    "no entries": _at("entries", value=[]),
    "no proof": _at("entries", 0, "proof", value=[]),
    "more in the receipt": _at("note", value="trust me"),
    "more in an entry": _at("entries", 0, "note", value="trust me"),
    "no checkpoint": _at("checkpoint", value=None),
    "a proof that is none": _at("entries", 0, "proof", 0, value="AAAA"),
    "a proof of another": lambda r: r["entries"][0].update(proof=r["entries"][1]["proof"]),
    "reordered": lambda r: r["entries"].reverse(),
    "repeated": lambda r: r["entries"].append(r["entries"][-1]),
    "without its decision": lambda r: r["entries"].pop(0),
    "without its reservation": lambda r: r["entries"].pop(1),
    "a larger log": lambda r: r.update(checkpoint=_resized(r["checkpoint"])),
    "entries that are none": _at("entries", value=[1, 2]),
}


def _resized(note: str) -> str:
    lines = note.split("\n")
    return "\n".join([lines[0], str(int(lines[1]) + 1), *lines[2:]])


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_receipt_proves_nothing(view: LedgerView, decided: Ids, name: str) -> None:
    receipt = copy.deepcopy(view.receipt(decided["allowed"]))
    FORGERIES[name](receipt)
    report = verify_receipt(receipt, keys(view))
    assert not report.ok
    assert report.problem


@pytest.mark.parametrize("document", [None, [], {}, 3, "x", {"format": "sytff-receipt/1"}])
def test_what_is_no_receipt_proves_nothing(view: LedgerView, document: Any) -> None:
    assert not verify_receipt(document, keys(view)).ok


def test_a_receipt_proves_nothing_to_who_trusts_another_key(
    view: LedgerView, decided: Ids, tmp_path: Path
) -> None:
    receipt = view.receipt(decided["denied"])
    assert not verify_receipt(receipt, []).ok
    (tmp_path / "other").mkdir()
    with make_home(tmp_path / "other") as other, Home.view(other.folder) as theirs:
        assert not verify_receipt(receipt, keys(theirs)).ok


def test_a_receipt_of_another_decisions_run_proves_nothing(view: LedgerView, decided: Ids) -> None:
    """Genuine entries, put together to say what the log does not say."""
    denied, allowed = view.receipt(decided["denied"]), view.receipt(decided["allowed"])
    mixed = {**denied, "entries": [denied["entries"][0], *allowed["entries"][1:]]}
    assert "not of this decision" in verify_receipt(mixed, keys(view)).problem


# --- The view that auditors open ----------------------------------------------------------------


def test_a_view_exports_what_is_signed_and_its_checkpoint(view: LedgerView, decided: Ids) -> None:
    stream = io.BytesIO()
    count = view.export(stream)
    report = verify_export(stream.getvalue().splitlines(), keys=keys(view))
    assert report.faults == []
    assert report.entries == report.signed == count


def test_a_view_verifies_the_log_and_its_witness(home: Home, view: LedgerView) -> None:
    assert view.verify().ok
    _edit("DELETE FROM entries WHERE seq = (SELECT MAX(seq) FROM entries)")(
        home.folder / "ledger.db"
    )
    codes = {fault.code for fault in view.verify().faults}
    assert "verify.truncated" in codes


def test_a_view_without_the_kept_checkpoint_says_so(home: Home, view: LedgerView) -> None:
    for path in (home.folder / "witness").glob("checkpoint*"):
        path.unlink()
    assert [fault.code for fault in view.verify().faults] == ["verify.unwitnessed"]


def test_a_view_cannot_write(view: LedgerView) -> None:
    with pytest.raises(LedgerUnavailable, match="reading"), view._store.write():
        pass
    with pytest.raises(LedgerUnavailable, match="reading"):
        view._store.transact(lambda connection: None)


@pytest.mark.parametrize("running", [True, False])
def test_a_view_needs_no_right_to_write(home: Home, decided: Ids, running: bool) -> None:
    if not running:
        home.close()
    with _only_readable(home.folder), Home.view(home.folder) as view:
        assert view.verify().ok
        assert verify_receipt(view.receipt(decided["denied"]), keys(view)).ok


class _only_readable:
    """Files as a group of auditors gets them. The superuser may write all the same, so there what
    `access` says is changed too.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = [folder, *folder.glob("ledger*"), folder / "witness"]
        self._access = os.access

    def __enter__(self) -> None:
        for path in self._paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        os.access = lambda path, mode, **_: mode != os.W_OK and self._access(path, mode)

    def __exit__(self, *_: object) -> None:
        os.access = self._access
        for path in self._paths:
            path.chmod(0o700 if path.is_dir() else 0o600)
