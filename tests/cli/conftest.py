"""A node with the demo registry, made once and copied for each test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Sytff
from tests.support import LOGISTIC, make_home

REQUEST: dict[str, Any] = {
    "dataset": "registry",
    "rounds": 10,
    "clients_per_round": 20,
    "noise_multiplier": 1.0,
    "model": LOGISTIC,
}


ROWS = """person,age,sex,region,income,score,ill,grade,cost
ann,30,f,north,3.5,1,1,0,10
ann,31,f,north,3.6,2,0,1,20.5
bob,64,m,south,1.0,3,1,2,600
cyd,25,m,north,0,4,0,2,-5
"""


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    make_home(folder).close()
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an environment that names no node."""
    monkeypatch.chdir(tmp_path)
    for name in ("SYTFF_HOME", "SYTFF_RESEARCHER", "SYTFF_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def sytff(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Sytff:
    return Sytff(capsys, monkeypatch)


@pytest.fixture
def node(place: Path, original: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node with dataset `registry` (300 people, epsilon 8), named by SYTFF_HOME."""
    shutil.copytree(original / "node", place / "node")
    shutil.copyfile(original / "registry.csv", place / "registry.csv")
    monkeypatch.setenv("SYTFF_HOME", "node")
    return place / "node"


@pytest.fixture
def empty(place: Path, sytff: Sytff, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node without datasets, and a small CSV file."""
    sytff.json("init", "node")
    monkeypatch.setenv("SYTFF_HOME", "node")
    (place / "people.csv").write_text(ROWS)
    return place / "node"


@pytest.fixture
def request_file(place: Path) -> Path:
    """A request that the registry admits."""
    return write_request(place / "request.json")


@pytest.fixture
def no_runtime_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets denials be tested where TFF is not installed: a denial never gets that far."""
    monkeypatch.setattr("sytff_policy.home.require_runtime", lambda: None)


def write_request(path: Path, **changes: Any) -> Path:
    """`REQUEST` with changes, as a file."""
    path.write_text(json.dumps({**REQUEST, **changes}), encoding="utf-8")
    return path
