"""Opening an owner's file: CSV, Parquet or NumPy `.npz`, to columns that nobody has judged yet.

Messages name columns that the schema declares, rows and sizes. They never quote the file, not even
its header: in a file without one, the first line is somebody's.
"""

from __future__ import annotations

import csv
import difflib
import errno
import lzma
import math
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sytff_policy.datasets.schema import DatasetSchema
from sytff_policy.errors import InvalidInput

MAX_UNPACKED_BYTES = min(64 * 2**30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
"""Most that a file's columns may take in memory: half of what the machine has, at most 64 GiB."""

_CSV_BLOCK_BYTES = 2 * 2**20
_PARQUET_BATCH_ROWS = 8192
_DEFLATE_RATIO = 1032
"""Deflate packs no more than this many bytes into one."""

Columns = dict[str, Any]


def read_columns(path: Path, schema: DatasetSchema) -> Columns:
    """The columns that `schema` reads, all of one length, at least one row.

    Returns:
      Arrow arrays (CSV: text; Parquet: as stored) or NumPy arrays (npz), by column name.

    Raises:
      InvalidInput: If the file cannot be read, or lacks a column.
    """
    _check_readable(path)
    readers: dict[str, Callable[[Path, DatasetSchema], Columns]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
        ".npz": _read_npz,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(
            "--data", "is of no known kind", value=path.name, limit=", ".join(readers)
        )
    try:
        columns = reader(path, schema)
    except MemoryError:
        raise InvalidInput("--data", "needs more memory than there is", value=path.name) from None
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise InvalidInput("--data", "columns differ in length", value=lengths)
    if not lengths[schema.unit]:
        raise InvalidInput("--data", "has no rows", value=path.name)
    return columns


def _check_readable(path: Path) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidInput("--data", "is not a file", value=str(path))
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise InvalidInput("--data", "no such file", value=str(path)) from None
    except PermissionError:
        raise InvalidInput("--data", "may not be read", value=str(path)) from None
    except (OSError, ValueError) as error:
        reason = errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
        raise InvalidInput("--data", f"cannot be opened: {reason}", value=str(path)) from None


def _read_csv(path: Path, schema: DatasetSchema) -> Columns:
    header = _csv_header(path)
    _check_columns(header, schema)
    wanted = list(schema.columns)
    try:
        # Everything as text first: conversion is ours, so that errors can name rows.
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(
                # After the names, so that a line break inside a quoted name ends no line.
                column_names=header,
                skip_rows_after_names=1,
                block_size=_CSV_BLOCK_BYTES,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=False,
            ),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        )
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput("--data", _csv_problem(path, len(header), error)) from None
    return {name: table.column(name) for name in wanted}


def _csv_header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream), None)
    except UnicodeDecodeError:
        raise InvalidInput("--data", "is not UTF-8", remedy="Convert it to UTF-8.") from None
    except (csv.Error, OSError):
        raise InvalidInput("--data", "has no readable header line", value=path.name) from None
    if header is None:
        raise InvalidInput("--data", "is empty", value=path.name)
    if not header:
        raise InvalidInput(
            "--data", "begins with an empty line", limit="a header with the names of the columns"
        )
    return header


def _csv_problem(path: Path, width: int, error: Exception) -> str:
    text = str(error).lower()
    if "utf8" in text:
        return "is not UTF-8; convert it to UTF-8"
    return _first_bad_row(path, width) or (
        f"has a row of more than {_CSV_BLOCK_BYTES} bytes, or a quote that never closes"
        if "straddl" in text
        else "is not well-formed CSV: check quotes and line ends"
    )


def _first_bad_row(path: Path, width: int) -> str | None:
    number = -1
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            for number, row in enumerate(row for row in csv.reader(stream) if row):
                if len(row) != width:
                    return f"row {number} has {len(row)} fields, the header has {width}"
    except (csv.Error, OSError):
        return None
    return None if number > 0 else "has no rows"


def _read_parquet(path: Path, schema: DatasetSchema) -> Columns:
    wanted = list(schema.columns)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, schema)
            batches, size = [], 0
            for batch in file.iter_batches(_PARQUET_BATCH_ROWS, columns=wanted):
                # By position: a struct's field `a.b` and a column `a.b` are both asked for by name.
                columns = [_plain(batch.column(batch.schema.names.index(name))) for name in wanted]
                size += sum(column.nbytes for column in columns)
                _check_size(size)
                batches.append(columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput("--data", f"is not readable Parquet: {type(error).__name__}") from None
    if not batches:
        raise InvalidInput("--data", "has no rows", value=path.name)
    return {
        name: pa.chunked_array([columns[position] for columns in batches])
        for position, name in enumerate(wanted)
    }


def _plain(column: pa.Array) -> pa.Array:
    # Decoded batch by batch: a dictionary can promise more text than memory holds.
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _read_npz(path: Path, schema: DatasetSchema) -> Columns:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
            _check_columns([name.removesuffix(".npy") for name in members], schema)
            _check_size(sum(_declared_bytes(archive, path, name) for name in schema.columns))
            return {name: _read_npy(archive, name) for name in schema.columns}
    # RuntimeError: an encrypted member.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError):
        raise InvalidInput("--data", "is not a readable .npz file", value=path.name) from None
    except (ValueError, TypeError, SyntaxError, OverflowError, tokenize.TokenError):
        raise InvalidInput(
            "--data",
            "holds Python objects or damaged arrays",
            limit="arrays of numbers or strings",
            remedy="Object arrays would execute code when they are loaded.",
        ) from None


# NumPy has no types for these.
_npy: Any = np.lib.format
_READ_HEADER = {(1, 0): _npy.read_array_header_1_0, (2, 0): _npy.read_array_header_2_0}


def _declared_bytes(archive: zipfile.ZipFile, path: Path, name: str) -> int:
    """Size of an array by its own header, which NumPy allocates before it reads a byte of it."""
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("a compression that NumPy does not write")
    with archive.open(member) as stream:
        read_header = _READ_HEADER.get(_npy.read_magic(stream))
        if read_header is None:
            raise ValueError("structured array")
        shape, _, kind = read_header(stream)
    if not shape:
        raise InvalidInput(f"array {name!r}", "is a single value", limit="one entry per row")
    if kind.hasobject or min(shape) < 0:
        raise ValueError("Python objects, or no shape")
    size: int = math.prod(shape) * int(kind.itemsize)
    if size > member.file_size or member.file_size > _DEFLATE_RATIO * path.stat().st_size:
        raise ValueError("a header that promises more than there is")
    return size


def _read_npy(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as stream:
        array: npt.NDArray[Any] = _npy.read_array(stream, allow_pickle=False)
        # The archive's checksum is compared at the end alone.
        if stream.read(1):
            raise ValueError("more than an array")
    return array


def _check_size(size: int) -> None:
    if size > MAX_UNPACKED_BYTES:
        raise InvalidInput(
            "--data", "unpacks to too much", value=f"{size} bytes", limit=f"{MAX_UNPACKED_BYTES}"
        )


def _check_columns(names: list[str], schema: DatasetSchema) -> None:
    first: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        if name in first:
            raise InvalidInput(
                "--data",
                "has a column name twice",
                value=f"columns {first[name]} and {position}",
                remedy="Give every column a name of its own.",
            )
        first[name] = position
    for name in schema.columns:
        if name not in first:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.7)
            raise InvalidInput(
                "--data",
                f"has no column {name!r} among its {len(names)}",
                limit=f"such as {', '.join(near)}" if near else None,
                remedy="Check the name, and that the first line is a header."
                if not near
                else "Check the name.",
            )
