"""Every kind of edit that somebody with the database could make, found, with its entry named.

Each edit is made twice: as it is, and with every number, link and hash after it made anew. The
first is found where it is. The second is found at the entry that no longer follows, which for most
edits is the edited one; `later` names those that only a later entry contradicts.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.canonical import digest
from sytff_policy.ledger import Ledger
from sytff_policy.ledger.verify import verify_export
from sytff_policy.privacy import RunMechanism, make_filter
from tests.ledger.conftest import register
from tests.ledger.helpers import RUN, finish, reserve
from tests.ledger.test_verify import export, lines, rehash

Entries = list[dict[str, Any]]
Edit = Callable[[Entries], int]
OTHER = "sha256:" + "9" * 64


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Entries:
    """Shared budgets, caps, a new version, reviews, runs of every end, three filters."""
    ledger = register(Ledger.create(tmp_path_factory.mktemp("log") / "ledger.db", "node-test"))
    ledger.register(
        name="visits",
        version="v-visits",
        population=1000,
        owner="owner",
        description={},
        privacy_filter=make_filter("zcdp", Decimal(50), Decimal("1e-5")),
        bundle="sha256:" + "0" * 64,
        share_with=["registry"],
    )
    ledger.cap("registry", "researcher", "alice", Decimal(6), by="owner")
    ledger.cap("registry", "organization", "*", Decimal(7), by="owner")
    done = reserve(ledger, organization="clinic")
    finish(ledger, done)
    ledger.release(done, {"weights.safetensors": "sha256:" + "1" * 64})
    both = reserve(ledger, RunMechanism(4, 10, 1000, Decimal(2), Decimal(6)), dataset="visits")
    finish(ledger, both, rounds=4)
    dead = reserve(ledger, researcher="bob")
    ledger.progress(dead, rounds_started=3, evaluation_started=False)
    ledger.settle(dead, status="failed", code="run.died")
    ledger.grant("registry", Decimal(1), by="owner")
    ledger.activate("registry", "sha256:" + "5" * 64, revision="2", by="owner")
    ledger.new_version("registry", version="v2", population=1200, description={}, by="owner")
    ask_for_review(ledger, "dec-review")
    ledger.resolve_review("dec-review", approved=True, by="owner")
    broken = reserve(ledger, RunMechanism(2, 10, 1200, Decimal(2)), researcher="bob")
    ledger.fault(broken, "run.malformed_result")
    ledger.settle(broken, status="failed", code="run.malformed_result")
    reserve(ledger, RunMechanism(2, 10, 1200, Decimal(2)), researcher="bob")
    entries = export(ledger)
    assert verify_export(lines(entries)).ok, verify_export(lines(entries)).faults
    ledger.close()
    return entries


def ask_for_review(ledger: Ledger, decision_id: str) -> None:
    request = {"rounds": 1}
    ledger.record_decision(
        decision_id,
        "registry",
        "carol",
        {
            "decision": "review",
            "decision_id": decision_id,
            "dataset": "registry",
            "reasons": [{"code": "test.review"}],
            "request": request,
            "request_digest": digest(request),
            "bundles": {"node": "sha256:" + "a" * 64, "dataset": "sha256:" + "5" * 64},
            "researcher": {"id": "carol", "organization": ""},
        },
    )


def at(entries: Entries, kind: str, nth: int = 0) -> int:
    found = [place for place, entry in enumerate(entries) if entry["leaf"]["kind"] == kind]
    return found[nth]


def put(kind: str, path: str, value: Any, nth: int = 0) -> Edit:
    """Sets one value; a function is called with the old one."""

    def edit(entries: Entries) -> int:
        place = at(entries, kind, nth)
        target: Any = entries[place]["leaf"]["body"]
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in parents:
            target = target[key]
        target[last] = value(target[last]) if callable(value) else value
        return place

    return edit


def drop(kind: str, path: str, nth: int = 0) -> Edit:
    def edit(entries: Entries) -> int:
        place = at(entries, kind, nth)
        target: Any = entries[place]["leaf"]["body"]
        *parents, last = path.split(".")
        for key in parents:
            target = target[key]
        del target[last]
        return place

    return edit


def field(kind: str, name: str, value: Any) -> Edit:
    def edit(entries: Entries) -> int:
        place = at(entries, kind)
        entries[place]["leaf"][name] = value
        return place

    return edit


def remove(kind: str, nth: int = 0) -> Edit:
    def edit(entries: Entries) -> int:
        place = at(entries, kind, nth)
        del entries[place]
        return place

    return edit


def replay(kind: str, nth: int = 0) -> Edit:
    """The same entry again, at once."""

    def edit(entries: Entries) -> int:
        place = at(entries, kind, nth)
        entries.insert(place + 1, copy.deepcopy(entries[place]))
        return place + 1

    return edit


def replay_at_end(kind: str) -> Edit:
    def edit(entries: Entries) -> int:
        entries.append(copy.deepcopy(entries[at(entries, kind)]))
        return len(entries) - 1

    return edit


def swap(first: str, second: str) -> Edit:
    def edit(entries: Entries) -> int:
        a, b = at(entries, first), at(entries, second)
        entries[a], entries[b] = entries[b], entries[a]
        return min(a, b)

    return edit


def consistently(kind: str, nth: int = 0) -> Edit:
    """A smaller charge, with every number of the same entry made to follow."""

    def edit(entries: Entries) -> int:
        place = at(entries, kind, nth)
        body = entries[place]["leaf"]["body"]
        smaller = Decimal("0.000000001")
        before, after = (
            ("reserved_before", "reserved_after")
            if kind == "reservation"
            else ("spent_before", "spent_after")
        )
        body["charge"] = [format(smaller, "f")]
        body[after] = [format(Decimal(body[before][0]) + smaller, "f")]
        return place

    return edit


def more(text: str) -> str:
    return format(Decimal(text) + Decimal("0.000000002"), "f")


ARABIC = {ord("0") + digit: chr(0x660 + digit) for digit in range(10)}
NOISE = "event.of.0.of.of.noise_multiplier"
EDITS: dict[str, Edit] = {
    # Change: what was asked and decided.
    "a denial that was none": put("decision", "decision", "deny"),
    "an outcome that is none": put("decision", "decision", "maybe"),
    "another decision's id": put("decision", "decision_id", "dec-other"),
    "the decision of another dataset": put("decision", "dataset", "visits"),
    "the decision of an unknown dataset": put("decision", "dataset", "nothing"),
    "another request": put("decision", "request.rounds", 19),
    "another request, with its digest": put("decision", "request_digest", OTHER),
    "another policy of the owner": put("decision", "bundles.dataset", OTHER),
    "no policy of the owner": put("decision", "bundles.dataset", None),
    "another policy of the operator": put("decision", "bundles.node", OTHER),
    "no policy of the operator": drop("decision", "bundles.node"),
    "a policy that is no digest": put("decision", "bundles.node", "sha256:abc"),
    "an allowed request with reasons": put("decision", "reasons", [{"code": "x"}]),
    # Change: what was reserved.
    "a smaller reservation": put("reservation", "charge.0", "0.000000001"),
    "a larger reservation": put("reservation", "charge.0", more),
    "a smaller reservation that adds up": consistently("reservation"),
    "less noise than was decided": put("reservation", NOISE, "0.9"),
    "more rounds than were decided": put("reservation", "event.of.0.count", 21),
    "a larger cohort than was decided": put("reservation", "event.of.0.of.clients", 51),
    "another population": put("reservation", "event.of.0.of.population", 2000),
    "less noise in the evaluation": put("reservation", "event.of.1.of.noise_multiplier", "4"),
    "an evaluation less": put("reservation", "event.of", lambda parts: parts[:1]),
    "a mechanism less noisy than its digest": put("reservation", "mechanism_digest", OTHER),
    "a state before that was not": put("reservation", "reserved_before.0", "1"),
    "a state after that was not": put("reservation", "reserved_after.0", "1"),
    "spending before that was not": put("reservation", "spent.0", "1"),
    "another run's id": put("reservation", "run_id", "run-other"),
    "a reservation of another decision": put("reservation", "decision_id", "dec-other"),
    "a second budget left out": drop("reservation", "also", 1),
    "a second budget charged less": put("reservation", "also.0.charge.0", "0.000000001", 1),
    "a second budget of another name": put("reservation", "also.0.budget", "visits", 1),
    # Change: what ran.
    "more rounds than were reserved": put("progress", "rounds_started", 10_000),
    "rounds that are no number": put("progress", "rounds_started", "20"),
    "an evaluation that is no truth": put("progress", "evaluation_started", 1),
    "progress of an unknown run": put("progress", "run_id", "run-other"),
    "a smaller charge": put("settlement", "charge.0", "0.000000001"),
    "a smaller charge that adds up": consistently("settlement"),
    "more noise than was drawn": put("settlement", NOISE, "9"),
    "fewer rounds than were started": put("settlement", "event.of.0.count", 1),
    "a smaller charge in the second budget": put("settlement", "also.0.charge.0", "0.000000001", 1),
    "a status that is none": put("settlement", "status", "refunded"),
    "a failure that completed": put("settlement", "status", "completed", 2),
    "another freed reservation": put("settlement", "reserved_charge.0", "1"),
    "a settlement of another dataset": put("settlement", "dataset", "visits"),
    "a release of a failed run": put("release", "run_id", "run-other"),
    "a release of nothing": put("release", "results", {}),
    "a result that is no digest": put("release", "results", {"weights": "yes"}),
    # Change: budgets, caps, policies, versions.
    "an unknown filter": put("dataset.registered", "filter.kind", "pld"),
    "another parameter of the filter": put("dataset.registered", "filter.requests", 5),
    "a budget of nothing": put("dataset.registered", "filter.epsilon", "0"),
    "a shared budget that there is not": put("dataset.registered", "budgets.1", "nothing", 1),
    "a shared budget forgotten": drop("dataset.registered", "budgets", 1),
    "a negative grant": put("budget.granted", "amount", "-1"),
    "a grant that adds more than it says": put("budget.granted", "after.epsilon", "90"),
    "a grant that changes delta": put("budget.granted", "after.delta", "0.1"),
    "a grant to another budget": put("budget.granted", "budget", "visits"),
    "a cap of nothing": put("cap.set", "epsilon", "0"),
    "a cap that follows another": put("cap.set", "previous", "3"),
    "a cap on nobody": put("cap.set", "scope", "everybody"),
    "a policy that follows another": put("policy.activated", "previous", OTHER, 2),
    "a policy that is none": put("policy.activated", "bundle", "none"),
    "an operator's policy that follows another": put("node.policy", "previous", OTHER),
    "a version that follows another": put("dataset.version", "previous", "v-other"),
    "a version that was registered before": put("dataset.version", "version", "v-visits"),
    "nobody in a version": put("dataset.version", "population", 0),
    "a review that nobody asked for": put("review.resolved", "decision_id", "dec-other"),
    "an answer that is none": put("review.resolved", "outcome", "perhaps"),
    "a fault of an unknown run": put("fault", "run_id", "run-other"),
    # Numbers in other spellings, and what is no number.
    "an exponent": put("reservation", "charge.0", "1e-9"),
    "a zero at the end": put("reservation", "charge.0", lambda text: text + "0"),
    "a zero at the start": put("settlement", "charge.0", lambda text: "0" + text),
    "a sign": put("settlement", "charge.0", lambda text: "+" + text),
    "a space": put("settlement", "charge.0", lambda text: text + " "),
    "an underscore": put("settlement", "charge.0", lambda text: text[:-1] + "_" + text[-1]),
    "other digits": put("settlement", "charge.0", lambda text: text.translate(ARABIC)),
    "NaN": put("reservation", "charge.0", "NaN"),
    "infinity": put("settlement", "charge.0", "Infinity"),
    "a double for a decimal": put("settlement", "charge.0", 0.5),
    "a truth for a number": put("progress", "rounds_started", True),
    "a count that is no integer": put("settlement", "event.of.0.count", 20.5),
    "a charge of no units": put("settlement", "charge", []),
    # The frame.
    "another kind": field("budget.granted", "kind", "budget.doubled"),
    "another version of the format": field("decision", "v", 2),
    "true for a version": field("decision", "v", True),
    "a field more": field("decision", "note", "x"),
    "a key more in a settlement": put("settlement", "event", lambda event: {**event, "x": 1}),
    # Delete, insert, reorder, replay.
    "no genesis": remove("genesis"),
    "no registration": remove("dataset.registered"),
    "no decision": remove("decision"),
    "no reservation": remove("reservation"),
    "no progress": remove("progress", 1),
    "no settlement": remove("settlement"),
    "no operator's policy": remove("node.policy"),
    "no grant": remove("budget.granted"),
    "genesis twice": replay("genesis"),
    "a registration twice": replay("dataset.registered"),
    "a grant twice": replay("budget.granted"),
    "a version twice": replay("dataset.version"),
    "a decision twice": replay("decision"),
    "a reservation twice": replay("reservation"),
    "a settlement twice": replay("settlement"),
    "a release twice": replay("release"),
    "an answer twice": replay("review.resolved"),
    "an old reservation at the end": replay_at_end("reservation"),
    "an old decision at the end": replay_at_end("decision"),
    "an old grant at the end": replay_at_end("budget.granted"),
    "settled before it ran": swap("progress", "settlement"),
    "reserved before it was decided": swap("decision", "reservation"),
    "released before it was settled": swap("settlement", "release"),
}

LATER = {
    # The edit is an entry that could have been; what follows contradicts it.
    "a denial that was none",
    "another decision's id",
    "another run's id",
    "a shared budget forgotten",
    "the decision of another dataset",
    "a version that follows another",
}

CONSISTENT = {"no operator's policy", "no grant"}
"""Nothing inside the log contradicts these, once every hash is made anew: whoever knows the head,
or a signed checkpoint, finds them."""


def test_there_are_at_least_forty_kinds() -> None:
    assert len(EDITS) >= 100


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_found_where_it_is(honest: Entries, name: str) -> None:
    entries = copy.deepcopy(honest)
    place = EDITS[name](entries)
    report = verify_export(lines(entries))
    assert not report.ok
    assert report.first is not None
    assert report.first.seq == place, report.faults[:3]
    assert report.first == report.faults[0]


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_with_all_hashes_made_anew_is_found(honest: Entries, name: str) -> None:
    entries = copy.deepcopy(honest)
    place = EDITS[name](entries)
    rehash(entries)
    report = verify_export(lines(entries))
    if name in CONSISTENT:
        assert report.head != honest[-1]["hash"]
        return
    assert report.first is not None
    if name in LATER:
        assert report.first.seq >= place
    else:
        assert report.first.seq == place, report.faults[:3]


def test_every_truncation_changes_the_head_or_is_found(honest: Entries) -> None:
    head = verify_export(lines(honest)).head
    for length in range(len(honest)):
        report = verify_export(lines(honest[:length]))
        assert report.head != head
        inside = length > 0 and honest[length - 1]["leaf"]["kind"] == "decision"
        allowed = inside and honest[length - 1]["leaf"]["body"]["decision"] == "allow"
        assert report.ok == (length > 0 and not allowed)


def test_a_log_spliced_with_another_is_found_where_the_other_begins(
    honest: Entries, tmp_path: Path
) -> None:
    ledger = register(Ledger.create(tmp_path / "other.db", "node-other"))
    finish(ledger, reserve(ledger, RUN))
    other = export(ledger)
    ledger.close()
    for length in range(1, min(len(other), len(honest))):
        spliced = [*honest[:length], *other[length:]]
        report = verify_export(lines(spliced))
        assert report.first is not None
        assert report.first.seq == length


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b'{"hash":', b'{ "hash":', 1),
        lambda line: line.replace(b'"seq":', b'"seq": ', 1),
        lambda line: line.replace(b'"v":1', b'"v":1.0', 1),
        lambda line: line.replace(b'"v":1', b'"v":1e0', 1),
        lambda line: line.replace(b'"v":1', b'"v":1,"v":1', 1),
        lambda line: line.replace(b'"body":', b'"\\u0062ody":', 1),
        lambda line: line.replace(b"owner", b"\\u006fwner", 1),
        lambda line: line + b" ",
        lambda line: line[:-1],
        lambda line: b"\xef\xbb\xbf" + line,
        lambda line: line.replace(b"owner", b"\xffwner", 1),
        lambda line: line.replace(b"sha256:", b"SHA256:", 1),
        lambda line: line.upper(),
        lambda line: b"",
        lambda line: json.dumps(json.loads(line), indent=1).encode().replace(b"\n", b""),
    ],
)
def test_an_entry_in_another_spelling_is_found(
    honest: Entries, change: Callable[[bytes], bytes]
) -> None:
    content = lines(honest)
    place = at(honest, "dataset.registered")
    content[place] = change(content[place])
    report = verify_export(content)
    assert report.first is not None
    assert report.first.seq == place
