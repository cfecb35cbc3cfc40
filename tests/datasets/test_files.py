"""Files as owners have them: what is read alike, what is no file, and CSV that is malformed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from sytff_policy.datasets import DatasetStore
from sytff_policy.datasets.reading import read_rows
from sytff_policy.errors import InvalidInput
from tests.datasets.tables import (
    FORMATS,
    PEOPLE,
    SCHEMA,
    by_person,
    flags,
    refused,
    stored,
    write,
)

# --- what is read alike -------------------------------------------------------------------------


def test_csv_parquet_and_npz_of_the_same_rows_are_one_version(
    store: DatasetStore, tmp_path: Path
) -> None:
    versions = {
        store.add(write(tmp_path / f"data{suffix}", PEOPLE), SCHEMA).version for suffix in FORMATS
    }
    assert len(versions) == 1


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("y:3", [0, 2, 1, 0, 2]),
        ("y:{lo|mid|hi}", ["hi", "lo", "mid", "lo", "hi"]),
        ("y:{1|2|3}", [3, 1, 2, 2, 1]),
        ("y:0..5", [0.1, 7.0, -2.0, 5.0, 1 / 3]),
        ("big=y>=2.5", [2.5, 2.4999, -1.0, 1e300, 0.0]),
    ],
)
def test_every_kind_of_label_is_one_version_in_every_format(
    store: DatasetStore, tmp_path: Path, label: str, values: list[Any]
) -> None:
    table = {"id": [7, 3, 7, 12, 3], "x": [0.1, -0.0, 1 / 3, 1e-40, 5.0], "y": values}
    versions = {
        store.add(write(tmp_path / f"data{suffix}", table), flags(label=label)).version
        for suffix in FORMATS
    }
    assert len(versions) == 1


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64, ">i4", ">f8", "<f2"])
def test_arrays_are_one_version_in_npz_and_parquet(
    store: DatasetStore, tmp_path: Path, kind: Any
) -> None:
    images = np.arange(3 * 12).reshape(3, 3, 4).astype(kind)
    head: dict[str, Any] = {"id": ["a", "b", "a"], "y": [0, 1, 1]}
    schema = flags(features="im:[3x4]/7")
    flat = pa.array(images.reshape(-1).astype(images.dtype.newbyteorder("=")))
    columns = {
        "cube.npz": images,
        "flat.npz": images.reshape(3, 12),
        "channel.npz": images.reshape(3, 3, 4, 1),
        "fortran.npz": np.asfortranarray(images),
    }
    if images.dtype.itemsize > 2 or images.dtype.kind != "f":
        columns |= {
            "fixed.parquet": pa.FixedSizeListArray.from_arrays(flat, 12),
            "list.parquet": pa.array(images.reshape(3, 12).tolist()),
            "nested.parquet": pa.array(images.tolist()),
            "channel.parquet": pa.array(images.reshape(3, 3, 4, 1).tolist()),
        }
    versions = {
        store.add(write(tmp_path / name, {**head, "im": column}), schema).version
        for name, column in columns.items()
    }
    assert len(versions) == 1


CSV = "id,x,y\na,1.5,0\nb,2.5,1\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeff" + CSV, id="byte order mark"),
        pytest.param('\ufeff"id",x,y\na,1.5,0\nb,2.5,1\n', id="byte order mark, quoted name"),
        pytest.param(CSV.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(CSV.replace("\n", "\r"), id="CR"),
        pytest.param(CSV.rstrip("\n"), id="no last line end"),
        pytest.param(CSV.replace("\nb", "\n\n\nb") + "\n\n", id="empty lines"),
        pytest.param('"id","x","y"\n"a","1.5","0"\n"b","2.5","1"\n', id="quoted"),
        pytest.param("id,x,y\n a , 1.5\t,0\nb,+2.5,1e0\n", id="space and spelling"),
        pytest.param('y,note,x,id\n0,"a,b",1.5,a\n1,"c\n\nd",2.5,b\n', id="other columns"),
        pytest.param('id,x,y,"no\nte"\na,1.5,0,""""\nb,2.5,1,\n', id="quoted line break in name"),
    ],
)
def test_dialects_of_csv_are_read_alike(store: DatasetStore, tmp_path: Path, text: str) -> None:
    (tmp_path / "data.csv").write_bytes(text.encode())
    (tmp_path / "plain.csv").write_text(CSV, encoding="utf-8")
    version = store.add(tmp_path / "data.csv", flags()).version
    assert version == store.add(tmp_path / "plain.csv", flags()).version


def test_a_cell_may_hold_commas_quotes_and_line_breaks(store: DatasetStore, tmp_path: Path) -> None:
    names = ["Roe, Jo", 'a "b"', "two\nlines"]
    table = {"id": names, "x": [1, 2, 3], "y": [0, 1, 0]}
    dataset = stored(store, write(tmp_path / "data.csv", table), flags())
    assert sorted(by_person(dataset)) == sorted(names)


@pytest.mark.parametrize("name", ["in.come", "a b", "Größe", "x/y", "."])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_column_names_mean_themselves(
    store: DatasetStore, tmp_path: Path, name: str, suffix: str
) -> None:
    table = {"id": ["a"], name: [2.0], "y": [1]}
    dataset = stored(store, write(tmp_path / f"data{suffix}", table), flags(features=name))
    assert by_person(dataset) == {"a": ([[2.0]], [1])}


def test_a_field_inside_a_column_is_not_taken_for_a_column(
    store: DatasetStore, tmp_path: Path
) -> None:
    table = {
        "in": pa.array([{"come": 9.0}]),
        "id": ["a"],
        "in.come": [2.0],
        "y": [1],
    }
    dataset = stored(store, write(tmp_path / "data.parquet", table), flags(features="in.come"))
    assert by_person(dataset) == {"a": ([[2.0]], [1])}


def test_the_folder_of_a_file_adds_no_column(store: DatasetStore, tmp_path: Path) -> None:
    folder = tmp_path / "x=5"
    folder.mkdir()
    path = write(folder / "data.parquet", {"id": ["a"], "y": [1]})
    shutil.copy(path, tmp_path / "data.parquet")
    with pytest.raises(InvalidInput, match="no column 'x'"):
        read_rows(path, flags())


def test_a_link_to_a_file_is_the_file(store: DatasetStore, tmp_path: Path) -> None:
    path = write(tmp_path / "data.csv", PEOPLE)
    (tmp_path / "link.csv").symlink_to(path)
    assert store.add(tmp_path / "link.csv", SCHEMA) == store.add(path, SCHEMA)


# --- what is no file ----------------------------------------------------------------------------


def test_what_is_no_file_is_refused(store: DatasetStore, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "nowhere.csv").symlink_to(tmp_path / "absent.csv")
    (tmp_path / "itself.csv").symlink_to(tmp_path / "itself.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "data.txt").write_text(CSV)
    (tmp_path / "data").write_text(CSV)
    problems = {
        "absent.csv": "no such file",
        "folder.csv": "is not a file",
        "nowhere.csv": "no such file",
        "itself.csv": "cannot be opened: ELOOP",
        "pipe.csv": "is not a file",
        "n" * 300 + ".csv": "cannot be opened: ENAMETOOLONG",
        "\0.csv": "cannot be opened: ValueError",
        "data.txt": "is of no known kind",
        "data": "is of no known kind",
    }
    for name, problem in problems.items():
        error = refused(store, tmp_path / name, flags())
        assert (error.field, error.problem) == ("--data", problem)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom permissions bind; root reads everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_without_permission_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(folder / "data.csv", PEOPLE)
        path.chmod(0o000)
        folder.chmod(0o755)
        with unprivileged(), pytest.raises(InvalidInput, match="may not be read"):
            read_rows(path, SCHEMA)
        folder.chmod(0o000)
        with unprivileged(), pytest.raises(InvalidInput, match="may not be read"):
            read_rows(path, SCHEMA)
        folder.chmod(0o700)


# --- CSV ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        ("\ufeff".encode(), "is empty"),
        (b"\n" + CSV.encode(), "begins with an empty line"),
        (b"id,x,y\n", "has no rows"),
        (b"id,x,y", "has no rows"),
        (b"id,x,y\n\n\n", "has no rows"),
        (b"id,x\na,1\n", "has no column 'y' among its 2"),
        (b"id;x;y\na;1;0\n", "has no column 'id' among its 1"),
        (b"id,x,x,y\na,1,2,0\n", "has a column name twice"),
        (b"id,x,y,note,note\na,1,0,,\n", "has a column name twice"),
        (b"id,x,y\na,1,0\nb,2\n", "row 2 has 2 fields, the header has 3"),
        (b"id,x,y\na,1,0\n\nb,2,0\nc,2,0,4\n", "row 3 has 4 fields, the header has 3"),
        (b'id,x,y\n"a\nb",1,0\nc,2,0,4\n', "row 2 has 4 fields, the header has 3"),
        ("id,x,y\né,1,0\n".encode("latin-1"), "is not UTF-8"),
        (b"id,x,y\n" + b"a,1,0\n" * 9000 + b"\xff,1,0\n", "is not UTF-8; convert it to UTF-8"),
        (CSV.encode("utf-16"), "is not UTF-8"),
        (b'id,x,y\n"a,1,0\nb,2,1\n', "row 1 has 1 fields, the header has 3"),
        (b'id,x,y\n"a,1,0\n' + b"b,1,0\n" * 900_000, "a quote that never closes"),
        (b'"' + b"n" * 200_000 + b'",id,x,y\na,1,0,2\n', "has no readable header line"),
        (b"\x00" * 100, "has no "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_malformed_csv_is_refused(
    store: DatasetStore, tmp_path: Path, content: bytes, problem: str
) -> None:
    (tmp_path / "data.csv").write_bytes(content)
    error = refused(store, tmp_path / "data.csv", flags())
    assert error.field == "--data"
    assert problem in error.problem


def test_a_ragged_row_is_found_behind_a_field_that_is_too_long_to_look_at(
    store: DatasetStore, tmp_path: Path
) -> None:
    long = b"n" * 200_000
    (tmp_path / "data.csv").write_bytes(b"id,x,y,n\na,1,0," + long + b"\nb,1,0\n")
    assert refused(store, tmp_path / "data.csv", flags()).field == "--data"


def test_a_file_without_a_header_shows_nobodys_cells(store: DatasetStore, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("smith,4711,4711\njones,5,0\n")
    error = refused(store, tmp_path / "data.csv", flags())
    assert "columns 2 and 3" in str(error)
    (tmp_path / "data.csv").write_text("smith,4711,0\njones,5,0\n")
    again = refused(store, tmp_path / "data.csv", flags())
    assert "header" in str(again)
    assert not {word for word in ("smith", "4711") if word in f"{error}{again}"}


def test_a_misspelt_column_is_answered_with_the_near_ones(
    store: DatasetStore, tmp_path: Path
) -> None:
    path = write(tmp_path / "data.csv", {"id": ["a"], "Income": [1], "y": [0]})
    assert refused(store, path, flags(features="income")).limit == "such as Income"
