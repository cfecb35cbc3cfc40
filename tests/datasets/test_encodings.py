"""What an encoding makes of numbers, categories, labels and arrays: the declaration alone."""

from __future__ import annotations

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
    ArrayFeature,
    CategoricalFeature,
    DatasetStore,
)
from sytff_policy.datasets.reading import read_rows
from tests.datasets.tables import (
    KEY,
    PEOPLE,
    SCHEMA,
    by_person,
    flags,
    refused,
    stored,
    write,
)


def table(**columns: Any) -> dict[str, Any]:
    return {"id": ["a", "b", "c"], "x": [1.0, 2.0, 3.0], "y": [0, 1, 0], **columns}


# --- encodings ----------------------------------------------------------------------------------


def encoded(path: Path, feature: str, cells: Any) -> list[list[float]]:
    count = len(cells)
    columns = {"id": range(count), "x": cells, "y": [0] * count}
    return read_rows(write(path, columns), flags(features=feature)).features.tolist()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_numbers_are_encoded_as_declared(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"d{suffix}"
    cells = [-1e300, 20.0, 45.0, 70.0, 1e300]
    assert encoded(path, "x:20..70", cells) == [[-1.0], [-1.0], [0.0], [1.0], [1.0]]
    assert encoded(path, "x~45/2.5", cells) == [[-10.0], [-10.0], [0.0], [10.0], [10.0]]
    assert encoded(path, "x", [1.5, -0.0, 3e38]) == [[1.5], [0.0], [np.float32(3e38)]]


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (pa.bool_(), [False, True]),
        (pa.int8(), [0, 1]),
        (pa.uint64(), [0, 1]),
        (pa.float16(), [np.float16(0), np.float16(1)]),
        (pa.float32(), [0.0, 1.0]),
        (pa.decimal128(5, 2), [Decimal(0), Decimal(1)]),
        (pa.decimal256(50, 2), [Decimal(0), Decimal(1)]),
        (pa.string(), ["0", "1"]),
        (pa.dictionary(pa.int8(), pa.string()), ["0", "1"]),
        (pa.dictionary(pa.int8(), pa.int64()), [0, 1]),
    ],
    ids=str,
)
def test_numbers_of_every_type_are_the_same_numbers(
    tmp_path: Path, kind: pa.DataType, cells: list[Any]
) -> None:
    assert encoded(tmp_path / "d.parquet", "x", pa.array(cells, kind)) == [[0.0], [1.0]]


@pytest.mark.parametrize("kind", ["<f4", ">f4", ">f8", "<f2", ">i2", "<u8", "?", "longdouble"])
def test_numbers_of_every_byte_order_are_the_same_numbers(tmp_path: Path, kind: str) -> None:
    assert encoded(tmp_path / "d.npz", "x", np.array([0, 1], kind)) == [[0.0], [1.0]]


def test_integers_beyond_double_precision_are_rounded_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    assert encoded(path, "x", pa.array([2**53 + 1, 2**63 - 1])) == [[2.0**53], [2.0**63]]


@pytest.mark.parametrize(
    "cells",
    [
        ["n", " s ", "n"],
        pa.array(["n", "s", "n"]).dictionary_encode(),
        pa.array(["n", "s", "n"], pa.large_string()),
    ],
    ids=["text", "dictionary", "large"],
)
def test_categories_are_one_hot_in_declared_order(tmp_path: Path, cells: Any) -> None:
    expected = [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    assert encoded(tmp_path / "d.parquet", "x:{s|n}", cells) == expected


def test_categories_may_be_numbers(tmp_path: Path) -> None:
    cells: Any
    for cells in (["3", "1", "3"], [3, 1, 3], [3.0, 1.0, 3.0]):
        path = tmp_path / ("d.csv" if isinstance(cells[0], str) else "d.parquet")
        assert encoded(path, "x:{1|3}", cells) == [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("cell", [1.5, math.nan, math.inf, 1e300])
def test_a_category_that_is_no_whole_number_is_refused(
    store: DatasetStore, tmp_path: Path, cell: float
) -> None:
    path = write(tmp_path / "d.parquet", table(x=[1.0, cell, 3.0]))
    error = refused(store, path, flags(features="x:{1|3}"))
    assert (error.field, error.problem) == ("column 'x', row 2", "is not a whole number")


def test_an_unknown_category_may_be_declared_to_be_none_of_them(tmp_path: Path) -> None:
    feature = CategoricalFeature(name="x", values=("n", "s"), unknown="zero")
    schema = flags().model_copy(update={"features": (feature,)})
    path = write(tmp_path / "d.parquet", table(x=pa.array(["n", "west", None])))
    assert read_rows(path, schema).features.tolist() == [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("label", "cells", "expected"),
    [
        ("y", [1, 0, 1], np.array([1, 0, 1], np.int32)),
        ("y:3", ["2", "0", "1.0"], np.array([2, 0, 1], np.int32)),
        ("y:{no|yes}", ["yes", " no", "yes"], np.array([1, 0, 1], np.int32)),
        ("v=y>2", [2, 3, -1], np.array([0, 1, 0], np.int32)),
        ("v=y>=2", [2, 3, -1], np.array([1, 1, 0], np.int32)),
        ("v=y<2", [2, 3, -1], np.array([0, 0, 1], np.int32)),
        ("v=y<=2", [2, 3, -1], np.array([1, 0, 1], np.int32)),
        ("v=y==2", [2, 3, -1], np.array([1, 0, 0], np.int32)),
        ("y:0..2.5", [-1, 1.25, 9], np.array([0, 1.25, 2.5], np.float32)),
    ],
)
def test_labels_are_what_was_declared(
    tmp_path: Path, label: str, cells: list[Any], expected: np.ndarray[Any, Any]
) -> None:
    labels = read_rows(write(tmp_path / "d.csv", table(y=cells)), flags(label=label)).labels
    assert labels.dtype == expected.dtype
    np.testing.assert_array_equal(labels, expected)


# --- arrays -------------------------------------------------------------------------------------

IMAGES = np.arange(2 * 28 * 28).reshape(2, 28, 28) % 256


def images(path: Path, column: Any, feature: str = "im:[28x28]/255") -> Any:
    write(path, {"id": ["a", "b"], "im": column, "y": [0, 1]})
    return read_rows(path, flags(features=feature)).features


@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 784), (2, 28, 28, 1), (2, 1, 28, 28)])
@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64, ">f4", "<f2"])
def test_images_are_scaled_whatever_their_layout(
    tmp_path: Path, shape: tuple[int, ...], kind: Any
) -> None:
    expected = (IMAGES.reshape(2, 784) * (1.0 / 255)).astype(np.float32)
    found = images(tmp_path / "d.npz", IMAGES.reshape(shape).astype(kind))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_declared_axes_of_one_need_not_be_stored(tmp_path: Path) -> None:
    for feature in ("im:[28x28x1]", "im:[784]", "im:[1x784]"):
        column = IMAGES if feature.startswith("im:[28") else IMAGES.reshape(2, 784)
        assert images(tmp_path / "d.npz", column, feature).shape == (2, 784)
    for feature in ("im:[28x28x1]", "im:[28x28]", "im:[784]"):
        flat = pa.array(IMAGES.reshape(2, 784).tolist())
        assert images(tmp_path / "d.parquet", flat, feature).shape == (2, 784)
    nested = pa.array(IMAGES.tolist())
    assert images(tmp_path / "d.parquet", nested, "im:[28x28x1]").shape == (2, 784)


@pytest.mark.parametrize(
    "column",
    [
        np.zeros((2, 783)),
        np.zeros((2, 28, 27)),
        np.zeros((2, 14, 56)),
        np.zeros((2, 28, 28, 2)),
        np.zeros((2, 4, 7, 28)),
        np.zeros(2),
        np.zeros((2, 0)),
    ],
    ids=lambda column: str(column.shape),
)
def test_an_array_of_another_shape_is_refused(
    store: DatasetStore, tmp_path: Path, column: Any
) -> None:
    path = write(tmp_path / "d.npz", {"id": ["a", "b"], "im": column, "y": [0, 1]})
    error = refused(store, path, flags(features="im:[28x28]"))
    assert (error.field, error.problem) == ("array 'im'", "has another shape than declared")
    assert (error.value, error.limit) == (column.shape[1:], (28, 28))


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0]], "another number of elements"),
        ([[1.0, 2.0, 3.0, 4.0], None], "another number of elements"),
        ([[1.0, 2.0, 3.0, 4.0], [1.0, None, 3.0, 4.0]], "missing, NaN, infinite or too large"),
        ([[1.0, 2.0, 3.0, 4.0], [1.0, math.nan, 3.0, 4.0]], "missing, NaN, infinite"),
        ([[1.0, 2.0, 3.0, 4.0], [1.0, 1e300, 3.0, 4.0]], "missing, NaN, infinite"),
        ([[[1, 2], [3, 4]], [[1, 2], [3]]], "another number of elements"),
        ([[[1, 2], [3, 4]], [[1, 2], None]], "another number of elements"),
        ([[[1, 2], [3, 4]], [[1, 2]]], "another number of elements"),
    ],
)
def test_ragged_and_missing_elements_are_named_by_row(
    store: DatasetStore, tmp_path: Path, column: list[Any], problem: str
) -> None:
    path = write(tmp_path / "d.parquet", {"id": ["a", "b"], "im": column, "y": [0, 1]})
    error = refused(store, path, flags(features="im:[2x2]"))
    assert error.field == "column 'im', row 2"
    assert problem in error.problem


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_an_element_that_is_not_finite_is_named_by_row(
    store: DatasetStore, tmp_path: Path, value: float
) -> None:
    """In a later block, where rows are counted on."""
    count = 3000
    column = np.zeros((count, 50, 50))
    column[2345, 7, 7] = column[2800, 0, 0] = value
    path = write(tmp_path / "d.npz", {"id": np.arange(count), "im": column, "y": [0] * count})
    error = refused(store, path, flags(features="im:[50x50]"))
    assert error.field == "column 'im', row 2346"
    assert error.problem.endswith("(and 1 more rows)")


@pytest.mark.parametrize(
    "column",
    [
        ["1", "2"],
        [1.0, 2.0],
        [["1", "2"], ["3", "4"]],
        [[True, False], [True, True]],
        [[[[[1, 2]]]], [[[[3, 4]]]]],
        [{"a": 1.0}, {"a": 2.0}],
        [[None, None], [None, None]],
    ],
    ids=str,
)
def test_what_is_no_list_of_numbers_is_refused(
    store: DatasetStore, tmp_path: Path, column: list[Any]
) -> None:
    path = write(tmp_path / "d.parquet", {"id": ["a", "b"], "im": column, "y": [0, 1]})
    error = refused(store, path, flags(features="im:[2]"))
    assert error.field == "column 'im'"
    assert error.problem.startswith("holds ")


@pytest.mark.parametrize("kind", ["U1", "M8[s]", "complex64", [("a", "f4"), ("b", "f4")]])
def test_an_array_of_no_numbers_is_refused(store: DatasetStore, tmp_path: Path, kind: Any) -> None:
    column = np.zeros((2, 2), kind)
    path = write(tmp_path / "d.npz", {"id": ["a", "b"], "im": column, "y": [0, 1]})
    assert refused(store, path, flags(features="im:[2]")).problem.startswith("holds ")


def test_arrays_do_not_come_in_csv(store: DatasetStore, tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", {"id": ["a"], "im": ["[1, 2]"], "y": [0]})
    assert refused(store, path, flags(features="im:[2]")).limit == "lists of numbers"


def test_an_array_is_multiplied_by_its_scale(tmp_path: Path) -> None:
    schema = flags().model_copy(update={"features": (ArrayFeature(name="x", shape=(2,), scale=3),)})
    columns = table(x=np.array([[1, 2], [3, 4], [-0.0, 5]]))
    found = read_rows(write(tmp_path / "d.npz", columns), schema).features
    assert found.tolist() == [[3.0, 6.0], [9.0, 12.0], [0.0, 15.0]]
    assert not np.signbit(found).any()


# --- an encoding is a function of the declaration alone -----------------------------------------

PERSON = st.fixed_dictionaries(
    {
        "age": st.integers(0, 120),
        "income": st.floats(-1e6, 1e6),
        "region": st.sampled_from(["north", "south"]),
        "visits": st.integers(0, 50),
    }
)


@given(people=st.lists(PERSON, min_size=1, max_size=6), extreme=PERSON, at=st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_one_more_person_changes_nobody_elses_rows(
    people: list[dict[str, Any]], extreme: dict[str, Any], at: int
) -> None:
    named = [{"id": f"p{number}", **person} for number, person in enumerate(people)]
    more = [*named[:at], {"id": "extreme", **extreme}, *named[at:]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = DatasetStore(folder / "store", KEY)
        before, after = (
            by_person(
                stored(
                    store,
                    write(folder / "d.csv", {key: [row[key] for row in rows] for key in PEOPLE}),
                    SCHEMA,
                )
            )
            for rows in (named, more)
        )
    after.pop("extreme")
    assert after == before
