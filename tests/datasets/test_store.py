"""Datasets are stored whole or not at all, whoever else writes and whatever is killed."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sytff_policy.datasets import DatasetDamaged, DatasetStore
from sytff_policy.errors import InvalidInput, NotFound
from tests.datasets.tables import (
    KEY,
    PEOPLE,
    SCHEMA,
    snapshot,
    stored,
    write,
)


def test_nobody_else_may_look_into_the_store(store: DatasetStore, tmp_path: Path) -> None:
    store.add(write(tmp_path / "d.csv", PEOPLE), SCHEMA)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in [tmp_path / "store", *(tmp_path / "store").rglob("*")]
    }
    assert all(mode & 0o077 == 0 for mode in modes.values())
    assert modes["rows.arrow"] == modes["units.arrow"] == modes["manifest.json"] == 0o400


def test_a_version_is_no_path(store: DatasetStore, tmp_path: Path) -> None:
    good = store.add(write(tmp_path / "d.csv", PEOPLE), SCHEMA).version
    bare = good.removeprefix("hmac-sha256:")
    for version in ("", "..", "hmac-sha256:..", bare, good + "\n", good.upper(), "hmac-sha256:/"):
        for ask in (store.open, store.folder, store.verify):
            with pytest.raises(NotFound):
                ask(version)
    with pytest.raises(NotFound):
        store.open("hmac-sha256:" + "0" * 64)


def test_a_failure_while_writing_leaves_nothing(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = write(tmp_path / "d.csv", PEOPLE)
    with monkeypatch.context() as patch:
        patch.setattr("sytff_policy.datasets.store.write_units", full)
        with pytest.raises(OSError, match="No space"):
            store.add(path, SCHEMA)
    assert [file.name for file in (tmp_path / "store").iterdir()] == [".lock"]
    assert store.verify(store.add(path, SCHEMA).version)


CHILD = """
import sys
from pathlib import Path
from sytff_policy.datasets import DatasetStore, store
from tests.datasets.tables import KEY, SCHEMA

root, data, at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def wait():
    print("here", flush=True)
    sys.stdin.readline()

sync = store._sync
def stop(path):
    if path.name == at or (at == "folder" and path.is_dir()):
        wait()
    sync(path)
store._sync = stop

mine = DatasetStore(root, KEY)
if at == "start":
    wait()
print(mine.add(data, SCHEMA).version, flush=True)
"""


@contextmanager
def child(root: Path, data: Path, at: str) -> Iterator[subprocess.Popen[str]]:
    """A process that registers `data`, and waits for a line when it comes to `at`."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), str(data), at],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "here\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("at", ["rows.arrow", "units.arrow", "manifest.json", "folder"])
def test_a_registration_killed_in_the_middle_leaves_nothing(tmp_path: Path, at: str) -> None:
    root, data = tmp_path / "store", write(tmp_path / "d.csv", PEOPLE)
    with child(root, data, at) as process:
        # Whoever opens the store meanwhile leaves the writer's folder alone.
        DatasetStore(root, KEY)
        assert list(root.glob(".partial-*"))
        process.kill()
        process.wait()
    assert [path.name[:9] for path in sorted(root.iterdir())] == [".lock", ".partial-"]
    store = DatasetStore(root, KEY)
    assert [path.name for path in root.iterdir()] == [".lock"]
    assert store.verify(store.add(data, SCHEMA).version)


def test_a_registration_killed_after_the_rename_is_whole(tmp_path: Path) -> None:
    root, data = tmp_path / "store", write(tmp_path / "d.csv", PEOPLE)
    with child(root, data, "store") as process:
        process.kill()
        process.wait()
    store = DatasetStore(root, KEY)
    (folder,) = (path for path in root.iterdir() if path.is_dir())
    version = f"hmac-sha256:{folder.name}"
    assert store.verify(version)
    assert store.add(data, SCHEMA).version == version


def test_two_processes_that_register_the_same_rows_at_once_agree(tmp_path: Path) -> None:
    root, data = tmp_path / "store", write(tmp_path / "d.csv", PEOPLE)
    with child(root, data, "start") as one, child(root, data, "start") as other:
        answers = []
        for process in (one, other):
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        for process in (one, other):
            assert process.stdout
            answers.append(process.stdout.readline().strip())
            assert process.wait() == 0
    assert answers[0] == answers[1]
    assert DatasetStore(root, KEY).verify(answers[0])
    assert sorted(path.name for path in root.iterdir()) == [".lock", answers[0][12:]]


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    root, data = tmp_path / "store", write(tmp_path / "d.csv", PEOPLE)
    store = DatasetStore(root, KEY)
    versions: list[str] = []
    thread = threading.Thread(target=lambda: versions.append(store.add(data, SCHEMA).version))
    with child(root, data, "manifest.json") as process:
        thread.start()
        assert not any(path.is_dir() and path.name[0] != "." for path in root.iterdir())
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n")
        process.stdin.flush()
        theirs = process.stdout.readline().strip()
        thread.join()
    assert versions == [theirs]
    assert store.verify(theirs)


def test_two_threads_that_register_at_once_agree(store: DatasetStore, tmp_path: Path) -> None:
    data = write(tmp_path / "d.csv", PEOPLE)
    start = threading.Barrier(4)
    versions: list[str] = []

    def register() -> None:
        start.wait()
        versions.append(store.add(data, SCHEMA).version)

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(versions) == 4
    assert len(set(versions)) == 1


def test_a_refused_file_leaves_a_stored_version_as_it_was(
    store: DatasetStore, tmp_path: Path
) -> None:
    version = store.add(write(tmp_path / "d.csv", PEOPLE), SCHEMA).version
    before = snapshot(tmp_path / "store")
    bad = PEOPLE | {"region": ["north", "south", "west", "south", "south"]}
    with pytest.raises(InvalidInput):
        store.add(write(tmp_path / "bad.csv", bad), SCHEMA)
    assert snapshot(tmp_path / "store") == before
    assert store.verify(version)


def test_rows_registered_again_do_not_mend_a_damaged_version(
    store: DatasetStore, tmp_path: Path
) -> None:
    path = write(tmp_path / "d.csv", PEOPLE)
    folder = stored(store, path, SCHEMA).folder
    (folder / "rows.arrow").chmod(0o600)
    content = bytearray((folder / "rows.arrow").read_bytes())
    content[-1] ^= 1
    (folder / "rows.arrow").write_bytes(content)
    before = snapshot(tmp_path / "store")
    with pytest.raises(DatasetDamaged):
        store.add(path, SCHEMA)
    assert snapshot(tmp_path / "store") == before
