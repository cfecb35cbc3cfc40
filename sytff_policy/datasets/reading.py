"""Checking and encoding what an owner's file holds.

Errors name the column and the row (1-based, not counting a header), and never the value: a value
is somebody's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sytff_policy.datasets import files
from sytff_policy.datasets.cells import (
    chunks,
    codes,
    is_numeric,
    is_text,
    kind_of,
    numbers,
    numpy_kind,
    refuse,
)
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
    ValueLabel,
)
from sytff_policy.errors import InvalidInput

MAX_UNIT_LENGTH = 200
_BLOCK_ELEMENTS = 2**22
_FLOAT32_MAX = float(np.finfo(np.float32).max)
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
      units: Unit ids as large_string, [rows].
      features: float32 [rows, width], finite, no negative zero.
      labels: int32 or float32 [rows].
    """

    units: pa.ChunkedArray
    features: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]


def read_rows(path: Path, schema: DatasetSchema) -> EncodedRows:
    """Reads, checks and encodes a file.

    Raises:
      InvalidInput: For the first thing that is wrong, with its column and row.
    """
    columns = files.read_columns(path, schema)
    size = 4 * len(columns[schema.unit]) * math.prod(schema.feature_shape)
    if size > files.MAX_UNPACKED_BYTES:
        raise InvalidInput(
            "--features", "encode to too many bytes", value=size, limit=files.MAX_UNPACKED_BYTES
        )
    # Popped, so that a column's memory is free once it is encoded.
    units = unit_ids(columns.pop(schema.unit), schema.unit)
    labels = _labels(columns.pop(schema.label.column), schema.label)
    return EncodedRows(units, _features(columns, schema, len(units)), labels)


def unit_ids(column: Any, name: str) -> pa.ChunkedArray:
    """The privacy-unit id of each row, in the one spelling by which units are told apart.

    Integers and text are the same id if they are spelled alike. Space around an id does not count,
    and neither does the way in which Unicode composes its letters (NFC).

    Raises:
      InvalidInput: For a type that has no one spelling, and for missing or ambiguous ids.
    """
    ids = pa.chunked_array([_spelled(chunk, name) for chunk in chunks(column, name)])
    length = pc.utf8_length(ids)
    missing = pc.fill_null(pc.equal(length, 0), True)
    refuse(missing, name, "the privacy-unit id is missing", "every row belongs to a person")
    refuse(
        pc.greater(length, MAX_UNIT_LENGTH),
        name,
        "the privacy-unit id is too long",
        f"at most {MAX_UNIT_LENGTH} characters",
    )
    # What a table with missing ids turns integers into; beside the integer, one person is two.
    refuse(
        pc.match_substring_regex(ids, r"^[-+]?[0-9]+\.0*$"),
        name,
        "the privacy-unit id is a whole number written as a fraction",
        "one spelling of each id, such as 7, not 7.0",
    )
    return ids


def _spelled(chunk: pa.Array, name: str) -> pa.LargeStringArray:
    # Not floating, boolean, binary or nested: what has no one spelling identifies nobody.
    if not (is_text(chunk.type) or pa.types.is_integer(chunk.type)):
        raise InvalidInput(
            f"column {name!r}",
            f"holds {kind_of(chunk.type)}, which identifies nobody",
            limit="text or integers as privacy-unit ids",
        )
    text = pc.utf8_trim_whitespace(pc.cast(chunk, pa.large_string()))
    if pc.all(pc.string_is_ascii(text)).as_py() is not False:
        return text
    # Not Arrow's own: its versions disagree on what NFC is.
    composed = (name if name is None else normalize("NFC", name) for name in text.to_pylist())
    return pa.array(composed, pa.large_string())


def _features(columns: dict[str, Any], schema: DatasetSchema, rows: int) -> npt.NDArray[np.float32]:
    first = schema.features[0]
    if isinstance(first, ArrayFeature):
        return _array(columns.pop(first.name), first)
    encoded = np.empty((rows, schema.feature_shape[0]), np.float32)
    position = 0
    for feature in schema.features:
        target = encoded[:, position : position + feature.width]
        if isinstance(feature, NumericFeature):
            # Adding zero makes zeros positive: equal rows are equal bytes.
            target[:, 0] = _encode(columns.pop(feature.name), feature) + 0.0
        elif isinstance(feature, CategoricalFeature):
            _one_hot(columns.pop(feature.name), feature, target)
        position += feature.width
    return encoded


def _encode(column: Any, feature: NumericFeature) -> npt.NDArray[np.float64]:
    values = numbers(column, feature.name)
    encoding = feature.encoding
    if isinstance(encoding, Identity):
        bad = np.abs(values) > _FLOAT32_MAX
        refuse(bad, feature.name, "the number is too large", "single precision")
        return values
    with np.errstate(over="ignore"):
        if isinstance(encoding, Range):
            scaled = (values - encoding.low) / (encoding.high - encoding.low)
            return np.clip(2.0 * scaled - 1.0, -1.0, 1.0)
        scaled = (values - encoding.mean) / encoding.stddev
    return np.clip(scaled, -STANDARDIZED_BOUND, STANDARDIZED_BOUND)


def _one_hot(column: Any, feature: CategoricalFeature, target: npt.NDArray[np.float32]) -> None:
    found = codes(column, feature.name, feature.values, fail=feature.unknown == "error")
    target[:] = 0.0
    rows = np.flatnonzero(found >= 0)
    target[rows, found[rows]] = 1.0


def _array(column: Any, feature: ArrayFeature) -> npt.NDArray[np.float32]:
    rows = len(column)
    encoded = np.empty((rows, feature.width), np.float32)
    bad = np.zeros(rows, np.bool_)
    step = max(1, _BLOCK_ELEMENTS // feature.width)
    blocks = _numpy_blocks if isinstance(column, np.ndarray) else _list_blocks
    start = 0
    for block in blocks(column, feature, step):
        target = encoded[start : start + len(block)]
        # In double precision whatever the input: every file format gives the same bytes. Judged
        # after the conversion: a double can be finite and its single-precision value not.
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(block, feature.scale, out=target, dtype=np.float64, casting="unsafe")
        np.add(target, 0.0, out=target)
        bad[start : start + len(block)] = ~np.isfinite(target).all(axis=1)
        start += len(block)
    refuse(
        bad,
        feature.name,
        "the array holds a number that is missing, NaN, infinite or too large",
        "finite single-precision numbers",
    )
    return encoded


def _numpy_blocks(
    values: npt.NDArray[Any], feature: ArrayFeature, step: int
) -> Iterator[npt.NDArray[Any]]:
    if values.dtype.kind not in "fiub":
        raise InvalidInput(
            f"array {feature.name!r}", f"holds {numpy_kind(values)}", limit="numbers"
        )
    _check_layout(values.shape[1:], feature)
    for start in range(0, len(values), step):
        block = values[start : start + step]
        yield block.reshape(len(block), feature.width)


def _list_blocks(column: Any, feature: ArrayFeature, step: int) -> Iterator[npt.NDArray[Any]]:
    kind, depth = column.type, 0
    while _is_list(kind):
        kind, depth = kind.value_type, depth + 1
    if not depth or not is_numeric(kind) or pa.types.is_float16(kind):
        raise InvalidInput(
            f"column {feature.name!r}", f"holds {kind_of(column.type)}", limit="lists of numbers"
        )
    lists = column
    for axis in (expected := _stored_shape(depth, feature)):
        lengths = pc.list_value_length(lists)
        wrong = np.asarray(pc.fill_null(pc.not_equal(lengths, axis), True))
        refuse(
            wrong.reshape(len(column), -1).any(axis=1),
            feature.name,
            "the array has another number of elements",
            f"{' x '.join(map(str, expected))} elements",
        )
        lists = pc.list_flatten(lists)
    for start in range(0, len(column), step):
        flat = lists.slice(start * feature.width, step * feature.width)
        values = pc.cast(flat, pa.float64(), safe=False).to_numpy()
        yield values.reshape(-1, feature.width)


def _stored_shape(depth: int, feature: ArrayFeature) -> tuple[int, ...]:
    """The shape that lists nested `depth` deep must have."""
    if depth == 1:
        return (feature.width,)
    long_axes = tuple(axis for axis in feature.shape if axis != 1)
    for shape in (feature.shape, long_axes, (*feature.shape, 1)):
        if len(shape) == depth:
            return shape
    raise InvalidInput(
        f"column {feature.name!r}",
        f"holds lists {depth} deep",
        limit=f"{feature.width} numbers, or {' x '.join(map(str, feature.shape))}",
    )


def _check_layout(stored: tuple[int, ...], feature: ArrayFeature) -> None:
    """Refuses arrays that differ in more than axes of length 1, and are not stored flat."""
    long_axes = [axis for axis in feature.shape if axis != 1]
    if stored != (feature.width,) and (not stored or [n for n in stored if n != 1] != long_axes):
        raise InvalidInput(
            f"array {feature.name!r}",
            "has another shape than declared",
            value=stored,
            limit=feature.shape,
        )


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _labels(column: Any, label: ClassLabel | DerivedLabel | ValueLabel) -> npt.NDArray[Any]:
    if isinstance(label, ClassLabel) and label.values is not None:
        return codes(column, label.column, label.values, fail=True)
    values = numbers(column, label.column)
    if isinstance(label, ClassLabel):
        bad = (values != np.floor(values)) | (values < 0) | (values >= label.classes)
        refuse(bad, label.column, "is not a class", f"integers 0 to {label.classes - 1}")
        return values.astype(np.int32)
    if isinstance(label, DerivedLabel):
        compare = _COMPARE[label.comparison]
        return np.asarray(compare(values, label.threshold), np.int32)
    return (np.clip(values, label.low, label.high) + 0.0).astype(np.float32)
