"""`dataset register --schema FILE`: the declaration as a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import Sytff, register


def test_a_schema_may_come_as_a_file(sytff: Sytff, empty: Path) -> None:
    schema = {
        "unit": "person",
        "features": [
            {"kind": "numeric", "name": "age", "encoding": {"kind": "range", "low": 25, "high": 64}}
        ],
        "label": {"kind": "class", "column": "ill", "name": "ill", "classes": 2},
    }
    Path("schema.json").write_text(json.dumps(schema))
    by_file = register(unit=None, features=None, label=None, schema="schema.json")
    version = sytff.json(*by_file)["version"]
    assert "this data is registered" in sytff.refused(*register("again"))
    assert sytff.json("dataset", "show", "people")["version"] == version


def test_a_schema_may_come_from_standard_input_and_take_the_unit(sytff: Sytff, empty: Path) -> None:
    schema = {
        "features": [{"kind": "numeric", "name": "age"}],
        "label": {"kind": "class", "column": "ill", "name": "ill", "classes": 2},
    }
    arguments = register(features=None, label=None, schema="-")
    assert sytff.json(*arguments, stdin=json.dumps(schema).encode())["population"] == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[]", "schema.json"),
        ("{}", "required field is missing"),
        ('{"unit": "person", "unit": "age"}', "stands twice"),
        ('{"unit": 5}', "schema.json: unit"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ('{"unit": "person", "colour": 1}', "colour: unknown field"),
        ('{"unit": "person", "features": [{"kind": "numeric", "name": NaN}]}', "NaN"),
    ],
)
def test_a_bad_schema_file(content: str, expected: str, sytff: Sytff, empty: Path) -> None:
    Path("schema.json").write_text(content)
    arguments = register(features=None, label=None, schema="schema.json")
    assert expected in sytff.refused(*arguments)
    assert sytff.json("dataset", "list") == {"datasets": []}


SCHEMA = {
    "unit": "person",
    "features": [{"kind": "numeric", "name": "age"}, {"kind": "numeric", "name": "score"}],
    "label": {"kind": "class", "column": "ill", "name": "ill", "classes": 2},
}


@pytest.mark.parametrize(
    "flags",
    [
        {"unit": None, "features": None, "label": None},
        {"unit": "person", "features": "age,score", "label": "ill"},
        {"unit": None, "features": "age,score", "label": None},
    ],
    ids=str,
)
def test_flags_beside_a_schema_may_repeat_it(
    flags: dict[str, str | None], sytff: Sytff, empty: Path
) -> None:
    Path("schema.json").write_text(json.dumps(SCHEMA))
    assert sytff.json(*register(schema="schema.json", **flags))["schema"]["feature_shape"] == [2]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"unit": "sex"}, "--unit: is another than the schema's (got 'sex'); accepted: person"),
        ({"features": "age"}, "--features: is another than the schema's"),
        ({"features": "score,age"}, "accepted: age,score"),
        ({"features": "age:25..64,score"}, "--features: is another than the schema's"),
        ({"features": "age,score", "label": "grade"}, "--label: is another than the schema's"),
    ],
    ids=str,
)
def test_flags_beside_a_schema_must_not_contradict_it(
    flags: dict[str, str], expected: str, sytff: Sytff, empty: Path
) -> None:
    Path("schema.json").write_text(json.dumps(SCHEMA))
    assert expected in sytff.refused(*register(schema="schema.json", **flags))
