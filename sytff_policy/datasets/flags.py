"""The short notation for schemas on the command line.

Features, separated by commas:

    female                 a number, as it is
    age:25..64             a number between 25 and 64, scaled to [-1, 1]
    income~3.5/1.8         a number with mean 3.5 and standard deviation 1.8, standardised
    region:{north|south}   one of the listed values, one-hot
    images:[28x28]/255     an array of this shape, divided by 255

Label:

    visited=docvis>0       1 where docvis is above 0 (>, >=, <, <=, ==); `visited=` is optional
    digit:10               an integer class, 0 to 9
    ill                    0 or 1
    cost:0..500            a number to predict, clipped to the range
"""

from __future__ import annotations

import re
from typing import Any

from sytff_policy._model import parse
from sytff_policy.datasets.schema import DatasetSchema
from sytff_policy.errors import InvalidInput

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NAME = r"[^,:~=<>{}\[\]]+?"
_RANGE = re.compile(rf"^({_NAME}):({_NUMBER})\.\.({_NUMBER})$")
_STANDARD = re.compile(rf"^({_NAME})~({_NUMBER})/({_NUMBER})$")
_CATEGORY = re.compile(rf"^({_NAME}):\{{([^{{}}]+)\}}$")
_ARRAY = re.compile(rf"^({_NAME}):\[(\d+(?:x\d+)*)\](?:/({_NUMBER}))?$")
_PLAIN = re.compile(rf"^({_NAME})$")
_DERIVED = re.compile(rf"^(?:({_NAME})=(?!=))?({_NAME})(>=|<=|==|>|<)({_NUMBER})$")
_CLASSES = re.compile(rf"^({_NAME}):(\d+)$")


def schema_from_flags(
    *, unit: str, features: str, label: str, tags: tuple[str, ...] = ()
) -> DatasetSchema:
    """The schema that command-line flags describe.

    Raises:
      InvalidInput, InvalidInputs: Naming the flag and the part that is not understood.
    """
    document = {
        "unit": unit,
        "features": [_feature(part.strip()) for part in _split(features)],
        "label": _label(label.strip()),
        "tags": list(tags),
    }
    return parse(DatasetSchema, document, where="schema")


def _split(text: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character in "{[") - (character in "}]")
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    parts.append(current)
    if any(not part.strip() for part in parts):
        raise InvalidInput("--features", "has an empty entry", value=text)
    return parts


def _feature(text: str) -> dict[str, Any]:
    if match := _RANGE.match(text):
        name, low, high = match.groups()
        encoding: dict[str, Any] = {"kind": "range", "low": float(low), "high": float(high)}
        return {"kind": "numeric", "name": name.strip(), "encoding": encoding}
    if match := _STANDARD.match(text):
        name, mean, stddev = match.groups()
        encoding = {"kind": "standardize", "mean": float(mean), "stddev": float(stddev)}
        return {"kind": "numeric", "name": name.strip(), "encoding": encoding}
    if match := _CATEGORY.match(text):
        name, values = match.groups()
        return {
            "kind": "categorical",
            "name": name.strip(),
            "values": [value.strip() for value in values.split("|")],
        }
    if match := _ARRAY.match(text):
        name, shape, divisor = match.groups()
        if divisor is not None and not float(divisor) > 0:
            raise InvalidInput("--features", "has a divisor that is not above 0", value=text)
        return {
            "kind": "array",
            "name": name.strip(),
            "shape": [int(axis) for axis in shape.split("x")],
            "scale": 1.0 / float(divisor) if divisor else 1.0,
        }
    if match := _PLAIN.match(text):
        return {"kind": "numeric", "name": match.group(1).strip()}
    raise InvalidInput(
        "--features",
        "is not understood",
        value=text,
        limit="name, name:LOW..HIGH, name~MEAN/STDDEV, name:{a|b}, name:[28x28]/255",
    )


def _label(text: str) -> dict[str, Any]:
    if match := _DERIVED.match(text):
        name, column, comparison, threshold = match.groups()
        return {
            "kind": "derived",
            "column": column.strip(),
            "name": (name or column).strip(),
            "comparison": comparison,
            "threshold": float(threshold),
        }
    if match := _RANGE.match(text):
        column, low, high = match.groups()
        column = column.strip()
        return {
            "kind": "value",
            "column": column,
            "name": column,
            "low": float(low),
            "high": float(high),
        }
    if match := _CATEGORY.match(text):
        column, listed = match.groups()
        values = [value.strip() for value in listed.split("|")]
        column = column.strip()
        return {
            "kind": "class",
            "column": column,
            "name": column,
            "classes": len(values),
            "values": values,
        }
    if match := _CLASSES.match(text):
        column, classes = match.groups()
        column = column.strip()
        return {"kind": "class", "column": column, "name": column, "classes": int(classes)}
    if match := _PLAIN.match(text):
        column = match.group(1).strip()
        return {"kind": "class", "column": column, "name": column, "classes": 2}
    raise InvalidInput(
        "--label",
        "is not understood",
        value=text,
        limit="NAME, NAME:CLASSES, NAME:{a|b}, [NAME=]COLUMN>NUMBER, NAME:LOW..HIGH",
    )
