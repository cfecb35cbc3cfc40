"""`sytff train`: results in a new folder, or a decision, and nothing in between."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.cli.train import metrics_text, progress_bar
from sytff_policy.home import Home
from sytff_policy.runs.supervisor import Progress
from tests.cli.command import Sytff
from tests.cli.conftest import write_request
from tests.support import ALICE, ask

TRAIN = ("train", "request.json", "--out", "out")


def left_over(sytff: Sytff) -> dict[str, Any]:
    """What a refused training must not have changed."""
    budget = sytff.json("budget", "show", "registry")["budget"]
    assert (budget["spent"], budget["reserved"]) == (0, 0)
    assert sytff.json("ledger", "list", "--kind", "reservation")["entries"] == []
    return dict(budget)


@pytest.mark.usefixtures("no_runtime_needed")
def test_a_denial_prints_the_decision_and_leaves_no_folder(sytff: Sytff, node: Path) -> None:
    write_request(Path("request.json"), noise_multiplier=0.1)
    text = sytff(*TRAIN)
    assert text.code == 3
    assert text.out.startswith("Denied: epsilon ")
    assert "Would be allowed now" in text.out
    as_json = sytff(*TRAIN, "--json", "--save-proposals", "instead")
    assert as_json.code == 3
    files = as_json.document["proposal_files"]
    assert files == [str(file) for file in sorted(Path("instead").iterdir())]
    assert as_json.err == ""
    assert sytff("request", "check", "instead/1.json").code == 0
    assert as_json.document["decision"] == "deny"
    assert as_json.document["counter_proposals"]
    assert as_json.document["budget"] == left_over(sytff)
    assert not Path("out").exists()
    assert len(sytff.json("ledger", "list", "--kind", "decision")["entries"]) == 2


@pytest.mark.usefixtures("no_runtime_needed")
def test_a_review_ends_with_its_own_code(sytff: Sytff, node: Path) -> None:
    sytff.json("policy", "new", "mine")
    rules = Path("mine/policy.rego")
    reason = '{"code": "dataset.ask", "message": "ask me first"}'
    rules.write_text(f"{rules.read_text()}\n\nreview contains {reason} if true\n")
    sytff.json("policy", "activate", "registry", "mine")
    write_request(Path("request.json"))
    assert sytff(*TRAIN).code == 4
    document = sytff(*TRAIN, "--json").document
    assert document["decision"] == "review"
    assert document["reasons"][0]["message"] == "ask me first"
    left_over(sytff)


@pytest.mark.usefixtures("no_runtime_needed")
@pytest.mark.parametrize(
    ("arguments", "changes", "expected"),
    [
        (("--out", "kept"), {}, "--out: is not an empty folder (got 'kept')"),
        (("--out", "file"), {}, "--out: is not an empty folder (got 'file')"),
        (("--out", "file/out"), {}, "--out: cannot be written to: Not a directory"),
        (("--out", "/proc/none/out"), {}, "--out: cannot be written to"),
        (("--out", "n" * 300), {}, "--out: cannot be written to: File name too long"),
        (("--timeout", "0"), {}, "--timeout: is out of range (got 0.0)"),
        (("--timeout", "-1"), {}, "--timeout: is out of range"),
        (("--timeout", "nan"), {}, "--timeout: is out of range (got nan)"),
        (("--timeout", "inf"), {}, "--timeout: is out of range (got inf)"),
        ((), {"model": None}, "--model: is needed to train"),
        ((), {"rounds": 0}, "rounds"),
        (("--model", "nowhere.py:model"), {"model": None}, "--model: no such file"),
        (("--researcher", ""), {}, "--researcher"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_before_anything_is_reserved(
    arguments: tuple[str, ...], changes: dict[str, Any], expected: str, sytff: Sytff, node: Path
) -> None:
    Path("kept").mkdir()
    Path("kept/weights.safetensors").write_text("kept")
    Path("file").write_text("kept")
    write_request(Path("request.json"), **changes)
    assert expected in sytff.refused(*TRAIN, *arguments)
    left_over(sytff)
    assert not Path("out").exists()
    assert Path("kept/weights.safetensors").read_text() == "kept"
    assert sytff.json("ledger", "list", "--kind", "decision")["entries"] == []


@pytest.mark.usefixtures("no_runtime_needed")
def test_a_key_starts_one_run(sytff: Sytff, node: Path) -> None:
    with Home(node) as home:
        request = ask(home, idempotency_key="once")
        run_id = home.gate.admit(request, "registry", ALICE).run_id
    write_request(Path("request.json"), idempotency_key="once")
    said = sytff.refused(*TRAIN, "--researcher", "alice")
    assert f"idempotency_key 'once' was already used for this very request (run {run_id})" in said
    document = sytff(*TRAIN, "--researcher", "alice", "--json").document
    assert document["error"] == "request.idempotency_key_used"
    assert len(sytff.json("ledger", "list", "--kind", "reservation")["entries"]) == 1


def test_without_tff_nothing_is_reserved(
    sytff: Sytff, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    write_request(Path("request.json"))
    assert "tensorflow-federated is not installed" in sytff.refused(*TRAIN, code=1)
    assert sytff(*TRAIN, "--json").document["error"] == "runtime.missing"
    left_over(sytff)
    assert not Path("out").exists()


def test_progress_without_a_terminal_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as on_progress:
        on_progress(Progress("starting", 0, 1000, 0.0, None))
        for done in range(1001):
            on_progress(
                Progress("training", done, 1000, 20.0, (1000 - done) / 20 if done else None)
            )
        on_progress(Progress("evaluating", 1000, 1000, 20.0, 0.0))
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "starting: 0 of 1000 rounds"
    assert "training: 500 of 1000 rounds, 20.0 rounds/s, 25 s left" in lines
    assert lines[-1].startswith("evaluating: 1000 of 1000 rounds")
    assert len(lines) == 13


def test_metrics_are_shown_with_their_noise() -> None:
    metrics = {"accuracy": 0.64, "accuracy_stderr": 0.0012, "loss": 0.62, "loss_stderr": 0.006}
    assert metrics_text({**metrics, "units": 3064.0}) == (
        "accuracy 0.640 +- 0.001, loss 0.620 +- 0.006, on about 3064 people"
    )
    assert metrics_text({}) == "no metrics were asked for"


def trained(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Trains in a process of its own; its output goes to files, never to a pipe."""
    with open("out.log", "wb") as out, open("err.log", "wb") as err:
        return subprocess.run(
            [sys.executable, "-m", "sytff_policy.cli", *arguments],
            stdout=out,
            stderr=err,
            check=False,
            timeout=200,
        )


@pytest.mark.tff
@pytest.mark.slow
def test_training_leaves_weights_and_metrics(sytff: Sytff, node: Path) -> None:
    from safetensors.numpy import load_file

    write_request(Path("request.json"), rounds=5)
    assert trained(*TRAIN, "--json", "--researcher", "ada").returncode == 0
    document = json.loads(Path("out.log").read_text())
    assert document["decision"] == "allow"
    assert document["files"] == {
        "weights.safetensors": "out/weights.safetensors",
        "metrics.json": "out/metrics.json",
    }
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(document["files"])
    assert set(load_file("out/weights.safetensors")) == {"out/kernel", "out/bias"}
    assert json.loads(Path("out/metrics.json").read_text()) == document["metrics"]
    progress = Path("err.log").read_text().splitlines()
    assert progress[0].startswith("starting: 0 of 5 rounds")
    assert any(line.startswith("training: 5 of 5 rounds") for line in progress)
    budget = sytff.json("budget", "show", "registry")["budget"]
    assert budget == document["budget"]
    assert budget["spent"] == document["cost"]["charge"]
    run = sytff.json("ledger", "show", document["run_id"])["entries"]
    assert [entry["leaf"]["kind"] for entry in run][-2:] == ["settlement", "release"]
    assert run[-1]["leaf"]["body"]["results"] == document["digests"]
    assert sytff("ledger", "verify").code == 0


@pytest.mark.tff
@pytest.mark.slow
def test_a_run_over_its_time_is_failed_and_says_what_stays_charged(
    sytff: Sytff, node: Path
) -> None:
    write_request(Path("request.json"), rounds=2000, noise_multiplier=6)
    assert trained(*TRAIN, "--json", "--timeout", "0.5").returncode == 1
    document = json.loads(Path("out.log").read_text())
    assert document["error"] == "run.timeout"
    assert document["rounds_spent"] == 0
    assert not Path("out").exists()
    left = sytff.json("budget", "show", "registry")["budget"]
    assert (left["spent"], left["reserved"]) == (0, 0)
