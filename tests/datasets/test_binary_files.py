"""Parquet and npz that are damaged, lie or hold no columns: refused before a cell is judged."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from sytff_policy.datasets import DatasetStore, files
from tests.datasets.tables import (
    PEOPLE,
    SCHEMA,
    flags,
    npy,
    refused,
    write,
    write_zip,
)

CSV = "id,x,y\na,1.5,0\nb,2.5,1\n"

# --- Parquet ------------------------------------------------------------------------------------


def test_damaged_parquet_is_refused(store: DatasetStore, tmp_path: Path) -> None:
    good = write(tmp_path / "good.parquet", PEOPLE).read_bytes()
    path = tmp_path / "data.parquet"
    damages = {
        "empty": b"",
        "text": CSV.encode(),
        "zip": write(tmp_path / "data.npz", PEOPLE).read_bytes(),
        "without its end": good[:-10],
        "half": good[: len(good) // 2],
        "without its pages": b"PAR1" + good[-(len(good) - 200) :],
        "an end alone": good[-8:],
    }
    for content in damages.values():
        path.write_bytes(content)
        assert refused(store, path, SCHEMA).problem.startswith("is not readable Parquet")


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_parquet_under_another_name_is_refused(
    store: DatasetStore, tmp_path: Path, suffix: str
) -> None:
    path = write(tmp_path / "good.parquet", PEOPLE).rename(tmp_path / f"data{suffix}")
    assert refused(store, path, SCHEMA).field == "--data"


def test_parquet_without_rows_or_columns_is_refused(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pyarrow.parquet.write_table(pa.table({"id": ["a"], "x": [1], "y": [0]}).slice(1), path)
    assert refused(store, path, flags()).problem == "has no rows"
    pyarrow.parquet.write_table(pa.table({"id": ["a"], "x": [1]}), path)
    assert refused(store, path, flags()).problem == "has no column 'y' among its 2"
    two = pa.Table.from_arrays([pa.array(["a"])] * 4, names=["id", "x", "x", "y"])
    pyarrow.parquet.write_table(two, path)
    assert refused(store, path, flags()).problem == "has a column name twice"


def test_parquet_that_unpacks_to_too_much_is_refused(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dictionary of one long text stands for a gigabyte in a few kilobytes."""
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 2**20)
    rows = 100_000
    text = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), pa.array(["t" * 10_000]))
    for column in (text, pa.array(np.zeros(rows))):
        path = write(tmp_path / "data.parquet", {"id": text, "x": column, "y": text})
        assert path.stat().st_size < 2**20
        assert refused(store, path, flags()).problem == "unpacks to too much"


# --- npz ----------------------------------------------------------------------------------------

IDS, XS, YS = npy(["a", "b"]), npy([1.0, 2.0]), npy([0, 1])
MEMBERS = [("id.npy", IDS), ("x.npy", XS), ("y.npy", YS)]


class Bomb:
    """Would tell if it were ever unpickled."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("unpickled",))


def header(text: str, version: int = 1) -> bytes:
    body = text.encode() + b"\n"
    size = len(body).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + body


def described(descr: str, shape: str) -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(npy(np.array([Bomb(), Bomb()])), id="pickles"),
        pytest.param(b"\x80\x04K\x01.", id="a bare pickle"),
        pytest.param(b"1.0\n2.0\n", id="text"),
        pytest.param(b"", id="nothing"),
        pytest.param(XS[:-1], id="truncated"),
        pytest.param(XS[:20], id="truncated header"),
        pytest.param(XS + b"1", id="more than an array"),
        pytest.param(described("'<f8'", f"({10**12},)") + XS[-16:], id="more than there is"),
        pytest.param(described("'<f8'", "(-2,)") + XS[-16:], id="a negative length"),
        pytest.param(described("'<f8'", "(-2, -1)") + XS[-16:], id="two negative lengths"),
        pytest.param(described("'<f8'", "(True,)") + XS[-16:], id="a length that is none"),
        pytest.param(described("'|O'", "(2,)") + XS[-16:], id="objects"),
        pytest.param(described("'what'", "(2,)") + XS[-16:], id="no type"),
        pytest.param(header("{'descr': __import__('os')}"), id="code"),
        pytest.param(header("{" * 5000), id="brackets"),
        pytest.param(header("('", 2), id="a string without end"),
        pytest.param(header("{}" + " " * 50_000, 2), id="a long header"),
        pytest.param(b"\x93NUMPY\x09\x00" + XS[8:], id="a version to come"),
    ],
)
def test_damaged_and_executable_arrays_are_refused(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_zip(tmp_path / "data.npz", [("id.npy", IDS), ("x.npy", x), ("y.npy", YS)])
    error = refused(store, path, flags())
    assert error.problem == "holds Python objects or damaged arrays"
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (np.float64(1.0), "is a single value"),
        (np.ones((2, 1)), "has more than one axis"),
        (np.ones(3), "columns differ in length"),
        (np.array([(1, 2.0)] * 2, [("secret", "i4"), ("b", "f8")]), "holds structured values"),
        (np.ones(2, complex), "holds complex128"),
        (np.array(["2020-01-01"] * 2, "datetime64[D]"), "holds datetime64[D]"),
        (np.array([1, 2], "timedelta64[s]"), "holds timedelta64[s]"),
        (np.array([b"1", b"2"]), "holds |S1"),
        (np.array(["a", "b"]), "is not a number"),
        (np.array(["1", "\ud800"]), "holds text that is not Unicode"),
    ],
)
def test_arrays_that_are_no_column_of_numbers_are_refused(
    store: DatasetStore, tmp_path: Path, column: Any, problem: str
) -> None:
    path = write(tmp_path / "data.npz", {"id": ["a", "b"], "x": column, "y": [0, 1]})
    error = refused(store, path, flags())
    assert error.problem.startswith(problem)
    assert "secret" not in str(error)


def test_no_rows_in_an_npz_are_refused(store: DatasetStore, tmp_path: Path) -> None:
    path = write(tmp_path / "data.npz", {"id": np.array([], "U1"), "x": [], "y": []})
    assert refused(store, path, flags()).problem == "has no rows"


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_archives_that_say_two_things_are_refused(store: DatasetStore, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.npz", [*MEMBERS, ("x.npy", npy([9.0, 9.0]))])
    assert refused(store, path, flags()).problem == "has a column name twice"
    path = write_zip(tmp_path / "data.npz", MEMBERS[:2])
    assert refused(store, path, flags()).problem == "has no column 'y' among its 2"
    path = write_zip(tmp_path / "data.npz", [])
    assert refused(store, path, flags()).problem == "has no column 'id' among its 0"


def test_a_member_that_is_no_array_hides_none(store: DatasetStore, tmp_path: Path) -> None:
    plain = store.add(write_zip(tmp_path / "plain.npz", MEMBERS), flags())
    path = write_zip(tmp_path / "data.npz", [("x", npy([9.0, 9.0])), *MEMBERS, ("read.me", b"")])
    assert store.add(path, flags()) == plain


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_the_compression_that_numpy_writes_is_opened(
    store: DatasetStore, tmp_path: Path, compression: int
) -> None:
    path = write_zip(tmp_path / "data.npz", MEMBERS, zipfile.ZIP_DEFLATED)
    store.add(path, flags())
    path = write_zip(tmp_path / "data.npz", MEMBERS, compression)
    assert refused(store, path, flags()).problem == "is not a readable .npz file"


def test_damaged_archives_are_refused(store: DatasetStore, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.npz", MEMBERS)
    good = path.read_bytes()
    values = good.index(np.array([1.0, 2.0]).tobytes())
    encrypted = bytearray(good)
    for start in (good.index(b"PK\x03\x04") + 6, good.index(b"PK\x01\x02") + 8):
        encrypted[start] |= 1
    for content in (
        b"",
        b"PK\x05\x06",
        CSV.encode(),
        good[:-30],
        good[: len(good) // 2],
        good[:values] + b"\xff" + good[values + 1 :],
        bytes(encrypted),
    ):
        path.write_bytes(content)
        assert refused(store, path, flags()).problem == "is not a readable .npz file"


def test_an_archive_that_lies_about_its_sizes_is_refused(
    store: DatasetStore, tmp_path: Path
) -> None:
    """Array and directory agree on a gigabyte, which the archive cannot hold."""
    count = 2**27
    array = described("'<f8'", f"({count},)") + b"\0" * 64
    path = write_zip(tmp_path / "data.npz", [("x.npy", array), *MEMBERS[::2]])
    content = bytearray(path.read_bytes())
    size = (len(array) + 8 * count).to_bytes(4, "little")
    content[22:26] = size
    start = content.index(b"PK\x01\x02")
    content[start + 24 : start + 28] = size
    path.write_bytes(content)
    assert refused(store, path, flags()).problem == "holds Python objects or damaged arrays"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 2**20)
    zeros = npy(np.zeros(2**20))
    members = [("id.npy", IDS), ("x.npy", zeros), ("y.npy", YS)]
    path = write_zip(tmp_path / "data.npz", members, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**14
    assert refused(store, path, flags()).problem == "unpacks to too much"
    # A member that nobody asked for is never unpacked.
    path = write_zip(tmp_path / "data.npz", [*MEMBERS, ("z.npy", zeros)], zipfile.ZIP_DEFLATED)
    store.add(path, flags())
