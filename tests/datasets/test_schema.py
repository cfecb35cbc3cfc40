"""What can be declared, and what a declaration means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sytff_policy._model import parse
from sytff_policy.datasets import (
    ArrayFeature,
    CategoricalFeature,
    ClassLabel,
    DatasetSchema,
    DerivedLabel,
    NumericFeature,
    ValueLabel,
    schema_from_flags,
)
from sytff_policy.datasets.schema import Identity, Range, Standardize
from sytff_policy.errors import InvalidInput, InvalidInputs


def flags(features: str = "x", label: str = "y", unit: str = "id") -> DatasetSchema:
    return schema_from_flags(unit=unit, features=features, label=label)


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("female", NumericFeature(name="female", encoding=Identity())),
        ("age:25..64", NumericFeature(name="age", encoding=Range(low=25.0, high=64.0))),
        ("t:-1.5..-.5", NumericFeature(name="t", encoding=Range(low=-1.5, high=-0.5))),
        ("inc~3.5/1.8", NumericFeature(name="inc", encoding=Standardize(mean=3.5, stddev=1.8))),
        ("region:{north|south}", CategoricalFeature(name="region", values=("north", "south"))),
        ("images:[28x28]/4", ArrayFeature(name="images", shape=(28, 28), scale=0.25)),
        ("signal:[16]", ArrayFeature(name="signal", shape=(16,))),
    ],
)
def test_each_notation_of_a_feature_means_one_declaration(text: str, feature: Any) -> None:
    assert flags(features=text).features == (feature,)


def test_a_comma_inside_a_list_of_values_does_not_end_the_feature() -> None:
    assert [feature.name for feature in flags(features="a, c:{x,1|y} ,b").features] == [
        "a",
        "c",
        "b",
    ]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("ill", ClassLabel(column="ill", name="ill", classes=2)),
        ("digit:10", ClassLabel(column="digit", name="digit", classes=10)),
        ("kind:{a|b}", ClassLabel(column="kind", name="kind", classes=2, values=("a", "b"))),
        ("cost:0..500", ValueLabel(column="cost", name="cost", low=0.0, high=500.0)),
        *(
            (
                f"visited=docvis{sign}2",
                DerivedLabel(column="docvis", name="visited", comparison=sign, threshold=2.0),
            )
            for sign in (">", ">=", "<", "<=", "==")
        ),
        ("docvis>0", DerivedLabel(column="docvis", name="docvis", comparison=">", threshold=0.0)),
    ],
)
def test_each_notation_of_a_label_means_one_declaration(text: str, label: Any) -> None:
    assert flags(label=text).label == label


@pytest.mark.parametrize("text", ["", "x:", "x:1..", "x~1", "x:{}", "x:[]", "x:[2]/0", "a,,b"])
def test_a_feature_that_is_not_understood_names_the_flag(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        flags(features=text)
    assert caught.value.field == "--features"


@pytest.mark.parametrize("text", ["", "y>", "y=>0", "y>nan", "y!=1", ">0"])
def test_a_label_that_is_not_understood_names_the_flag(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        flags(label=text)
    assert caught.value.field == "--label"


@pytest.mark.parametrize(
    ("features", "label", "problem"),
    [
        ("x,x", "y", "feature 'x' is declared twice"),
        ("id", "y", "the unit column 'id' cannot be a feature"),
        ("y", "y", "the label column 'y' cannot be a feature too"),
        ("docvis", "visited=docvis>0", "the label column 'docvis' cannot be a feature too"),
        ("x", "id>0", "the unit column 'id' cannot be the label"),
        ("im:[2],x", "y", "array feature 'im' must be the only feature"),
        ("im:[2]", "im=y>0", "label name 'im' is the feature asset's"),
        ("x", "features=y>0", "label name 'features' is the feature asset's"),
        ("labels:[2]", "y", "array feature 'labels' has the name of the label asset"),
        ("x:64..25", "y", "low 64.0 must be below high 25.0"),
        ("x:1..1", "y", "must be below"),
        ("x:1e999..2", "y", "finite"),
        ("x~1/0", "y", "greater than 0"),
        ("x:{a|a}", "y", "not distinct"),
        ("x:{a}", "y", "at least 2"),
        ("x:[0x2]", "y", "greater than or equal to 1"),
        ("x", "y:1", "greater than or equal to 2"),
        ("x", "y:9..1", "low 9.0 must be below high 1.0"),
        ("x", "y:1..1", "must be below"),
    ],
)
def test_a_declaration_at_odds_with_itself_is_refused(
    features: str, label: str, problem: str
) -> None:
    with pytest.raises(InvalidInputs) as caught:
        flags(features=features, label=label)
    assert len(caught.value.errors) == 1
    assert problem in str(caught.value)


def test_a_schema_needs_a_feature() -> None:
    document = {"unit": "id", "features": [], "label": {"kind": "class", "column": "y"}}
    document["label"] |= {"name": "y", "classes": 2}  # type: ignore[operator]  # a dict
    with pytest.raises(InvalidInputs, match="at least one feature"):
        parse(DatasetSchema, document)


@pytest.mark.parametrize("values", [["a", "a", "b"], ["a"], ["a", "b", "c"]])
def test_a_class_label_has_exactly_one_value_per_class(values: list[str]) -> None:
    document = {"column": "y", "name": "y", "classes": 2, "values": values}
    with pytest.raises(InvalidInputs, match="2 classes need 2 distinct values"):
        parse(ClassLabel, document)


@pytest.mark.parametrize("value", ["", " a", "a ", " "])
def test_a_category_that_no_trimmed_cell_could_equal_is_refused(value: str) -> None:
    with pytest.raises(InvalidInputs):
        parse(CategoricalFeature, {"kind": "categorical", "name": "c", "values": ["b", value]})


@pytest.mark.parametrize(
    ("features", "shape", "asset"),
    [
        ("a,b:0..1,c:{x|y|z}", (5,), "features"),
        ("images:[28x28]", (28, 28), "images"),
        ("images:[4x4x3]", (4, 4, 3), "images"),
    ],
)
def test_shape_and_assets_follow_from_the_declaration(
    features: str, shape: tuple[int, ...], asset: str
) -> None:
    schema = flags(features=features, label="seen=visits>0")
    assert (schema.feature_shape, schema.feature_asset, schema.label_asset) == (
        shape,
        asset,
        "seen",
    )


@pytest.mark.parametrize("label", ["y", "y:{a|b}", "v=y>=2", "y:0..5"])
def test_a_schema_survives_json_unchanged(label: str) -> None:
    schema = flags(features="a,b:0..1,c~1/2,d:{x|y}", label=label)
    text = json.dumps(schema.model_dump(mode="json"))
    assert parse(DatasetSchema, json.loads(text)) == schema


def test_the_public_description_is_the_declaration_and_nothing_else() -> None:
    assert flags(features="age:25..64", label="visited=docvis>0").public_description() == {
        "features": [
            {
                "kind": "numeric",
                "name": "age",
                "encoding": {"kind": "range", "low": 25.0, "high": 64.0},
            }
        ],
        "label": {
            "kind": "derived",
            "column": "docvis",
            "name": "visited",
            "comparison": ">",
            "threshold": 0.0,
        },
        "feature_asset": "features",
        "label_asset": "visited",
        "feature_shape": [1],
        "classes": 2,
        "unit": "id",
        "tags": [],
    }
