"""What leaves a run has one form for neighbouring datasets, and never holds a private value."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.datasets import schema_from_flags
from sytff_policy.datasets.generate import DEMO_FEATURES, DEMO_LABEL, DEMO_UNIT
from sytff_policy.home import Home
from sytff_policy.policy import template
from sytff_policy.privacy import make_filter
from sytff_policy.runs.process import RunnerProcess
from sytff_policy.runs.supervisor import Progress, RunFailed
from tests.runs import poisoned_runner
from tests.support import ALICE, ask, make_home

pytestmark = [pytest.mark.tff, pytest.mark.slow]

TWO_OUTPUTS = {
    "inputs": [{"name": "features", "shape": [6]}],
    "layers": [{"type": "Dense", "name": "out", "inputs": ["features"], "units": 2}],
    "output": "out",
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Everything that runners write to their supervisor."""
    heard: list[bytes] = []
    read = RunnerProcess.read

    def listen(self: RunnerProcess) -> list[Any]:
        messages = read(self)
        heard.extend(message.model_dump_json().encode() for message in messages)
        return messages

    monkeypatch.setattr(RunnerProcess, "read", listen)
    return heard


def form(value: Any) -> Any:
    """The shape of a JSON document: keys and types, with the length of texts."""
    if isinstance(value, dict):
        return {key: form(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [form(item) for item in value]
    return ("text", len(value)) if isinstance(value, str) else type(value).__name__


def everything_received(home: Home, said: list[bytes]) -> dict[str, Any]:
    """The form of all that a researcher gets, and of all that leaves the runner."""
    said.clear()
    seen: list[Progress] = []
    decisions: list[Any] = []
    result = home.submit(
        ask(home, rounds=3), ALICE, on_progress=seen.append, on_decision=decisions.append
    )
    weights = (result.folder / "weights.safetensors").read_bytes()
    metrics = json.loads((result.folder / "metrics.json").read_bytes())
    header = json.loads(weights[8 : 8 + struct.unpack("<Q", weights[:8])[0]])
    return {
        "decision": sorted(decisions[0].to_json()),
        "progress": [(p.stage, p.rounds_done, p.rounds) for p in seen],
        "weights": (len(weights), form(header)),
        "metrics": sorted(metrics),
        "metric types": form({name: float(value) for name, value in metrics.items()}),
        "digests": form(result.digests),
        "files": sorted(path.name for path in result.folder.iterdir()),
        "trained": result.rounds_trained,
        "said": [form(json.loads(line)) for line in said],
        "rounds said": [json.loads(line).get("rounds") for line in said],
    }


def register(home: Home, name: str, lines: list[str], folder: Path) -> None:
    data = folder / f"{name}.csv"
    data.write_text("\n".join(lines) + "\n")
    from decimal import Decimal

    home.register(
        name,
        data,
        schema_from_flags(unit=DEMO_UNIT, features=DEMO_FEATURES, label=DEMO_LABEL),
        lambda population: make_filter("rdp", Decimal(8), Decimal("1e-5"), order=4),
        policy=template("starter"),
        owner="owner",
    )


@pytest.mark.parametrize("neighbour", ["one person fewer", "one person of many rows more"])
def test_neighbouring_datasets_give_everything_in_one_form(
    tmp_path: Path, said: list[bytes], neighbour: str
) -> None:
    with make_home(tmp_path, people=200) as home:
        first = everything_received(home, said)
    lines = (tmp_path / "registry.csv").read_text().splitlines()
    if neighbour == "one person fewer":
        lines = [line for line in lines if not line.startswith("P000007,")]
    else:
        lines += ["P999999,2020,90,1,12.0,20,1,7,1000"] * 400
    folder = tmp_path / "other"
    folder.mkdir()
    with Home.create(folder / "node") as other:
        register(other, "registry", lines, folder)
        second = everything_received(other, said)
    assert first == second
    # No time is in anything that is released.
    assert not [name for name in first["metrics"] if "time" in name or "second" in name]


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def poison(command: list[str], **options: Any) -> Any:
        if command[1:3] == ["-m", "sytff_policy.training.runner"]:
            command = [command[0], poisoned_runner.__file__, *command[3:]]
        return start(command, **options)

    monkeypatch.setattr("sytff_policy.runs.process.subprocess.Popen", poison)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.mark.usefixtures("poisoned")
def test_a_failure_inside_tff_is_a_fixed_code_and_its_text_stays_with_the_operator(
    tmp_path: Path, said: list[bytes]
) -> None:
    private = str(poisoned_runner.PRIVATE_VALUE)[:5]
    with make_home(tmp_path) as home:
        with pytest.raises(RunFailed) as caught:
            home.submit(ask(home, model=TWO_OUTPUTS, loss="sparse_categorical_crossentropy"), ALICE)
        error = caught.value
        assert error.code == "run.failed"
        assert json.loads(said[-1]) == {"type": "failed", "code": "run.failed"}
        outside = [str(error), json.dumps(error.to_json()), *map(bytes.decode, said)]
        outside += [json.dumps(entry.to_json()) for entry in home.ledger.entries()]
        assert not [text for text in outside if private in text]
        log = home.runs_dir / error.run_id / "runner.log"
        assert private in log.read_text(errors="replace")
        assert log.stat().st_mode & 0o777 == 0o600
        # The round may have drawn noise before it failed.
        assert error.rounds_spent == 1
        assert home.ledger.verify().ok
