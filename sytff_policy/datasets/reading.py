"""Reading and checking an owner's file: CSV, Parquet or NumPy `.npz`.

Errors name the column and the row (1-based, not counting a header), and never the value: a value
is somebody's.
"""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from sytff_policy.datasets.schema import (
    STANDARDIZED_BOUND,
    ArrayFeature,
    CategoricalFeature,
    ClassLabel,
    DatasetSchema,
    DerivedLabel,
    Identity,
    NumericFeature,
    Range,
)
from sytff_policy.errors import InvalidInput

MAX_NPZ_BYTES = 64 * 2**30
MAX_UNIT_LENGTH = 200
_COMPARE: dict[str, Any] = {
    ">": np.greater,
    ">=": np.greater_equal,
    "<": np.less,
    "<=": np.less_equal,
    "==": np.equal,
}


@dataclass(frozen=True)
class EncodedRows:
    """A file's rows, encoded, in file order.

    Attributes:
      units: Unit ids as strings, [rows].
      features: float32 [rows, width].
      labels: int32 or float32 [rows].
    """

    units: pa.Array
    features: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]


def read_rows(path: Path, schema: DatasetSchema) -> EncodedRows:
    """Reads, checks and encodes a file.

    Raises:
      InvalidInput: For the first thing that is wrong, with its column and row.
    """
    if not path.is_file():
        raise InvalidInput("--data", "no such file", value=str(path))
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(
            "--data", "is of no known kind", value=path.name, limit=", ".join(readers)
        )
    columns = reader(path, schema)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise InvalidInput("--data", "columns differ in length", value=lengths)
    if not lengths[schema.unit]:
        raise InvalidInput("--data", "has no rows", value=path.name)
    return EncodedRows(
        units=_units(columns[schema.unit], schema.unit),
        features=_features(columns, schema),
        labels=_labels(columns[schema.label.column], schema.label),
    )


def _read_csv(path: Path, schema: DatasetSchema) -> dict[str, pa.ChunkedArray]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header = next(csv.reader(stream), [])
    except UnicodeDecodeError:
        raise InvalidInput("--data", "is not UTF-8", remedy="Convert it to UTF-8.") from None
    header = [name.removeprefix("\ufeff") for name in header]
    _check_columns(header, schema)
    wanted = list(dict.fromkeys(schema.columns))
    try:
        # Everything as text first: conversion is ours, so that errors can name rows.
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=header, skip_rows=1),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=False,
            ),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        )
    except pa.ArrowInvalid as error:
        raise InvalidInput("--data", _ragged(path, len(header), error)) from None
    return {name: table.column(name) for name in wanted}


def _ragged(path: Path, width: int, error: Exception) -> str:
    if "expected" in str(error).lower() and "column" in str(error).lower():
        with path.open(encoding="utf-8", errors="replace", newline="") as stream:
            reader = csv.reader(stream)
            next(reader, None)
            for number, row in enumerate(reader, start=1):
                if row and len(row) != width:
                    return f"row {number} has {len(row)} fields, the header has {width}"
    if "utf8" in str(error).lower():
        return "is not UTF-8; convert it to UTF-8"
    return "is not well-formed CSV: check quotes and line ends"


def _read_parquet(path: Path, schema: DatasetSchema) -> dict[str, pa.ChunkedArray]:
    try:
        names = pyarrow.parquet.read_schema(path).names
        _check_columns(names, schema)
        table = pyarrow.parquet.read_table(path, columns=list(dict.fromkeys(schema.columns)))
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput("--data", f"is not readable Parquet: {type(error).__name__}") from None
    return {name: table.column(name) for name in table.column_names}


def _read_npz(path: Path, schema: DatasetSchema) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > MAX_NPZ_BYTES:
            raise InvalidInput("--data", "unpacks to too much", value=size, limit=MAX_NPZ_BYTES)
        with np.load(path, allow_pickle=False) as archive:
            _check_columns(list(archive.files), schema)
            return {name: archive[name] for name in dict.fromkeys(schema.columns)}
    except (zipfile.BadZipFile, OSError, EOFError):
        raise InvalidInput("--data", "is not a readable .npz file", value=path.name) from None
    except ValueError:
        raise InvalidInput(
            "--data",
            "holds Python objects or damaged arrays",
            limit="arrays of numbers or strings",
            remedy="Object arrays would execute code when they are loaded.",
        ) from None


def _check_columns(names: list[str], schema: DatasetSchema) -> None:
    if not names:
        raise InvalidInput("--data", "is empty")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput("--data", "has a column name twice", value=twice[0])
    for name in schema.columns:
        if name not in names:
            raise InvalidInput(
                "--data", f"has no column {name!r}", limit=f"one of {', '.join(names[:50])}"
            )


def _units(column: Any, name: str) -> pa.Array:
    array = _arrow(column, name)
    if pa.types.is_floating(array.type) or pa.types.is_boolean(array.type):
        raise InvalidInput(
            f"column {name!r}",
            f"holds {array.type}, which identifies nobody",
            limit="text or integers as privacy-unit ids",
        )
    text = pc.cast(array, pa.string())
    trimmed = pc.utf8_trim_whitespace(text)
    missing = pc.fill_null(pc.equal(pc.utf8_length(trimmed), 0), True)
    _refuse(missing, name, "the privacy-unit id is missing", "every row belongs to a person")
    _refuse(
        pc.greater(pc.utf8_length(trimmed), MAX_UNIT_LENGTH),
        name,
        "the privacy-unit id is too long",
        f"at most {MAX_UNIT_LENGTH} characters",
    )
    return trimmed


def _features(columns: dict[str, Any], schema: DatasetSchema) -> npt.NDArray[np.float32]:
    first = schema.features[0]
    if isinstance(first, ArrayFeature):
        return _array(columns[first.name], first)
    rows = len(columns[schema.unit])
    encoded = np.empty((rows, schema.feature_shape[0]), np.float32)
    position = 0
    for feature in schema.features:
        target = encoded[:, position : position + feature.width]
        if isinstance(feature, NumericFeature):
            target[:, 0] = _encode(_numbers(columns[feature.name], feature.name), feature)
        elif isinstance(feature, CategoricalFeature):
            _one_hot(columns[feature.name], feature, target)
        position += feature.width
    return encoded


def _encode(values: npt.NDArray[np.float64], feature: NumericFeature) -> npt.NDArray[np.float64]:
    encoding = feature.encoding
    if isinstance(encoding, Identity):
        bad = np.abs(values) > np.finfo(np.float32).max
        _refuse(pa.array(bad), feature.name, "the number is too large", "single precision")
        return values
    if isinstance(encoding, Range):
        scaled = (values - encoding.low) / (encoding.high - encoding.low)
        return np.clip(2.0 * scaled - 1.0, -1.0, 1.0)
    scaled = (values - encoding.mean) / encoding.stddev
    return np.clip(scaled, -STANDARDIZED_BOUND, STANDARDIZED_BOUND)


def _one_hot(column: Any, feature: CategoricalFeature, target: npt.NDArray[np.float32]) -> None:
    codes = _codes(column, feature.name, feature.values, fail=feature.unknown == "error")
    target[:] = 0.0
    rows = np.flatnonzero(codes >= 0)
    target[rows, codes[rows]] = 1.0


def _codes(
    column: Any, name: str, values: tuple[str | int, ...], *, fail: bool
) -> npt.NDArray[np.int64]:
    text = _text(column, name)
    found = pc.index_in(text, pa.array([str(value) for value in values]))
    if fail:
        listed = ", ".join(str(value) for value in values[:20])
        _refuse(pc.is_null(found), name, "the value is not a declared one", listed)
    codes: npt.NDArray[np.int64] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64)


def _text(column: Any, name: str) -> pa.Array:
    array = _arrow(column, name)
    if pa.types.is_floating(array.type):
        # 3.0 and 3 are the same category; 3.5 is none.
        whole = pc.equal(pc.floor(array), array)
        _refuse(pc.fill_null(pc.invert(whole), True), name, "is not a whole number", "categories")
        array = pc.cast(array, pa.int64())
    return pc.utf8_trim_whitespace(pc.cast(array, pa.string()))


def _array(column: Any, feature: ArrayFeature) -> npt.NDArray[np.float32]:
    if isinstance(column, np.ndarray):
        values = column
    else:
        lists = pa.chunked_array(column) if not isinstance(column, pa.ChunkedArray) else column
        lengths = pc.list_value_length(lists) if _is_list(lists.type) else None
        if lengths is None:
            raise InvalidInput(
                f"column {feature.name!r}", f"holds {lists.type}", limit="lists of numbers"
            )
        _refuse(
            pc.fill_null(pc.not_equal(lengths, feature.width), True),
            feature.name,
            "the array has another number of elements",
            f"{feature.width} elements",
        )
        flat = pc.list_flatten(lists)
        values = _numbers(flat, feature.name).reshape(len(lists), -1)
    if values.dtype.kind not in "fiub":
        raise InvalidInput(f"array {feature.name!r}", f"holds {values.dtype}", limit="numbers")
    if values.ndim < 2 or int(np.prod(values.shape[1:])) != feature.width:
        raise InvalidInput(
            f"array {feature.name!r}",
            "has another shape than declared",
            value=values.shape[1:],
            limit=feature.shape,
        )
    flat_values = values.reshape(len(values), feature.width)
    bad = ~np.isfinite(flat_values).all(axis=1) if values.dtype.kind == "f" else None
    if bad is not None:
        _refuse(pa.array(bad), feature.name, "the array holds NaN or infinity", "finite numbers")
    return (flat_values * np.float32(feature.scale)).astype(np.float32)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _labels(column: Any, label: Any) -> npt.NDArray[Any]:
    if isinstance(label, ClassLabel):
        if label.values is not None:
            return _codes(column, label.column, label.values, fail=True).astype(np.int32)
        numbers = _numbers(column, label.column)
        bad = (numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= label.classes)
        _refuse(pa.array(bad), label.column, "is not a class", f"integers 0 to {label.classes - 1}")
        return numbers.astype(np.int32)
    numbers = _numbers(column, label.column)
    if isinstance(label, DerivedLabel):
        derived: npt.NDArray[np.int32] = _COMPARE[label.comparison](
            numbers, label.threshold
        ).astype(np.int32)
        return derived
    return np.clip(numbers, label.low, label.high).astype(np.float32)


def _numbers(column: Any, name: str) -> npt.NDArray[np.float64]:
    array = _arrow(column, name)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = _parse_numbers(pc.utf8_trim_whitespace(array), name)
    elif not (
        pa.types.is_floating(array.type)
        or pa.types.is_integer(array.type)
        or pa.types.is_boolean(array.type)
    ):
        raise InvalidInput(f"column {name!r}", f"holds {array.type}", limit="numbers")
    numbers = (
        pc.cast(array, pa.float64())
        if not pa.types.is_boolean(array.type)
        else pc.cast(pc.cast(array, pa.int8()), pa.float64())
    )
    bad = pc.fill_null(pc.invert(pc.is_finite(numbers)), True)
    _refuse(bad, name, "is empty, NaN or infinite", "a finite number")
    values: npt.NDArray[np.float64] = numbers.to_numpy(zero_copy_only=False)
    return values


def _parse_numbers(text: pa.Array, name: str) -> pa.Array:
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        pattern = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
        wrong = pc.invert(pc.match_substring_regex(text, pattern))
        _refuse(pc.fill_null(wrong, True), name, "is not a number", "a finite number")
        raise InvalidInput(f"column {name!r}", "holds a number that cannot be read") from None


def _arrow(column: Any, name: str) -> pa.Array:
    if isinstance(column, np.ndarray):
        if column.ndim != 1:
            raise InvalidInput(
                f"array {name!r}", "has more than one axis", value=column.shape, limit="[rows]"
            )
        if column.dtype.kind not in "fiubU":
            raise InvalidInput(f"array {name!r}", f"holds {column.dtype}", limit="numbers or text")
        return pa.array(column)
    if isinstance(column, pa.ChunkedArray):
        combined = column.combine_chunks()
        column = (
            pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
        )
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return column


def _refuse(bad: Any, name: str, problem: str, limit: str) -> None:
    first = pc.index(bad, True).as_py()
    if first >= 0:
        count = pc.sum(pc.cast(bad, pa.int64())).as_py()
        more = f" (and {count - 1} more rows)" if count > 1 else ""
        raise InvalidInput(f"column {name!r}, row {first + 1}", problem + more, limit=limit)
