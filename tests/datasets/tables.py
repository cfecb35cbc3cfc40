"""Writing small tables as an owner would have them, and looking at what a store made of them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from sytff_policy.datasets import DatasetSchema, DatasetStore, StoredDataset, schema_from_flags
from sytff_policy.errors import InvalidInput

KEY = bytes(range(32))
FORMATS = (".csv", ".parquet", ".npz")
PEOPLE: dict[str, Any] = {
    "id": ["bo", "al", "bo", "cy", "al"],
    "age": [30, 41, 31, 64, 42],
    "income": [3.5, 1.25, 3.75, 0.1, 1.3],
    "region": ["north", "south", "north", "south", "south"],
    "visits": [0, 2, 1, 0, 7],
}
SCHEMA = schema_from_flags(
    unit="id",
    features="age:20..70,income~3.5/1.8,region:{north|south}",
    label="seen=visits>0",
)


def flags(features: str = "x", label: str = "y", unit: str = "id") -> DatasetSchema:
    return schema_from_flags(unit=unit, features=features, label=label)


def write(path: Path, columns: Mapping[str, Any]) -> Path:
    """The columns as a file of the kind that the name says."""
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    elif path.suffix == ".parquet":
        arrays = {
            name: column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column)
            for name, column in columns.items()
        }
        pyarrow.parquet.write_table(pa.table(arrays), path)
    else:
        np.savez(path, **{name: np.asarray(column) for name, column in columns.items()})
    return path


def npy(array: Any) -> bytes:
    """A `.npy` file's bytes."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(array))
    return stream.getvalue()


def write_zip(
    path: Path, members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED
) -> Path:
    """An archive with these members, whatever they are."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return path


def snapshot(folder: Path) -> dict[str, Any]:
    """Every path under the folder: its mode, and a file's bytes."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def refused(store: DatasetStore, path: Path, schema: DatasetSchema) -> InvalidInput:
    """The refusal of a file, which leaves the store as it was."""
    folder = path.parent / "store"
    before = snapshot(folder)
    with pytest.raises(InvalidInput) as caught:
        store.add(path, schema)
    assert snapshot(folder) == before
    return caught.value


def shown(error: InvalidInput) -> str:
    """All that an error tells: its text, its JSON, and what a traceback would print with it."""
    context = error.__context__ if not error.__suppress_context__ else None
    return "\n".join([str(error), json.dumps(error.to_json()), str(error.__cause__), str(context)])


def stored(store: DatasetStore, path: Path, schema: DatasetSchema) -> StoredDataset:
    return store.open(store.add(path, schema).version)


def ids(dataset: StoredDataset) -> list[str]:
    names: list[str] = dataset.units.ids().to_pylist()
    return names


def by_person(dataset: StoredDataset) -> dict[str, tuple[list[list[float]], list[float]]]:
    """Encoded rows and labels of each person, in order."""
    people = {}
    for index, name in enumerate(ids(dataset)):
        cohort = dataset.read_units(np.array([index]))
        people[name] = (cohort.features.tolist(), cohort.labels.tolist())
    return people
