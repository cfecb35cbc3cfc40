"""Cells: which are refused, how a refusal reads, and who an id stands for."""

from __future__ import annotations

import datetime
import math
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sytff_policy.datasets import (
    DatasetSchema,
    DatasetStore,
    files,
)
from tests.datasets.tables import (
    KEY,
    by_person,
    flags,
    ids,
    refused,
    shown,
    stored,
    write,
)

MISSING_ID = "the privacy-unit id is missing"
NOT_FINITE = "is empty, NaN, infinite or too large"


def table(**columns: Any) -> dict[str, Any]:
    return {"id": ["a", "b", "c"], "x": [1.0, 2.0, 3.0], "y": [0, 1, 0], **columns}


# --- refusals name column and row ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cells", "problem"),
    [
        ("id", ["a", "", "c"], MISSING_ID),
        ("id", ["a", " \t\u00a0", "c"], MISSING_ID),
        ("id", ["a", "\u2003", "c"], MISSING_ID),
        ("id", ["a", "i" * 201, "c"], "the privacy-unit id is too long"),
        ("id", ["7", "7.0", "8"], "the privacy-unit id is a whole number written as a fraction"),
        ("id", ["7", "-8.", "8"], "the privacy-unit id is a whole number written as a fraction"),
        ("x", ["1", "", "3"], NOT_FINITE),
        ("x", ["1", "  ", "3"], NOT_FINITE),
        ("x", ["1", "nan", "3"], NOT_FINITE),
        ("x", ["1", "NaN", "3"], NOT_FINITE),
        ("x", ["1", "-inf", "3"], NOT_FINITE),
        ("x", ["1", "Infinity", "3"], NOT_FINITE),
        ("x", ["1", "1e400", "3"], NOT_FINITE),
        ("x", ["1", "1e39", "3"], "the number is too large"),
        ("x", ["1", "two", "3"], "is not a number"),
        ("x", ["1", "1,5", "3"], "is not a number"),
        ("x", ["1", "0x10", "3"], "is not a number"),
        ("x", ["1", "1_0", "3"], "is not a number"),
        ("x", ["1", "\u0661", "3"], "is not a number"),
        ("x", ["1", "NA", "3"], "is not a number"),
        ("x", ["1", "null", "3"], "is not a number"),
        ("x", ["1", "True", "3"], "is not a number"),
        ("y", ["0", "-1", "1"], "is not a class"),
        ("y", ["0", "2", "1"], "is not a class"),
        ("y", ["0", "0.5", "1"], "is not a class"),
        ("y", ["0", "", "1"], NOT_FINITE),
    ],
)
def test_a_bad_cell_is_named_by_column_and_row(
    store: DatasetStore, tmp_path: Path, column: str, cells: list[str], problem: str
) -> None:
    path = write(tmp_path / "data.csv", table(**{column: cells}))
    error = refused(store, path, flags())
    assert (error.field, error.problem) == (f"column {column!r}, row 2", problem)


@pytest.mark.parametrize("region", ["", "west", "North", "north-west"])
def test_an_unknown_category_is_refused_and_the_declared_ones_are_listed(
    store: DatasetStore, tmp_path: Path, region: str
) -> None:
    path = write(tmp_path / "data.csv", table(x=["north", region, "south"]))
    error = refused(store, path, flags(features="x:{north|south}"))
    assert error.field == "column 'x', row 2"
    assert (error.problem, error.limit) == ("the value is not a declared one", "north, south")


def test_an_unknown_label_is_refused(store: DatasetStore, tmp_path: Path) -> None:
    path = write(tmp_path / "data.csv", table(y=["no", "yes", "maybe"]))
    error = refused(store, path, flags(label="y:{no|yes}"))
    assert (error.field, error.limit) == ("column 'y', row 3", "no, yes")


@pytest.mark.parametrize(
    ("column", "cells", "row", "problem"),
    [
        ("id", pa.array(["a", None, "c"]), 2, MISSING_ID),
        ("id", pa.array([1, None, 3]), 2, MISSING_ID),
        ("id", pa.array([None] * 3, pa.null()), 1, f"{MISSING_ID} (and 2 more rows)"),
        ("id", pa.array(["a", None, "c"]).dictionary_encode(), 2, MISSING_ID),
        ("x", pa.array([1.0, None, 3.0]), 2, NOT_FINITE),
        ("x", pa.array([1, None, 3]), 2, NOT_FINITE),
        ("x", pa.array([None] * 3, pa.null()), 1, f"{NOT_FINITE} (and 2 more rows)"),
        ("x", pa.array(["1", None, "3"]), 2, NOT_FINITE),
        ("x", pa.array(["1", None, "three"]), 3, "is not a number"),
        ("x", pa.array([Decimal("1.5"), None, Decimal(3)]), 2, NOT_FINITE),
        ("x", pa.array([1.0, math.nan, 3.0]), 2, NOT_FINITE),
        ("x", pa.array([1.0, math.inf, 3.0], pa.float32()), 2, NOT_FINITE),
        ("y", pa.array([True, None, False]), 2, NOT_FINITE),
    ],
)
def test_nulls_of_every_type_are_missing_values(
    store: DatasetStore, tmp_path: Path, column: str, cells: pa.Array, row: int, problem: str
) -> None:
    error = refused(store, write(tmp_path / "d.parquet", table(**{column: cells})), flags())
    assert (error.field, error.problem) == (f"column {column!r}, row {row}", problem)


DAY = datetime.datetime(2020, 1, 1)
NO_NUMBERS = [
    pa.array([DAY] * 3, pa.timestamp("ms")),
    pa.array([DAY.date()] * 3),
    pa.array([b"1", b"2", b"3"]),
    pa.array([[1.0], [2.0], [3.0]]),
    pa.array([{"secret": 1.0}] * 3),
    pa.array([datetime.timedelta(1)] * 3),
]


@pytest.mark.parametrize("cells", NO_NUMBERS, ids=lambda cells: str(cells.type))
@pytest.mark.parametrize("column", ["id", "x", "y", "c"])
def test_types_that_are_neither_text_nor_number_are_refused(
    store: DatasetStore, tmp_path: Path, column: str, cells: pa.Array
) -> None:
    path = write(tmp_path / "d.parquet", table(c=["n", "s", "n"]) | {column: cells})
    error = refused(store, path, flags(features="x,c:{n|s}"))
    assert error.field == f"column {column!r}"
    assert error.problem.startswith("holds ")
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1.0, 2.0, 3.0]),
        pa.array([1.5, 2.5, None]),
        pa.array([True, False, True]),
        pa.array([Decimal(1)] * 3),
    ],
    ids=lambda cells: str(cells.type),
)
@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_ids_without_one_spelling_identify_nobody(
    store: DatasetStore, tmp_path: Path, cells: pa.Array, suffix: str
) -> None:
    if suffix == ".npz" and pa.types.is_decimal(cells.type):
        cells = cells.cast(pa.float32())
    column = cells.to_numpy(zero_copy_only=False) if suffix == ".npz" else cells
    error = refused(store, write(tmp_path / f"d{suffix}", table(id=column)), flags())
    assert error.field == "column 'id'"
    assert "identifies nobody" in error.problem


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_rows_are_counted_over_the_whole_file(
    store: DatasetStore, tmp_path: Path, suffix: str
) -> None:
    """A file is read in pieces; the row is the file's, not the piece's."""
    count = 100_000
    good = {
        "id": np.arange(count).astype(str),
        "x": np.full(count, 123456.789),
        "c": np.full(count, "north"),
        "y": np.zeros(count, np.int64),
    }
    schema = flags(features="x,c:{north|south}")
    for column, bad in (("x", math.nan), ("c", "west"), ("y", 2), ("id", " ")):
        cells = good[column].copy()
        cells[[87_654, 99_999]] = bad
        error = refused(store, write(tmp_path / f"d{suffix}", good | {column: cells}), schema)
        assert error.field == f"column {column!r}, row 87655"
        assert error.problem.endswith(" (and 1 more rows)")


def test_features_that_encode_to_too_much_are_refused(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 2**20)
    count = 10_000
    path = write(tmp_path / "d.csv", {"id": range(count), "c": ["0"] * count, "y": [0] * count})
    values = "|".join(map(str, range(1000)))
    error = refused(store, path, flags(features=f"c:{{{values}}}"))
    assert (error.field, error.value) == ("--features", 4 * count * 1000)


def test_a_file_that_cannot_fit_into_memory_is_refused(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: object) -> None:
        raise MemoryError

    path = write(tmp_path / "d.csv", table())
    monkeypatch.setattr(files, "_read_csv", too_much)
    assert refused(store, path, flags()).problem == "needs more memory than there is"


# --- no cell is ever shown ----------------------------------------------------------------------

CANARY = "kx7canary"
NUMBER = 40961.4096109


@st.composite
def bad_files(draw: st.DrawFn) -> tuple[str, dict[str, Any], DatasetSchema]:
    """A file whose only fault is a cell with a canary in it, in some column and row."""
    rows = draw(st.integers(2, 5))
    row = draw(st.integers(0, rows - 1))
    column, canary = draw(
        st.sampled_from(
            [
                ("id", CANARY * 30),
                ("id", f"{int(NUMBER)}.0"),
                ("x", CANARY),
                ("x", f"{NUMBER}{CANARY}"),
                ("x", f"{int(NUMBER)}e300"),
                ("c", CANARY),
                ("y", CANARY),
                ("y", int(NUMBER)),
                ("y", NUMBER),
                ("y", -NUMBER),
                ("v", CANARY),
            ]
        )
    )
    suffix = draw(st.sampled_from([".csv", ".parquet", ".npz"]))
    columns: dict[str, Any] = {
        "id": [f"p{number}" for number in range(rows)],
        "x": ["1.5"] * rows,
        "c": ["north"] * rows,
        "y": ["1"] * rows,
        "v": ["0.5"] * rows,
    }
    label = "v:0..1" if column == "v" else "y"
    if not isinstance(canary, str):
        columns[column] = [1] * rows
    columns[column][row] = canary
    return suffix, columns, flags(features="x,c:{north|south}", label=label)


@given(case=bad_files())
@settings(max_examples=150, deadline=None)
def test_no_refusal_shows_a_cell(case: tuple[str, dict[str, Any], DatasetSchema]) -> None:
    suffix, columns, schema = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        error = refused(
            DatasetStore(folder / "store", KEY), write(folder / f"data{suffix}", columns), schema
        )
    text = shown(error)
    assert "row " in error.field
    assert CANARY not in text
    assert str(int(NUMBER)) not in text


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_no_refusal_of_a_broken_csv_shows_a_cell(
    store: DatasetStore, tmp_path: Path, cut: int
) -> None:
    for garbage in (b'"', b",", b"\xff", b"\n,,,,,,\n", b'"\n"', b"\x00\xfe"):
        good = f"id,x,c,y\n{CANARY},{NUMBER},north,1\nb,2,{CANARY},1\n".encode()
        at = 9 + min(cut, len(good) - 9)
        (tmp_path / "data.csv").write_bytes(good[:at] + garbage + good[at:])
        text = shown(refused(store, tmp_path / "data.csv", flags(features="x,c:{north|south}")))
        assert CANARY not in text
        assert str(int(NUMBER)) not in text


# --- ids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table_",
    [
        ("d.csv", ["1", '"1"', " 1", "1 ", '" 1 "']),
        ("d.parquet", pa.array(["1", " 1", "1 ", "1", "1\n"])),
        ("d.parquet", pa.array([1] * 5, pa.uint64())),
        ("d.npz", np.array([1] * 5, ">i2")),
        ("d.npz", np.array(["1", " 1", "1", "1", "1"])),
    ],
    ids=["csv", "text", "uint64", "big-endian", "unicode"],
)
def test_one_is_one_however_it_is_written(
    store: DatasetStore, tmp_path: Path, table_: tuple[str, Any]
) -> None:
    name, names = table_
    path = tmp_path / name
    if path.suffix == ".csv":
        path.write_text("id,x,y\n" + "".join(f"{cell},1,0\n" for cell in names))
    else:
        write(path, {"id": names, "x": [1] * 5, "y": [0] * 5})
    assert ids(stored(store, path, flags())) == ["1"]


def test_composed_and_decomposed_letters_are_the_same_person(
    store: DatasetStore, tmp_path: Path
) -> None:
    path = write(tmp_path / "d.csv", table(id=["Jos\u00e9", "Jose\u0301", "Jose"]))
    assert ids(stored(store, path, flags())) == ["Jose", "Jos\u00e9"]
    path = write(tmp_path / "d.parquet", table(id=["Jose\u0301", None, "Jose"]))
    assert refused(store, path, flags()).field == "column 'id', row 2"


@pytest.mark.parametrize("name", ["01", "1.5", "1e3", "1.0.0", "NA", "nan", "null", "-1"])
def test_other_spellings_are_other_people(store: DatasetStore, tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "d.csv", table(id=["1", name, "1"]))
    assert sorted(ids(stored(store, path, flags()))) == sorted(["1", name])


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.string(), pa.large_string(), "dictionary", "chunks"]
)
def test_ids_of_every_layout_are_the_same_people(
    store: DatasetStore, tmp_path: Path, kind: Any
) -> None:
    plain = pa.array(["10", "9", "10"])
    layouts = {
        "dictionary": plain.dictionary_encode(),
        "chunks": pa.chunked_array([plain.slice(0, 1), plain.slice(1)]),
    }
    names = layouts[kind] if isinstance(kind, str) else plain.cast(kind)
    dataset = stored(store, write(tmp_path / "d.parquet", table(id=names)), flags())
    assert by_person(dataset) == {"10": ([[1.0], [3.0]], [0, 0]), "9": ([[2.0]], [1])}
