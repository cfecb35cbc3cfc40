"""The node on disk: what a registration leaves behind when it fails or is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sytff_policy.datasets import DatasetSchema, schema_from_flags
from sytff_policy.datasets.generate import DEMO_FEATURES, DEMO_LABEL, DEMO_UNIT, write_demo_csv
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home
from sytff_policy.policy import template
from tests.support import make_home

KILLED_BEFORE_THE_LEDGER = """
import os, signal, sys
from pathlib import Path
from sytff_policy.home import Home
from sytff_policy.policy import template
from tests.test_home import schema

home = Home(Path(sys.argv[1]))
home.register(
    "second", Path(sys.argv[2]), schema(), lambda n: os.kill(os.getpid(), signal.SIGKILL),
    policy=template("starter"), owner="owner",
)
"""


def schema() -> DatasetSchema:
    return schema_from_flags(unit=DEMO_UNIT, features=DEMO_FEATURES, label=DEMO_LABEL)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = make_home(tmp_path, people=50)
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.csv"
    write_demo_csv(path, people=60, seed=2)
    return path


def fail(_: int) -> None:
    raise InvalidInput("--epsilon", "admits nothing")


def register(home: Home, name: str, data: Path, make_filter: object) -> None:
    home.register(name, data, schema(), make_filter, policy=template("starter"), owner="owner")


def stored(home: Home) -> list[Path]:
    return sorted(path for path in (home.folder / "datasets").rglob("*") if path.is_file())


def test_a_registration_that_fails_leaves_no_rows(home: Home, other: Path) -> None:
    before = stored(home)
    with pytest.raises(InvalidInput):
        register(home, "second", other, fail)
    assert stored(home) == before
    assert [record.name for record in home.ledger.datasets()] == ["registry"]


def test_the_same_rows_under_another_name_fail_and_stay_with_the_first(
    home: Home, tmp_path: Path
) -> None:
    before = stored(home)
    record = home.ledger.dataset("registry")
    with pytest.raises(InvalidInput, match="registry"):
        register(home, "second", tmp_path / "registry.csv", lambda _: record.filter)
    assert stored(home) == before
    assert home.store.verify(record.version)


def test_kill_9_of_a_registration_leaves_rows_that_the_next_change_removes(
    home: Home, other: Path
) -> None:
    before = stored(home)
    child = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_THE_LEDGER, str(home.folder), str(other)],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert child.returncode == -signal.SIGKILL
    assert len(home.store.versions()) == 2
    home.activate("registry", template("health_registry"), by="owner")
    assert stored(home) == before
    register(home, "second", other, lambda _: home.ledger.dataset("registry").filter)
    assert len(home.store.versions()) == 2


def test_a_bundle_that_was_half_written_is_removed(home: Home) -> None:
    leftover = home.folder / "bundles" / ".partial-x"
    leftover.mkdir()
    (leftover / "policy.rego").write_text("package sytff.dataset")
    home.activate("registry", template("health_registry"), by="owner")
    assert not leftover.exists()


def test_a_reader_that_stops_half_way_gives_its_connection_back(home: Home) -> None:
    with Home.view(home.folder) as view:
        entries = view.entries()
        next(entries)
        pool = view._store._engine.pool
        assert pool.checkedout() == 1  # type: ignore[attr-defined]  # of SQLAlchemy's default pool
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        next(entries)
