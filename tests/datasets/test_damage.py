"""Stored files that are not what was written: always found, always the same error."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sytff_policy.datasets import DatasetDamaged, DatasetStore, StoredDataset, columnar
from sytff_policy.errors import NotFound
from tests.datasets.tables import KEY, PEOPLE, SCHEMA, flags, stored, write

FILES = ("manifest.json", "rows.arrow", "units.arrow")


@pytest.fixture
def version(store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Rows in two batches, all files open to be damaged."""
    monkeypatch.setattr(columnar, "_BATCH_ELEMENTS", 12)
    version = store.add(write(tmp_path / "d.csv", PEOPLE), SCHEMA).version
    for file in store.folder(version).iterdir():
        file.chmod(0o600)
    return version


def use(store: DatasetStore, version: str) -> None:
    dataset = StoredDataset.open(store.folder(version), version)
    dataset.holdout_mask(0.5)
    dataset.read_units(np.arange(dataset.population))


def is_whole(store: DatasetStore, version: str) -> bool:
    try:
        return store.verify(version)
    except DatasetDamaged:
        return False


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_byte_anywhere_is_found(store: DatasetStore, version: str, name: str) -> None:
    """Padding and metadata included; and what opens in spite of it can be read to the end."""
    path = store.folder(version) / name
    good = path.read_bytes()
    assert store.verify(version)
    undetected = []
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1 << (position % 8)
        path.write_bytes(bad)
        if is_whole(store, version):
            undetected.append(position)
        with contextlib.suppress(DatasetDamaged):
            use(store, version)
    assert undetected == []
    path.write_bytes(good)
    assert store.verify(version)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_does_not_open(store: DatasetStore, version: str, name: str) -> None:
    path = store.folder(version) / name
    good = path.read_bytes()
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(DatasetDamaged):
            use(store, version)


@pytest.mark.parametrize("name", FILES)
def test_appended_bytes_are_found(store: DatasetStore, version: str, name: str) -> None:
    with (store.folder(version) / name).open("ab") as stream:
        stream.write(b"\0")
    assert not is_whole(store, version)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content",
    [b"", b"ARROW1\0\0", b"{}", b"null", b"[]", b"[" * 100_000, b"\xff\xfe", b"PK\x03\x04"],
    ids=repr,
)
def test_a_foreign_file_does_not_open(
    store: DatasetStore, version: str, name: str, content: bytes
) -> None:
    (store.folder(version) / name).write_bytes(content)
    with pytest.raises(DatasetDamaged):
        use(store, version)
    with pytest.raises(DatasetDamaged):
        store.verify(version)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_or_a_folder_in_its_place_does_not_open(
    store: DatasetStore, version: str, name: str
) -> None:
    path = store.folder(version) / name
    path.unlink()
    with pytest.raises(DatasetDamaged):
        use(store, version)
    path.mkdir()
    with pytest.raises(DatasetDamaged):
        use(store, version)


def test_a_missing_version_folder_is_not_found_or_damaged(
    store: DatasetStore, version: str
) -> None:
    shutil.rmtree(store.folder(version))
    with pytest.raises(NotFound):
        store.open(version)
    with pytest.raises(DatasetDamaged):
        StoredDataset.open(store.folder(version), version)


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_version_do_not_open(
    store: DatasetStore, version: str, tmp_path: Path, name: str
) -> None:
    """Of the same shape and schema: nothing but the version tells them apart."""
    other = PEOPLE | {"visits": [1, 1, 1, 1, 1]}
    theirs = stored(store, write(tmp_path / "other.csv", other), SCHEMA).folder
    shutil.copy(theirs / name, store.folder(version) / name)
    with pytest.raises(DatasetDamaged):
        use(store, version)


def test_rows_and_units_in_each_others_place_do_not_open(store: DatasetStore, version: str) -> None:
    folder = store.folder(version)
    (folder / "rows.arrow").rename(folder / "swap")
    (folder / "units.arrow").rename(folder / "rows.arrow")
    (folder / "swap").rename(folder / "units.arrow")
    with pytest.raises(DatasetDamaged):
        use(store, version)


def test_a_version_under_another_ones_name_does_not_open(store: DatasetStore, version: str) -> None:
    other = f"hmac-sha256:{'0' * 64}"
    os.rename(store.folder(version), store.folder(other))
    with pytest.raises(DatasetDamaged, match="another version"):
        store.open(other)


@pytest.mark.parametrize(
    "change",
    [
        {"population": 4},
        {"population": 0},
        {"population": True},
        {"population": 3.0},
        {"population": "3"},
        {"version": None},
        {"version": "hmac-sha256:0"},
        {"format": "sytff-dataset/2"},
        {"schema": None},
        {"schema": flags().model_dump(mode="json")},
        {"seals": {}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_changed_manifest_is_found(
    store: DatasetStore, version: str, change: dict[str, Any]
) -> None:
    path = store.folder(version) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    assert not is_whole(store, version)


@pytest.mark.parametrize("field", ["format", "version", "population", "schema", "seals"])
def test_a_manifest_that_lacks_a_field_is_found(
    store: DatasetStore, version: str, field: str
) -> None:
    path = store.folder(version) / "manifest.json"
    document = json.loads(path.read_bytes())
    del document[field]
    path.write_text(json.dumps(document))
    assert not is_whole(store, version)


def rewrite(path: Path, change: Any) -> None:
    """The file as a well-formed Arrow file of the same layout, with other content."""
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    changed = change(table).replace_schema_metadata(table.schema.metadata)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, changed.schema) as writer:
        writer.write_table(changed)


def column(table: pa.Table, name: str, values: Any) -> pa.Table:
    field = table.schema.field(name)
    place = table.schema.get_field_index(name)
    return table.set_column(place, field, pa.array(values, field.type))


@pytest.mark.parametrize(
    "first_rows",
    [[0, 2, 2], [0, 3, 2], [1, 2, 4], [0, 2, 5], [-1, 2, 4], [0, 2, 2**62], [0, -(2**63), 4]],
    ids=str,
)
def test_units_that_share_rows_or_have_none_do_not_open(
    store: DatasetStore, version: str, first_rows: list[int]
) -> None:
    path = store.folder(version) / "units.arrow"
    rewrite(path, lambda table: column(table, "first_row", first_rows))
    with pytest.raises(DatasetDamaged, match="units without rows"):
        use(store, version)


@pytest.mark.parametrize("label", [-1, 2, 2**31 - 1])
def test_a_label_that_is_no_class_is_never_read(
    store: DatasetStore, version: str, label: int
) -> None:
    path = store.folder(version) / "rows.arrow"
    rewrite(path, lambda table: column(table, "label", [1, 1, 0, 1, label]))
    dataset = store.open(version)
    dataset.read_units(np.array([0, 1]))
    with pytest.raises(DatasetDamaged, match="altered"):
        dataset.read_units(np.array([2]))


@pytest.mark.parametrize("label", [float("nan"), -0.5, 2.5, float("inf")])
def test_a_value_out_of_its_range_is_never_read(
    store: DatasetStore, tmp_path: Path, label: float
) -> None:
    schema = flags(label="y:0..2")
    table = {"id": ["a", "b"], "x": [1, 2], "y": [0, 2]}
    dataset = stored(store, write(tmp_path / "v.csv", table), schema)
    (dataset.folder / "rows.arrow").chmod(0o600)
    rewrite(dataset.folder / "rows.arrow", lambda table: column(table, "label", [0.0, label]))
    with pytest.raises(DatasetDamaged, match="altered"):
        store.open(dataset.manifest.version).read_units(np.array([1]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_feature_that_is_not_finite_is_never_read(
    store: DatasetStore, version: str, value: float
) -> None:
    def change(table: pa.Table) -> pa.Table:
        features = table.column("features").to_pylist()
        features[4][2] = value
        return column(table, "features", features)

    rewrite(store.folder(version) / "rows.arrow", change)
    with pytest.raises(DatasetDamaged, match="altered"):
        store.open(version).read_units(np.array([2]))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rows.arrow", lambda table: table.slice(0, 4)),
        ("rows.arrow", lambda table: pa.concat_tables([table, table.slice(0, 1)])),
        ("rows.arrow", lambda table: table.select(["features"])),
        ("rows.arrow", lambda table: table.rename_columns(["features", "y"])),
        ("rows.arrow", lambda table: table.slice(0, 0)),
        ("units.arrow", lambda table: table.slice(0, 2)),
        ("units.arrow", lambda table: table.slice(0, 0)),
        ("units.arrow", lambda table: pa.concat_tables([table, table])),
        ("units.arrow", lambda table: column(table, "unit", ["al", "bo", "dy"])),
        ("units.arrow", lambda table: column(table, "split_key", [1, 2, 3])),
    ],
)
def test_well_formed_files_with_other_content_are_found(
    store: DatasetStore, version: str, name: str, change: Any
) -> None:
    rewrite(store.folder(version) / name, change)
    assert not is_whole(store, version)


def test_files_sealed_for_other_people_are_found(store: DatasetStore, version: str) -> None:
    """Somebody with the files of two stores, and without the secret, makes no third."""
    elsewhere = DatasetStore(store.folder(version).parents[1] / "elsewhere", bytes(32))
    elsewhere.add(write(store.folder(version).parents[1] / "d.csv", PEOPLE), SCHEMA)
    assert store.verify(version)
    with pytest.raises(NotFound):
        elsewhere.verify(version)
    shutil.copytree(store.folder(version), elsewhere.folder(version))
    assert not elsewhere.verify(version)
    assert DatasetStore(store.folder(version).parent, KEY).verify(version)


def test_the_error_has_a_code_and_shows_no_row(store: DatasetStore, version: str) -> None:
    path = store.folder(version) / "units.arrow"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DatasetDamaged) as caught:
        store.open(version)
    assert caught.value.to_json()["error"] == "dataset.damaged"
    assert not {name for name in ("al", "bo", "cy") if f"'{name}'" in str(caught.value)}
