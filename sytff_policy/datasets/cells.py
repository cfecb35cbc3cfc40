"""From a column that nobody has judged to numbers or text that are all there.

Columns are gone through chunk by chunk, so that no second copy of a column is made. Errors name
the column and the row (1-based, not counting a header), and never the value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sytff_policy.errors import InvalidInput

_MAX_EXACT = 2**53
_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"


def refuse(bad: Any, name: str, problem: str, limit: str) -> None:
    """Raises for the first row that is `bad`.

    Args:
      bad: Booleans [rows], of Arrow or NumPy, none missing.
      name: The column.
      problem: What is wrong with such a row.
      limit: What is accepted instead.
    """
    rows = np.flatnonzero(np.asarray(bad))
    if len(rows):
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        raise InvalidInput(f"column {name!r}, row {rows[0] + 1}", problem + more, limit=limit)


def chunks(column: Any, name: str) -> list[pa.Array]:
    """The column in pieces of one type; text of any layout as `large_string`, and Unicode.

    Raises:
      InvalidInput: For arrays of several axes, of types that are no cells, and for text that is
        not Unicode.
    """
    if isinstance(column, np.ndarray):
        return [_from_numpy(column, name)]
    if pa.types.is_float16(column.type):
        # Arrow computes nothing with them; a null becomes NaN.
        return [pa.array(column.to_numpy().astype(np.float64))]
    if not _is_text(column.type):
        return list(column.chunks)
    try:
        # Parquet does not promise that its text is Unicode.
        column.validate(full=True)
    except pa.ArrowInvalid:
        raise InvalidInput(f"column {name!r}", "holds text that is not Unicode") from None
    return [chunk.cast(pa.large_string()) for chunk in column.chunks]


def is_text(kind: pa.DataType) -> bool:
    """Whether `chunks` found text. A column of nulls alone is text that is missing."""
    return bool(pa.types.is_large_string(kind))


def is_numeric(kind: pa.DataType) -> bool:
    """Whether values of the type are integers or floating-point numbers."""
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def kind_of(kind: pa.DataType) -> str:
    """A type's name for a message. Not its fields: their names are from the file."""
    return "nested values" if pa.types.is_nested(kind) else str(kind)


def numpy_kind(column: npt.NDArray[Any]) -> str:
    """An array's type for a message. Not a structured type's fields: their names are the file's."""
    return "structured values" if column.dtype.kind == "V" else str(column.dtype)


def numbers(column: Any, name: str) -> npt.NDArray[np.float64]:
    """The column as finite numbers, [rows].

    Raises:
      InvalidInput: For a type that has no numbers, and for text, nulls, NaN and infinity.
    """
    values = np.empty(len(column), np.float64)
    is_number = np.ones(len(column), np.bool_)
    start = 0
    for chunk in chunks(column, name):
        stop = start + len(chunk)
        if is_text(chunk.type):
            chunk, is_number[start:stop] = _parsed(pc.utf8_trim_whitespace(chunk))
        elif pa.types.is_boolean(chunk.type):
            chunk = pc.cast(chunk, pa.uint8())
        elif not (is_numeric(chunk.type) or pa.types.is_decimal(chunk.type)):
            raise InvalidInput(f"column {name!r}", f"holds {kind_of(chunk.type)}", limit="numbers")
        # Unchecked: beyond 2**53 to the nearest double. The checked cast's error names the value.
        doubles = pc.cast(chunk, pa.float64(), safe=False)
        values[start:stop] = doubles.to_numpy(zero_copy_only=False)
        start = stop
    refuse(~is_number, name, "is not a number", "a finite number")
    refuse(~np.isfinite(values), name, "is empty, NaN, infinite or too large", "a finite number")
    return values


def _parsed(text: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Numbers, null where the text is empty or none; and where it is a number or empty."""
    try:
        return pc.cast(text, pa.float64()), np.ones(len(text), np.bool_)
    except pa.ArrowInvalid:
        number = pc.match_substring_regex(text, _NUMBER)
        found = pc.cast(pc.if_else(number, text, pa.scalar(None, text.type)), pa.float64())
        # Three-valued: a null is missing, not wrong.
        known = pc.or_(number, pc.equal(pc.binary_length(text), 0))
        return found, pc.fill_null(known, True).to_numpy(zero_copy_only=False)


def codes(
    column: Any, name: str, values: tuple[str | int, ...], *, fail: bool
) -> npt.NDArray[np.int32]:
    """The position of each cell in `values`, [rows]; -1 where it is none of them.

    Args:
      column: Text, integers or booleans; space around text does not count.
      name: Its name.
      values: The declared values.
      fail: Whether a cell that is none of them is an error.
    """
    declared = pa.array([str(value) for value in values], pa.large_string())
    found = np.empty(len(column), np.int32)
    is_whole = np.ones(len(column), np.bool_)
    start = 0
    for chunk in chunks(column, name):
        stop = start + len(chunk)
        if pa.types.is_floating(chunk.type):
            chunk, is_whole[start:stop] = _whole(chunk)
        elif not (
            is_text(chunk.type)
            or pa.types.is_integer(chunk.type)
            or pa.types.is_boolean(chunk.type)
        ):
            raise InvalidInput(
                f"column {name!r}", f"holds {kind_of(chunk.type)}", limit="text or integers"
            )
        text = pc.utf8_trim_whitespace(pc.cast(chunk, pa.large_string()))
        found[start:stop] = pc.fill_null(pc.index_in(text, declared), -1).to_numpy()
        start = stop
    refuse(~is_whole, name, "is not a whole number", f"categories below {_MAX_EXACT}")
    if fail:
        listed = ", ".join(str(value) for value in values[:20])
        refuse(found < 0, name, "the value is not a declared one", listed)
    return found


def _whole(numbers: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Floating-point categories as integers, and where they are: 3.0 is 3, 3.5 is none."""
    values = numbers.to_numpy(zero_copy_only=False)
    whole = (np.floor(values) == values) & (np.abs(values) < _MAX_EXACT)
    return pa.array(np.where(whole, values, 0).astype(np.int64)), whole


def _is_text(kind: pa.DataType) -> bool:
    # Views are of newer Arrow alone. An all-null column has a type of its own.
    is_view = getattr(pa.types, "is_string_view", lambda _: False)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_null(kind)
        or is_view(kind)
    )


def _from_numpy(column: npt.NDArray[Any], name: str) -> pa.Array:
    if column.ndim != 1:
        raise InvalidInput(
            f"array {name!r}", "has more than one axis", value=column.shape, limit="[rows]"
        )
    if column.dtype.kind not in "fiubU":
        raise InvalidInput(
            f"array {name!r}", f"holds {numpy_kind(column)}", limit="numbers or text"
        )
    # Arrow takes neither foreign byte order nor extended precision.
    if column.dtype.kind == "f":
        with np.errstate(over="ignore"):
            column = column.astype(np.float64)
    elif column.dtype.kind in "iu":
        column = column.astype(column.dtype.newbyteorder("="))
    try:
        array = pa.array(column)
    except (UnicodeError, pa.ArrowException):
        raise InvalidInput(f"array {name!r}", "holds text that is not Unicode") from None
    return array.cast(pa.large_string()) if _is_text(array.type) else array
