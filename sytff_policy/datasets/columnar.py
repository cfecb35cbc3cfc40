"""The two Arrow IPC files of a stored version, memory-mapped.

    rows.arrow    features  fixed_size_list<float32>[width]
                  label     int32 (a class) or float32 (a value)
    units.arrow   unit      large_string, the unit's id
                  first_row int64, where its rows begin in rows.arrow
                  split_key uint64, its place in a hold-out

Units are ordered by the UTF-8 bytes of their ids; the rows of a unit lie together, in the order of
the owner's file. Nothing is compressed, so that reading a row touches the pages of that row alone.
`rows.arrow` comes in batches, `units.arrow` is one. Both name their version in their metadata.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sytff_policy.datasets.schema import DatasetSchema
from sytff_policy.errors import SytffError

ROWS_FILE = "rows.arrow"
UNITS_FILE = "units.arrow"
_BATCH_ELEMENTS = 2**24

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[Any]]
"""Features [rows, width] and labels [rows]."""


class DatasetDamaged(SytffError):
    """Stored files that are missing, unreadable or not what the manifest says."""

    code = "dataset.damaged"


def batch_rows(schema: DatasetSchema) -> int:
    """How many rows go into a batch of `rows.arrow`: about 64 MiB."""
    return max(1, _BATCH_ELEMENTS // math.prod(schema.feature_shape))


def label_dtype(schema: DatasetSchema) -> np.dtype[Any]:
    """int32 for classes, float32 for values."""
    return np.dtype(np.int32 if schema.label.classes else np.float32)


def write_rows(path: Path, schema: DatasetSchema, version: str, batches: Iterable[Batch]) -> None:
    """Writes `rows.arrow`."""
    layout = _rows_layout(schema, version)
    with pa.OSFile(str(path), "wb") as file, _writer(file, layout) as writer:
        for features, labels in batches:
            lists = pa.FixedSizeListArray.from_arrays(
                pa.array(features.reshape(-1)), type=layout.field("features").type
            )
            writer.write_batch(pa.record_batch([lists, pa.array(labels)], schema=layout))


def write_units(
    path: Path,
    version: str,
    ids: pa.LargeStringArray,
    first_rows: npt.NDArray[np.int64],
    split_keys: npt.NDArray[np.uint64],
) -> None:
    """Writes `units.arrow`."""
    layout = _units_layout(version)
    with pa.OSFile(str(path), "wb") as file, _writer(file, layout) as writer:
        columns = [ids, pa.array(first_rows), pa.array(split_keys)]
        writer.write_batch(pa.record_batch(columns, schema=layout))


class StoredRows:
    """`rows.arrow`, opened.

    Raises:
      DatasetDamaged: If it is not the file of this version.
    """

    def __init__(self, path: Path, schema: DatasetSchema, version: str) -> None:
        self._width = math.prod(schema.feature_shape)
        self._dtype = label_dtype(schema)
        self._map, batches = _open(path, _rows_layout(schema, version))
        self._batches = [self._view(batch) for batch in batches]
        lengths = [len(labels) for _, labels in self._batches]
        self._stops = np.cumsum(lengths, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._stops[-1]) if len(self._stops) else 0

    def take(self, rows: npt.NDArray[np.int64]) -> Batch:
        """Copies of these rows, reading no others."""
        features = np.empty((len(rows), self._width), np.float32)
        labels = np.empty(len(rows), self._dtype)
        batch_of = np.searchsorted(self._stops, rows, side="right")
        order = np.argsort(batch_of, kind="stable")
        numbers, begins = np.unique(batch_of[order], return_index=True)
        for number, places in zip(numbers, np.split(order, begins[1:]), strict=False):
            stored_features, stored_labels = self._batches[number]
            within = rows[places] - (self._stops[number] - len(stored_labels))
            features[places] = stored_features[within]
            labels[places] = stored_labels[within]
            self._let_go()
        return features, labels

    def features(self) -> Iterator[npt.NDArray[np.float32]]:
        """The features of all rows, batch by batch; views, not copies."""
        for features, _ in self._batches:
            yield features
            self._let_go()

    def labels(self) -> npt.NDArray[Any]:
        """The labels of all rows."""
        return np.concatenate([labels for _, labels in self._batches])

    def _let_go(self) -> None:
        # The pages stay in the system's cache, but no longer count as this process's memory, which
        # would otherwise grow to the size of the file.
        self._map.madvise(mmap.MADV_DONTNEED)

    def _view(self, batch: pa.RecordBatch) -> Batch:
        features = batch.column(0).flatten().to_numpy().reshape(-1, self._width)
        return features, batch.column(1).to_numpy()


class StoredUnits:
    """`units.arrow`, opened. Ids stay on disk until somebody asks for them.

    Attributes:
      first_rows: int64 [N].
      split_keys: uint64 [N].

    Raises:
      DatasetDamaged: If it is not the file of this version.
    """

    def __init__(self, path: Path, version: str) -> None:
        _, batches = _open(path, _units_layout(version))
        if len(batches) != 1:
            raise DatasetDamaged(f"{path} is not one batch of units")
        self._path = path
        self._ids, first_rows, split_keys = batches[0].columns
        self.first_rows: npt.NDArray[np.int64] = first_rows.to_numpy()
        self.split_keys: npt.NDArray[np.uint64] = split_keys.to_numpy()

    def __len__(self) -> int:
        return len(self.first_rows)

    def ids(self) -> pa.LargeStringArray:
        """The ids of the units, [N]; read and checked.

        Raises:
          DatasetDamaged: If they are not text.
        """
        try:
            self._ids.validate(full=True)
        except pa.ArrowInvalid:
            raise DatasetDamaged(f"{self._path} holds ids that are not text") from None
        return self._ids


def _rows_layout(schema: DatasetSchema, version: str) -> pa.Schema:
    element = pa.field("item", pa.float32(), nullable=False)
    features = pa.list_(element, math.prod(schema.feature_shape))
    label = pa.from_numpy_dtype(label_dtype(schema))
    return _layout({"features": features, "label": label}, version)


def _units_layout(version: str) -> pa.Schema:
    columns = {"unit": pa.large_string(), "first_row": pa.int64(), "split_key": pa.uint64()}
    return _layout(columns, version)


def _layout(columns: dict[str, pa.DataType], version: str) -> pa.Schema:
    fields = [pa.field(name, kind, nullable=False) for name, kind in columns.items()]
    return pa.schema(fields, metadata={"sytff.version": version})


def _writer(file: pa.NativeFile, layout: pa.Schema) -> pa.ipc.RecordBatchFileWriter:
    return pa.ipc.new_file(file, layout, options=pa.ipc.IpcWriteOptions(compression=None))


def _open(path: Path, layout: pa.Schema) -> tuple[mmap.mmap, list[pa.RecordBatch]]:
    try:
        with path.open("rb") as file:
            # The buffers of the batches keep the map.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pa.ipc.open_file(pa.py_buffer(content))
        if not reader.schema.equals(layout, check_metadata=True):
            raise DatasetDamaged(f"{path} is not the file of this version")
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        for batch in batches:
            # Lengths of buffers, which views rely on. Costs nothing that grows with the rows.
            batch.validate()
            if any(column.null_count for column in batch.columns):
                raise DatasetDamaged(f"{path} has missing values")
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise DatasetDamaged(f"{path} cannot be read: {type(error).__name__}") from None
    return content, batches
