"""Versions: how their rows lie, what they depend on, and what reading them takes."""

from __future__ import annotations

import hashlib
import hmac
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from sytff_policy.datasets import DatasetStore, columnar
from tests.datasets.tables import (
    KEY,
    PEOPLE,
    SCHEMA,
    by_person,
    flags,
    ids,
    snapshot,
    stored,
    write,
)

GOLDEN_VERSION = "hmac-sha256:c7ffcec9358969f8ec6e94d61de0cfc9857a9e58425fe28d5fd517e0340d9984"
GOLDEN_SPLIT_KEYS = {
    "al": 11217564549789351697,
    "bo": 17195242304391368518,
    "cy": 13199437945657409317,
}


def rows(*table: tuple[str, float, int]) -> dict[str, Any]:
    names, xs, ys = zip(*table, strict=True)
    return {"id": names, "x": xs, "y": ys}


# --- how rows lie -------------------------------------------------------------------------------


def test_the_rows_of_a_person_lie_together_in_the_order_of_the_file(
    store: DatasetStore, tmp_path: Path
) -> None:
    table = rows(("b", 1, 0), ("a", 2, 1), ("b", 3, 1), ("c", 4, 0), ("a", 5, 0), ("b", 0, 0))
    dataset = stored(store, write(tmp_path / "d.csv", table), flags())
    assert by_person(dataset) == {
        "a": ([[2.0], [5.0]], [1, 0]),
        "b": ([[1.0], [3.0], [0.0]], [0, 1, 0]),
        "c": ([[4.0]], [0]),
    }
    cohort = dataset.read_units(np.array([2, 0]))
    assert cohort.features.tolist() == [[4.0], [2.0], [5.0]]
    assert cohort.labels.tolist() == [0, 1, 0]
    assert cohort.row_splits.tolist() == [0, 1, 3]
    assert (cohort.features.dtype, cohort.labels.dtype) == (np.float32, np.int32)


def test_people_are_ordered_by_the_bytes_of_their_ids(store: DatasetStore, tmp_path: Path) -> None:
    names = ["10", "9", "é", "z", "Z", "\U0001f600", "\uffee", "aa", "a"]
    table = {"id": names, "x": range(9), "y": [0] * 9}
    dataset = stored(store, write(tmp_path / "d.csv", table), flags())
    assert ids(dataset) == sorted(names, key=str.encode)


def test_nobody_is_an_empty_cohort(store: DatasetStore, tmp_path: Path) -> None:
    cohort = stored(store, write(tmp_path / "d.csv", PEOPLE), SCHEMA).read_units(np.array([]))
    assert (cohort.features.shape, cohort.labels.shape) == ((0, 4), (0,))
    assert cohort.row_splits.tolist() == [0]


@pytest.mark.parametrize("units", [[-1], [3], [0, 2**40], [-(2**63)]])
def test_an_index_of_nobody_is_an_error(
    store: DatasetStore, tmp_path: Path, units: list[int]
) -> None:
    dataset = stored(store, write(tmp_path / "d.csv", PEOPLE), SCHEMA)
    with pytest.raises(ValueError, match="0 to 2"):
        dataset.read_units(np.array(units))


def test_labels_that_are_values_are_read_as_values(store: DatasetStore, tmp_path: Path) -> None:
    table = rows(("a", 1, 3), ("b", 2, 0))
    classes = stored(store, write(tmp_path / "d.csv", table), flags(label="seen=y>0"))
    values = stored(store, tmp_path / "d.csv", flags(label="y:0.1..2"))
    assert (classes.label_is_class, values.label_is_class) == (True, False)
    cohort = values.read_units(np.array([0, 1]))
    assert cohort.labels.dtype == np.float32
    assert cohort.labels.tolist() == [2.0, np.float32(0.1)]


TABLES = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(-1000, 1000), st.integers(0, 1)),
    min_size=1,
    max_size=40,
)


@given(table=TABLES, units=st.lists(st.integers(0, 7), max_size=12), batch=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_any_cohort_is_the_rows_of_its_people_however_the_file_is_cut(
    table: list[tuple[str, int, int]], units: list[int], batch: int
) -> None:
    """Batches of a few rows: people lie across their borders."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(columnar, "_BATCH_ELEMENTS", batch)
        folder = Path(name)
        store = DatasetStore(folder / "store", KEY)
        dataset = stored(store, write(folder / "d.csv", rows(*table)), flags())
        names = sorted({row[0] for row in table})
        units = [unit for unit in units if unit < len(names)]
        cohort = dataset.read_units(np.array(units, np.int64))
    expected = [[row for row in table if row[0] == names[unit]] for unit in units]
    assert cohort.features.tolist() == [[row[1]] for person in expected for row in person]
    assert cohort.labels.tolist() == [row[2] for person in expected for row in person]
    assert np.diff(cohort.row_splits).tolist() == [len(person) for person in expected]


# --- what a version depends on ------------------------------------------------------------------


@given(order=st.permutations(range(5)), batch=st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_the_order_of_people_does_not_change_the_version_that_of_a_persons_rows_does(
    order: list[int], batch: int
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        store = DatasetStore(folder / "store", KEY)
        version = store.add(write(folder / "d.csv", PEOPLE), SCHEMA).version
        patch.setattr(columnar, "_BATCH_ELEMENTS", batch)
        shuffled = {key: [column[row] for row in order] for key, column in PEOPLE.items()}
        again = store.add(write(folder / "d.csv", shuffled), SCHEMA).version
        assert store.verify(version)
    kept = [[row for row in order if PEOPLE["id"][row] == name] for name in ("al", "bo", "cy")]
    assert (again == version) == (kept == [[1, 4], [0, 2], [3]])


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table | {"id": ["a", "b", "a"]},
        lambda table: table | {"id": ["ab", "c", "ab"]},
        lambda table: table | {"x": [1.0, 2.0, 3.0000002]},
        lambda table: table | {"y": [0, 1, 1]},
        lambda table: {key: column[:2] for key, column in table.items()},
        lambda table: {key: [*column, column[0]] for key, column in table.items()},
    ],
)
def test_every_change_of_rows_is_another_version(
    store: DatasetStore, tmp_path: Path, change: Any
) -> None:
    table = rows(("a", 1.0, 0), ("bc", 2.0, 1), ("a", 3.0, 0))
    one = store.add(write(tmp_path / "one.csv", table), flags())
    other = store.add(write(tmp_path / "other.csv", change(table)), flags())
    assert one.version != other.version


def test_schema_and_secret_are_part_of_the_version(store: DatasetStore, tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", rows(("a", 1, 0), ("b", 2, 1)))
    schemas = [flags(), flags(features="x:0..5"), flags(label="y:3"), flags(label="y=y>0")]
    versions = {store.add(path, schema).version for schema in schemas}
    elsewhere = DatasetStore(tmp_path / "elsewhere", bytes(32))
    versions |= {elsewhere.add(path, schema).version for schema in schemas}
    assert len(versions) == 8


def test_the_same_rows_again_are_the_same_version_and_nothing_is_written(
    store: DatasetStore, tmp_path: Path
) -> None:
    path = write(tmp_path / "d.csv", PEOPLE)
    first = store.add(path, SCHEMA)
    before = snapshot(tmp_path / "store")
    assert store.add(path, SCHEMA) == first
    assert snapshot(tmp_path / "store") == before


def test_a_key_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        DatasetStore(tmp_path / "store", bytes(31))


def test_the_version_is_the_documented_digest_of_the_content(
    store: DatasetStore, tmp_path: Path
) -> None:
    """Recomputed with the standard library; the golden value guards the format."""
    table = rows(("bé", 0.5, 1), ("a", -2.0, 0), ("bé", 1.5, 0))
    manifest = store.add(write(tmp_path / "d.csv", table), flags())
    header = {
        "format": "sytff-dataset/1",
        "schema": flags().model_dump(mode="json"),
        "units": 2,
        "rows": 3,
    }
    document = rfc8785.dumps(header)
    content = [
        len(document).to_bytes(8, "big") + document,
        np.array([1, 3], "<i8").tobytes(),
        "abé".encode(),
        np.array([0, 1], "<i8").tobytes(),
        np.array([0, 1, 0], "<i4").tobytes(),
        np.array([-2.0, 0.5, 1.5], "<f4").tobytes(),
    ]
    key = hmac.digest(KEY, b"sytff-dataset/1 version", "sha256")
    assert manifest.version == "hmac-sha256:" + hmac.digest(key, b"".join(content), "sha256").hex()
    assert manifest.version == GOLDEN_VERSION
    assert manifest.population == 2


def test_files_are_arrow_files_that_other_programs_read(
    store: DatasetStore, tmp_path: Path
) -> None:
    dataset = stored(store, write(tmp_path / "d.csv", PEOPLE), SCHEMA)
    with pa.ipc.open_file(dataset.folder / "rows.arrow") as reader:
        found = reader.read_all()
    assert found.column("features").to_pylist()[-1] == pytest.approx([0.76, -3.4 / 1.8, 0, 1])
    assert found.column("label").to_pylist() == [1, 1, 0, 1, 0]
    with pa.ipc.open_file(dataset.folder / "units.arrow") as reader:
        found = reader.read_all()
    assert found.column("unit").to_pylist() == ["al", "bo", "cy"]
    assert found.column("first_row").to_pylist() == [0, 2, 4]
    assert sorted(file.name for file in dataset.folder.iterdir()) == [
        "manifest.json",
        "rows.arrow",
        "units.arrow",
    ]


# --- hold-out -----------------------------------------------------------------------------------


def split(store: DatasetStore, folder: Path, names: list[str], fraction: float) -> set[str]:
    table = {"id": names, "x": [0] * len(names), "y": [0] * len(names)}
    dataset = stored(store, write(folder / "d.csv", table), flags())
    people = ids(dataset)
    return {people[unit] for unit in np.flatnonzero(dataset.holdout_mask(fraction))}


def test_whether_a_person_is_held_out_does_not_depend_on_the_others(
    store: DatasetStore, tmp_path: Path
) -> None:
    names = [f"p{number}" for number in range(300)]
    held = split(store, tmp_path, names, 0.3)
    assert 0 < len(held) < 300
    for some in (names[:150], names[100:], [*names, "new"], names[::-1]):
        assert split(store, tmp_path, some, 0.3) - {"new"} == held & set(some)


def test_a_larger_hold_out_contains_the_smaller_one(store: DatasetStore, tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(300)]
    splits = [split(store, tmp_path, names, fraction) for fraction in (0.0, 0.1, 0.5, 0.999999)]
    assert splits[0] == set()
    assert splits[1] < splits[2] < splits[3] == set(names)


def test_the_share_of_people_held_out_is_the_fraction(store: DatasetStore, tmp_path: Path) -> None:
    """Of a fixed key: 6 standard deviations of 20,000 draws, and not 0.19 or 0.21."""
    held = split(store, tmp_path, [f"p{number}" for number in range(20_000)], 0.2)
    assert abs(len(held) / 20_000 - 0.2) < 6 * (0.2 * 0.8 / 20_000) ** 0.5 < 0.02


def test_split_keys_are_the_documented_function_of_id_and_secret(
    store: DatasetStore, tmp_path: Path
) -> None:
    dataset = stored(store, write(tmp_path / "d.csv", PEOPLE), SCHEMA)
    key = hmac.digest(KEY, b"sytff-dataset/1 split", "sha256")
    expected = {
        name: int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, key=key).digest(), "big")
        for name in ("al", "bo", "cy")
    }
    found = dict(zip(ids(dataset), dataset.units.split_keys.tolist(), strict=True))
    assert found == expected == GOLDEN_SPLIT_KEYS


def test_another_secret_holds_out_others(store: DatasetStore, tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(100)]
    elsewhere = DatasetStore(tmp_path / "elsewhere", bytes(32))
    assert split(store, tmp_path, names, 0.5) != split(elsewhere, tmp_path, names, 0.5)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, float("nan")])
def test_a_hold_out_is_a_fraction(store: DatasetStore, tmp_path: Path, fraction: float) -> None:
    dataset = stored(store, write(tmp_path / "d.csv", PEOPLE), SCHEMA)
    with pytest.raises(ValueError, match="not in"):
        dataset.holdout_mask(fraction)


# --- memory -------------------------------------------------------------------------------------


@contextmanager
def peak_of(limit: int) -> Iterator[None]:
    """Allocations by Python and NumPy, and by Arrow, stay below `limit` bytes."""
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
        assert pa.total_allocated_bytes() - arrow < limit
    finally:
        tracemalloc.stop()


@pytest.fixture
def wide(store: DatasetStore, tmp_path: Path) -> str:
    """50,000 people: 40 MB of rows, and 10 MB of ids."""
    table = {
        "id": [f"{number:0200d}" for number in range(50_000)],
        "im": np.zeros((50_000, 200), np.uint8),
        "y": np.zeros(50_000, np.int64),
    }
    return store.add(write(tmp_path / "d.npz", table), flags(features="im:[200]")).version


def test_a_run_holds_its_cohort_not_the_dataset(store: DatasetStore, wide: str) -> None:
    """What grows with the people is a few bytes of each: offsets and masks."""
    with peak_of(11 * 50_000 + 3 * 100 * 200 * 4):
        dataset = store.open(wide)
        dataset.holdout_mask(0.2)
        dataset.read_units(np.arange(0, 50_000, 500))


def mapped_bytes() -> int:
    """What this process holds of files, by the kernel's count."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("RssFile:"))
    return int(line.split()[1]) * 1024


def test_rows_that_were_read_are_not_held_on_to(store: DatasetStore, wide: str) -> None:
    dataset = store.open(wide)
    dataset.read_units(np.arange(100))
    before = mapped_bytes()
    for start in range(0, 50_000, 5000):
        dataset.read_units(np.arange(start, start + 5000))
    assert mapped_bytes() - before < 10_000_000
