"""docs/requests.md says what the models accept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sytff_policy import request as module
from sytff_policy._model import parse
from sytff_policy.decision import BudgetView, Cost, Decision, Outcome, Reason
from sytff_policy.request import TrainRequest
from tests.request.documents import REQUIRED

TEXT = (Path(__file__).parents[2] / "docs" / "requests.md").read_text(encoding="utf-8")
OBJECTS = {"clipping", "client_optimizer", "server_optimizer", "model", "evaluation"}


def tables() -> list[list[list[str]]]:
    """Every table of the page, as rows of cells, without its header."""
    found: list[list[list[str]]] = []
    for block in re.findall(r"(?:^\|.*\n)+", TEXT, flags=re.MULTILINE):
        rows = [[cell.strip() for cell in line[1:-2].split("|")] for line in block.splitlines()]
        found.append(rows[2:])
    return found


FIELD_TABLES = [table for table in tables() if len(table[0]) == 5]
MODELS: list[type[BaseModel]] = [
    module.TrainRequest,
    module.FixedClipping,
    module.AdaptiveClipping,
    module.ClientOptimizer,
    module.ServerOptimizer,
    module.Evaluation,
]


def kind_of(field: FieldInfo) -> str:
    names = {int: "whole number", float: "number", str: "text"}
    parts = get_args(field.annotation) or (field.annotation,)
    if get_origin(field.annotation) is not None and str(field.annotation).startswith("typing.Lit"):
        return "choice"
    for part in parts:
        if part in names:
            return names[part]
        if str(part).startswith("typing.Literal"):
            return "choice"
        inner = [item for item in get_args(part) if item in names]
        if inner:
            return names[inner[0]]
    return "object"


def schema_of(model: type[BaseModel], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = model.model_json_schema()["properties"][name]
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    return {**schema, **(choices[0] if choices else {})}


def accepted(schema: dict[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "string":
        low, high = schema.get("minLength", 0), schema["maxLength"]
        return f"{low} to {high} characters" if low else f"at most {high} characters"
    signs = (("exclusiveMinimum", ">"), ("minimum", ">="),
             ("exclusiveMaximum", "<"), ("maximum", "<="))  # fmt: skip
    return ", ".join(f"{sign} {schema[key]:.0f}" if schema[key] % 1 == 0 else
                     f"{sign} {schema[key]}" for key, sign in signs if key in schema)  # fmt: skip


def is_nullable(model: type[BaseModel], name: str) -> bool:
    schema = model.model_json_schema()["properties"][name]
    return {"type": "null"} in schema.get("anyOf", ())


def test_there_is_a_table_for_every_model() -> None:
    assert len(FIELD_TABLES) == len(MODELS)


@pytest.mark.parametrize("index", range(len(MODELS)), ids=lambda index: MODELS[index].__name__)
def test_the_fields_are_those_of_the_model(index: int) -> None:
    names = [row[0].strip("`") for row in FIELD_TABLES[index]]
    assert names == list(MODELS[index].model_fields)
    assert all(row[4] for row in FIELD_TABLES[index])


@pytest.mark.parametrize("index", range(len(MODELS)), ids=lambda index: MODELS[index].__name__)
def test_types_limits_and_defaults_are_those_of_the_model(index: int) -> None:
    model = MODELS[index]
    for name, kind, limits, default, _ in FIELD_TABLES[index]:
        field = model.model_fields[name.strip("`")]
        nullable = is_nullable(model, name.strip("`"))
        if name.strip("`") in OBJECTS:
            assert kind == ("object or null" if nullable else "object")
        else:
            schema = schema_of(model, name.strip("`"))
            assert kind == kind_of(field) + (" or null" if nullable else ""), name
            assert limits == accepted(schema), name
        if name.strip("`") not in OBJECTS - {"model"}:
            expected = "required" if field.is_required() else json.dumps(field.default)
            assert default.strip("`") == expected, name


def test_the_defaults_of_objects_are_those_of_the_model() -> None:
    shown = {row[0].strip("`"): row[3].strip("`") for row in FIELD_TABLES[0]}
    assert shown["clipping"] == "fixed, norm 1"
    explicit = {name: {} for name in OBJECTS - {"clipping", "model"} if shown[name] == "{}"}
    assert set(explicit) == {"client_optimizer", "server_optimizer", "evaluation"}
    clipping = {"kind": "fixed", "norm": 1}
    assert (
        parse(TrainRequest, {**REQUIRED, **explicit, "clipping": clipping}).digest
        == parse(TrainRequest, REQUIRED).digest
    )


def test_the_example_is_a_request() -> None:
    example = json.loads(re.findall(r"^```json\n(.*?)^```", TEXT, flags=re.M | re.S)[0])
    del example["dataset"]
    parse(TrainRequest, {**REQUIRED, **example})


def test_the_example_of_a_decision_has_every_field_of_one() -> None:
    example = json.loads(re.findall(r"^```json\n(.*?)^```", TEXT, flags=re.M | re.S)[1])
    reason = Reason(code="c", source="s", message="m")
    decision = Decision(
        Outcome.DENY, "d", (reason,), Cost(None, None, 0), BudgetView(0, 0, 0, 0, 0), "n", "r"
    ).to_json()
    assert list(example) == list(decision)
    assert list(example["reasons"][0]) == list(decision["reasons"][0])
    for part in ("cost", "budget"):
        assert list(example[part]) == list(decision[part])
    described = [[row[0].strip("`") for row in table] for table in tables() if len(table[0]) == 2]
    assert described == [list(decision), list(decision["reasons"][0])]
