"""`sytff ledger`: reading, exporting and verifying what happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sytff_policy.cli.selecting import KINDS
from sytff_policy.home import Home
from sytff_policy.ledger.verify.replay import Replay
from tests.cli.command import Sytff
from tests.cli.conftest import write_request
from tests.support import ALICE, BOB, ask

DIGEST = "sha256:" + "1" * 64


@pytest.fixture
def history(node: Path) -> Path:
    """A node on which Alice was denied once and had two runs; Bob had one."""
    with Home(node) as home:
        home.gate.admit(ask(home, noise_multiplier=0.1), "registry", ALICE)
        for researcher, status in ((ALICE, "completed"), (ALICE, "failed"), (BOB, "cancelled")):
            run_id = home.gate.admit(ask(home, rounds=5), "registry", researcher).run_id
            assert run_id is not None
            evaluated = status == "completed"
            home.ledger.progress(run_id, rounds_started=5, evaluation_started=evaluated)
            home.ledger.settle(run_id, status=status, code="" if evaluated else "run.died")
            if evaluated:
                home.ledger.release(
                    run_id, dict.fromkeys(("weights.safetensors", "metrics.json"), DIGEST)
                )
        home.grant("registry", home.ledger.dataset("registry").filter.epsilon, by="owner")
    return node


def kinds(document: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    return [entry["leaf"]["kind"] for entry in document["entries"]]


def test_the_kinds_are_those_that_the_verifier_knows() -> None:
    assert set(KINDS) == set(Replay()._kinds)


def test_a_list_is_in_order_and_one_line_each(sytff: Sytff, history: Path) -> None:
    document = sytff.json("ledger", "list")
    assert kinds(document) == [
        *("genesis", "key.activated", "dataset.registered", "policy.activated"),
        *("node.policy", "decision"),
        *("decision", "reservation", "progress", "settlement", "release"),
        *("decision", "reservation", "progress", "settlement"),
        *("decision", "reservation", "progress", "settlement"),
        "budget.granted",
    ]
    lines = sytff("ledger", "list").out.splitlines()
    assert len(lines) == len(document["entries"])
    for number, (line, kind) in enumerate(zip(lines, kinds(document), strict=True)):
        assert line.split()[0] == str(number)
        assert line.split()[3] == kind


def test_lines_say_what_happened(sytff: Sytff, history: Path) -> None:
    text = sytff("ledger", "list").out
    for part in (
        "300 people, filter rdp",
        "deny dec-",
        "allow dec-",
        " by alice",
        "5 rounds started, evaluation",
        "completed, charge ",
        "failed (run.died), charge ",
        "2 files",
        "epsilon 8 by owner",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--kind", "decision"], ["decision"] * 4),
        (["--kind", "decision", "--researcher", "alice"], ["decision"] * 3),
        (["--researcher", "bob"], ["decision", "reservation", "progress", "settlement"]),
        (["--limit", "1"], ["budget.granted"]),
        (["--dataset", "registry", "--limit", "2"], ["settlement", "budget.granted"]),
        (["--dataset", "registry", "--kind", "genesis"], []),
        (["--researcher", "nobody"], []),
    ],
    ids=" ".join,
)
def test_filters(arguments: list[str], expected: list[str], sytff: Sytff, history: Path) -> None:
    assert kinds(sytff.json("ledger", "list", *arguments)) == expected
    if not expected:
        assert sytff("ledger", "list", *arguments).out == "no such entries\n"


def test_wrong_filters_are_named(sytff: Sytff, history: Path) -> None:
    assert "accepted: genesis, key.activated" in sytff.refused(
        "ledger", "list", "--kind", "decisions"
    )
    assert "there is: registry" in sytff.refused("ledger", "list", "--dataset", "nope")


def test_show_by_number_decision_and_run(sytff: Sytff, history: Path) -> None:
    everything = sytff.json("ledger", "list")["entries"]
    assert sytff.json("ledger", "show", "6") == everything[6]
    decision = everything[6]["leaf"]["body"]["decision_id"]
    assert sytff.json("ledger", "show", decision) == everything[6]
    run = everything[7]["leaf"]["body"]["run_id"]
    assert sytff.json("ledger", "show", run) == {"entries": everything[7:11]}
    text = sytff("ledger", "show", run).out
    assert "reservation" in text.splitlines()[0]
    assert '"charge"' in text


@pytest.mark.parametrize(
    "name", ["99", "9" * 5000, "00000000000000000000000000000000000000000099", "²", "x", "", "1.0"]
)
def test_show_of_what_is_not_there(name: str, sytff: Sytff, history: Path) -> None:
    assert "ENTRY: is not in the ledger" in sytff.refused("ledger", "show", name)
    assert sytff("ledger", "show", name, "--json").document["error"] == "not_found"


def test_verify_of_a_sound_ledger(sytff: Sytff, history: Path) -> None:
    document = sytff.json("ledger", "verify")
    assert set(document) >= {"verified", "entries", "head", "faults", "budgets"}
    assert (document["verified"], document["faults"]) == (True, [])
    assert document["head"] == sytff.json("ledger", "show", "19")["hash"]
    assert sytff("ledger", "verify").out.startswith("Verified: 20 entries, head sha256:")


def test_an_export_verifies_without_the_node(
    sytff: Sytff, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = sytff.json("ledger", "export", "export.jsonl")
    assert document == {"file": "export.jsonl", "entries": 20}
    own = sytff.json("ledger", "verify")
    monkeypatch.delenv("SYTFF_HOME")
    assert sytff.json("ledger", "verify", "export.jsonl") == own
    assert sytff.json("ledger", "verify", "-", stdin=Path("export.jsonl").read_bytes()) == own


def test_an_export_to_standard_output_is_the_same(sytff: Sytff, history: Path) -> None:
    sytff.json("ledger", "export", "export.jsonl")
    assert sytff("ledger", "export").out == Path("export.jsonl").read_text(encoding="utf-8")


def test_an_export_as_json_is_one_document(sytff: Sytff, history: Path) -> None:
    assert sytff.json("ledger", "export") == sytff.json("ledger", "list")


def test_an_export_replaces_nothing(sytff: Sytff, history: Path) -> None:
    Path("export.jsonl").write_text("kept")
    assert "FILE: exists already (got 'export.jsonl')" in sytff.refused(
        "ledger", "export", "export.jsonl"
    )
    assert Path("export.jsonl").read_text() == "kept"
    assert "FILE: cannot be written to" in sytff.refused("ledger", "export", "no/where.jsonl")
    assert "FILE: exists already" in sytff.refused("ledger", "export", ".")


def test_an_export_that_fails_leaves_no_file(
    sytff: Sytff, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sytff_policy.ledger.view.LedgerView.export", full)
    assert sytff.refused("ledger", "export", "export.jsonl", code=1) == "No space left on device\n"
    assert not Path("export.jsonl").exists()


def test_files_that_are_no_exports(sytff: Sytff, place: Path) -> None:
    assert "no such file" in sytff.refused("ledger", "verify", "nowhere")
    assert "is not a file" in sytff.refused("ledger", "verify", ".")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "verify.empty"),
        (b"\n", "verify.unreadable"),
        (b"{}", "verify.unreadable"),
        (b"\xff\xfe", "verify.unreadable"),
        (b"[" * 100_000, "verify.unreadable"),
        (b'{"hash": "a", "leaf": {"v": NaN}}', "verify.unreadable"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_export_does_not_verify(content: bytes, code: str, sytff: Sytff) -> None:
    Path("export.jsonl").write_bytes(content)
    result = sytff("ledger", "verify", "export.jsonl")
    assert result.code == 5
    assert result.out.startswith("NOT verified: ")
    document = sytff("ledger", "verify", "export.jsonl", "--json").document
    assert not document["verified"]
    assert code in {fault["code"] for fault in document["faults"]}


def test_an_altered_export_is_refused_at_the_altered_entry(sytff: Sytff, history: Path) -> None:
    sytff.json("ledger", "export", "export.jsonl")
    lines = Path("export.jsonl").read_text().splitlines()
    lines[7] = lines[7].replace('"rounds":5', '"rounds":4').replace('"count":5', '"count":4')
    Path("export.jsonl").write_text("\n".join(lines))
    result = sytff("ledger", "verify", "export.jsonl")
    assert result.code == 5
    assert "\nfirst fault: entry 7: " in result.out
    assert "\n  entry 7: " in result.out
    assert "[verify.hash]" in result.out


def test_a_shortened_export_in_the_middle_is_refused(sytff: Sytff, history: Path) -> None:
    sytff.json("ledger", "export", "export.jsonl")
    lines = Path("export.jsonl").read_text().splitlines()
    del lines[6]
    Path("export.jsonl").write_text("\n".join(lines))
    assert sytff("ledger", "verify", "export.jsonl").code == 5


def test_many_faults_are_shown_in_part(sytff: Sytff, history: Path) -> None:
    Path("export.jsonl").write_bytes(b"{}\n" * 50)
    result = sytff("ledger", "verify", "export.jsonl")
    assert result.out.count("\n  entry ") == 20
    assert "more; --json lists all" in result.out
    assert len(sytff("ledger", "verify", "export.jsonl", "--json").document["faults"]) >= 50


def test_a_denial_by_train_is_listed(sytff: Sytff, node: Path, no_runtime_needed: None) -> None:
    write_request(Path("request.json"), noise_multiplier=0.1)
    result = sytff("train", "request.json", "--out", "out", "--json", "--researcher", "ada")
    assert result.code == 3
    [entry] = sytff.json("ledger", "list", "--researcher", "ada")["entries"]
    assert entry["leaf"]["body"]["decision_id"] == result.document["decision_id"]
    assert json.dumps(entry)
