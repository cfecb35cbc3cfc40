"""The verifier accepts an honest log and names the entry of every lie."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy.canonical import canonical_bytes
from sytff_policy.ledger import Ledger
from sytff_policy.ledger.log import leaf_hash
from sytff_policy.ledger.verify import verify_export
from sytff_policy.ledger.verify.canonical import canonical_text
from sytff_policy.privacy import RunMechanism, make_filter
from tests.ledger.helpers import finish, reserve


def history(ledger: Ledger) -> list[dict[str, Any]]:
    """Two runs, one completed and released, one dead; a grant; two more filters."""
    done = reserve(ledger)
    finish(ledger, done)
    ledger.release(done, {"weights.safetensors": "sha256:" + "1" * 64})
    dead = reserve(ledger)
    ledger.progress(dead, rounds_started=3, evaluation_started=False)
    ledger.settle(dead, status="failed", code="run.died")
    ledger.grant("registry", Decimal(1), by="owner")
    for kind, parameters in (("zcdp", {}), ("sum", {"requests": 5})):
        ledger.register(
            name=kind,
            version=kind,
            population=100,
            owner="owner",
            description={},
            privacy_filter=make_filter(kind, Decimal(8), Decimal("1e-4"), **parameters),
            bundle="sha256:" + "2" * 64,
        )
        run = RunMechanism(10, 50, 100, Decimal(6), Decimal(8))
        finish(ledger, reserve(ledger, run, dataset=kind), rounds=10)
    return export(ledger)


def export(ledger: Ledger) -> list[dict[str, Any]]:
    stream = io.BytesIO()
    ledger.export(stream)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def lines(entries: list[dict[str, Any]]) -> list[bytes]:
    return [canonical_bytes(entry) for entry in entries]


def rehash(entries: list[dict[str, Any]]) -> None:
    """What a careful forger does: numbers, links and hashes all follow again."""
    previous = "sha256:" + "0" * 64
    for seq, entry in enumerate(entries):
        entry["leaf"]["seq"], entry["leaf"]["prev"] = seq, previous
        entry["hash"] = previous = leaf_hash(canonical_bytes(entry["leaf"]))


def index_of(entries: list[dict[str, Any]], kind: str) -> int:
    return next(i for i, entry in enumerate(entries) if entry["leaf"]["kind"] == kind)


def test_an_honest_log_verifies(ledger: Ledger) -> None:
    entries = history(ledger)
    report = verify_export(lines(entries))
    assert report.faults == []
    assert report.ok
    assert report.head == entries[-1]["hash"]
    assert ledger.verify().ok


def test_nothing_does_not_verify() -> None:
    assert not verify_export([]).ok


@pytest.mark.parametrize("garbage", [b"", b"{}", b"null", b"[1]", b"\xff\xfe", b'{"hash":1}'])
def test_garbage_does_not_verify(sqlite_ledger: Ledger, garbage: bytes) -> None:
    content = lines(history(sqlite_ledger))
    content[4] = garbage
    report = verify_export(content)
    assert report.faults[0].seq == 4


def test_every_changed_byte_is_found(sqlite_ledger: Ledger) -> None:
    content = b"\n".join(lines(history(sqlite_ledger)))
    for position in range(0, len(content), 499):
        altered = bytearray(content)
        altered[position] ^= 1
        assert not verify_export(bytes(altered).split(b"\n")).ok, position


def _set(kind: str, *path: str, value: Any) -> Callable[[list[dict[str, Any]]], int]:
    def edit(entries: list[dict[str, Any]]) -> int:
        place = index_of(entries, kind)
        target = entries[place]["leaf"]["body"]
        for key in path[:-1]:
            target = target[int(key)] if isinstance(target, list) else target[key]
        if isinstance(target, list):
            target[int(path[-1])] = value
        else:
            target[path[-1]] = value
        return place

    return edit


def _delete(kind: str) -> Callable[[list[dict[str, Any]]], int]:
    def edit(entries: list[dict[str, Any]]) -> int:
        place = index_of(entries, kind)
        del entries[place]
        return place

    return edit


def _duplicate(kind: str) -> Callable[[list[dict[str, Any]]], int]:
    def edit(entries: list[dict[str, Any]]) -> int:
        place = index_of(entries, kind)
        entries.insert(place, json.loads(json.dumps(entries[place])))
        return place + 1

    return edit


FORGERIES = {
    "a smaller charge": _set("settlement", "charge", "0", value="0.000000001"),
    "a smaller reservation": _set("reservation", "charge", "0", value="0.000000001"),
    "more noise than was reserved": _set(
        "settlement", "event", "of", "0", "of", "of", "noise_multiplier", value="9"
    ),
    "fewer rounds than started": _set("settlement", "event", "of", "0", "count", value=1),
    "more rounds than reserved": _set("progress", "rounds_started", value=10_000),
    "a larger budget": _set("dataset.registered", "filter", "epsilon", value="80"),
    "another order": _set("dataset.registered", "filter", "order", value=5),
    "a larger population": _set("dataset.registered", "population", value=2000),
    "a negative grant": _set("budget.granted", "amount", value="-1"),
    "a denial that reserves": _set("decision", "decision", value="deny"),
    "another request": _set("decision", "request", "number", value=12345),
    "another policy": _set("decision", "bundles", "dataset", value="sha256:" + "9" * 64),
    "another filter state": _set("reservation", "reserved_before", "0", value="1"),
    "a number in another spelling": _set("reservation", "charge", "0", value="1e-9"),
    "NaN": _set("reservation", "charge", "0", value="NaN"),
    "a status that is none": _set("settlement", "status", value="refunded"),
    "a failed run that is released": _set("settlement", "status", value="failed"),
    "an unknown filter": _set("dataset.registered", "filter", "kind", value="pld"),
    "no genesis": _delete("genesis"),
    "no registration": _delete("dataset.registered"),
    "no decision": _delete("decision"),
    "no reservation": _delete("reservation"),
    "no progress": _delete("progress"),
    "no settlement": _delete("settlement"),
    "a decision twice": _duplicate("decision"),
    "a reservation twice": _duplicate("reservation"),
    "a settlement twice": _duplicate("settlement"),
    "a release twice": _duplicate("release"),
    "a registration twice": _duplicate("dataset.registered"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_with_all_hashes_made_anew_is_found(sqlite_ledger: Ledger, name: str) -> None:
    entries = history(sqlite_ledger)
    FORGERIES[name](entries)
    rehash(entries)
    assert not verify_export(lines(entries)).ok


# A forger who makes every hash anew and changes nothing that other entries depend on is found by
# the head alone, which an auditor keeps: nothing inside the log contradicts them.
CONSISTENT = {
    "another delta": _set("dataset.registered", "filter", "delta", value="0.0002"),
    "another owner": _set("dataset.registered", "owner", value="mallory"),
    "another name of the node": _set("genesis", "node_id", value="node-other"),
}


@pytest.mark.parametrize("name", CONSISTENT)
def test_a_consistent_forgery_changes_the_head(sqlite_ledger: Ledger, name: str) -> None:
    entries = history(sqlite_ledger)
    head = verify_export(lines(entries)).head
    CONSISTENT[name](entries)
    assert not verify_export(lines(entries)).ok
    rehash(entries)
    assert verify_export(lines(entries)).head != head


@pytest.mark.parametrize("name", FORGERIES)
def test_a_clumsy_forgery_is_found_where_it_is(sqlite_ledger: Ledger, name: str) -> None:
    entries = history(sqlite_ledger)
    place = FORGERIES[name](entries)
    faults = verify_export(lines(entries)).faults
    assert faults
    assert faults[0].seq == place


def test_reordered_entries_are_found(sqlite_ledger: Ledger) -> None:
    entries = history(sqlite_ledger)
    entries[3], entries[4] = entries[4], entries[3]
    assert verify_export(lines(entries)).faults[0].seq == 3


def test_a_book_that_is_not_the_entries_is_found(ledger: Ledger) -> None:
    history(ledger)
    with ledger.store.write() as connection:
        connection.exec_driver_sql("UPDATE budgets SET spent = '[\"0\"]' WHERE name = 'registry'")
    report = ledger.verify()
    assert [fault.code for fault in report.faults] == ["verify.book"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_the_verifiers_canonical_form_is_the_writers(document: Any) -> None:
    """Two implementations of RFC 8785, which share no code."""
    assert canonical_text(document).encode() == canonical_bytes(document)


def test_golden_leaf() -> None:
    leaf = canonical_bytes({"v": 1, "seq": 0, "body": {"x": Decimal("0.10"), "é": 1e21}})
    assert leaf == '{"body":{"x":"0.1","é":1e+21},"seq":0,"v":1}'.encode()
    assert leaf_hash(leaf) == GOLDEN_HASH


GOLDEN_HASH = "sha256:8bc9ef5e27dbe529fd23d02c785151f0e1d0a91f43a3001c67fd19b7d9ada76f"
