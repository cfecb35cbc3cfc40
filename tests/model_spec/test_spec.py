"""`ModelSpec` as a document: a graph of allow-listed layers, bounded, and without code."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy._model import parse
from sytff_policy.canonical import digest
from sytff_policy.errors import InvalidInput, InvalidInputs
from sytff_policy.model_spec import ModelSpec
from sytff_policy.model_spec.base import MAX_RANK
from sytff_policy.model_spec.layers import LAYER_CLASSES
from sytff_policy.model_spec.spec import MAX_ELEMENTS, MAX_LAYERS, MAX_PARAMETERS
from tests.model_spec.architectures import ARCHITECTURES
from tests.model_spec.test_golden import golden


def model(*layers: dict[str, Any], shape: Any = (6,), **fields: Any) -> dict[str, Any]:
    """A document of layers, each taking the one before unless it says otherwise."""
    document: dict[str, Any] = {"inputs": [{"name": "x", "shape": list(shape)}], "layers": []}
    previous = "x"
    for number, layer in enumerate(layers):
        full = {"name": f"l{number}", "inputs": [previous], **layer}
        document["layers"].append(full)
        previous = full["name"]
    return {**document, "output": previous, **fields}


def refused(document: Any) -> str:
    with pytest.raises((InvalidInput, InvalidInputs)) as caught:
        parse(ModelSpec, document)
    return str(caught.value)


DENSE = {"type": "Dense", "units": 2}


def test_a_plain_document_needs_only_what_has_no_default() -> None:
    spec = parse(ModelSpec, model(DENSE))
    assert spec.format == "sytff-model/1"
    assert spec.inputs[0].dtype == "float32"
    assert spec.parameter_count == 14
    assert [weight.name for weight in spec.weights] == ["l0/kernel", "l0/bias"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (model(DENSE, format="sytff-model/2"), "format"),
        (model(), "layers"),
        (model({"type": "Dense"}), "layers.0.units: 'l0': required"),
        (model({"type": "Dense", "units": 2, "call": "os.system"}), "layers.0.call: 'l0': unknown"),
        (model({"type": "Lambda", "function": "x"}), "layers.0.type: 'l0': is not on the allow"),
        (model({"type": "Dense", "units": 0}), "layers.0.units: 'l0': input should be greater"),
        (model({"type": "Dense", "units": True}), "units"),
        (model({"type": "Dense", "units": 2.0}), "units"),
        (model({"type": "Dense", "units": 10**30}), "units"),
        (model({"type": "Dense", "units": 2, "activation": "os.system"}), "activation"),
        (model(DENSE, output="elsewhere"), "must be the last layer"),
        (model(DENSE, {**DENSE, "inputs": ["nowhere"]}), "unknown or later input 'nowhere'"),
        (model({**DENSE, "inputs": ["l0"]}), "unknown or later input 'l0'"),
        (model(DENSE, {**DENSE, "name": "l0"}), "the name is used twice"),
        (model({**DENSE, "name": "x"}), "the name is used twice"),
        (model(DENSE, {**DENSE, "inputs": ["x"]}), "'l0' leads nowhere"),
        (model({**DENSE, "inputs": []}), "inputs"),
        (model({**DENSE, "inputs": ["x", "x"]}), "layer 'l0' (Dense): takes one input"),
        (model({**DENSE, "name": "a/b"}), "no '/'"),
        (model({**DENSE, "name": "a\x9bb"}), "characters"),
        (model({**DENSE, "name": ""}), "name"),
        (model({"type": "Conv2D", "filters": 1, "kernel_size": [2, 2]}), "'l0' (Conv2D): takes 3"),
        (model({"type": "Reshape", "target_shape": []}), "target_shape"),
        (model({"type": "Reshape", "target_shape": [4, 2]}), "do not fit"),
        (model({"type": "Reshape", "target_shape": [-1, -1]}), "do not fit"),
        (model({"type": "Reshape", "target_shape": [0, -1]}), "do not fit"),
        (model({"type": "Add"}), "does not take 1 inputs"),
        (model({"type": "Subtract", "inputs": ["x", "x", "x"]}), "does not take 3 inputs"),
        (model(DENSE, {"type": "Add", "inputs": ["x", "l0"]}), "different shapes"),
        (model({"type": "Dropout", "rate": 1.0}), "rate"),
        (model({"type": "ReLU", "threshold": -1.0}), "threshold"),
        (model(DENSE, inputs=[]), "inputs"),
        (model(DENSE, inputs=[{"name": "x", "shape": [6]}, {"name": "y", "shape": [6]}]), "inputs"),
        (model(DENSE, shape=()), "shape"),
        (model(DENSE, shape=(0,)), "shape"),
        (model(DENSE, shape=(-1,)), "shape"),
        (model(DENSE, shape=(1,) * 9), "shape"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused_with_its_place(document: Any, message: str) -> None:
    assert message in refused(document)


@pytest.mark.parametrize(
    ("initializer", "message"),
    [
        ({"name": "orthogonal"}, "kernel_initializer.name"),
        ({"name": "random_normal", "stddev": -1.0}, "stddev"),
        ({"name": "random_normal", "stddev": math.inf}, "stddev"),
        ({"name": "random_normal", "mean": math.nan}, "mean"),
        ({"name": "random_uniform", "minval": 1.0}, "is below minval"),
        ({"name": "zeros", "stddev": 3.0}, "stddev: 'l0': is not a parameter of zeros"),
        ({"name": "glorot_uniform", "seed": 3}, "unknown field"),
        ({"module": "os", "class_name": "system"}, "unknown field"),
        ("zeros", "kernel_initializer"),
    ],
)
def test_initializers_are_held_to_their_own_arguments(initializer: Any, message: str) -> None:
    assert message in refused(model({**DENSE, "kernel_initializer": initializer}))


@pytest.mark.parametrize(
    "document",
    [
        # More parameters, more elements or more axes than a runner should ever be sent.
        model({"type": "Dense", "units": 1_000_000}, shape=(1000,)),
        model({"type": "Embedding", "input_dim": 1_000_000, "output_dim": 1_000_000}),
        model({"type": "Flatten"}, {"type": "Reshape", "target_shape": [1]}, shape=(10**6,) * 8),
        model({"type": "GlobalMaxPooling2D"}, shape=(10**6, 10**6, 1)),
        model({"type": "Conv2D", "filters": 10**6, "kernel_size": [10**6, 10**6],
               "padding": "same"}, shape=(1, 1, 10**6)),
        model(*[{"type": "Concatenate", "inputs": [f"l{n - 1}" if n else "x"] * 16}
                for n in range(900)], shape=(10**6,)),
        model(*[{"type": "Embedding", "input_dim": 1, "output_dim": 1} for _ in range(MAX_RANK)]),
        model(*[{"type": "ReLU"} for _ in range(200)], shape=(10**6,)),
        model(*[{"type": "ZeroPadding2D", "padding": [[4096, 4096], [4096, 4096]]}
                for _ in range(100)], shape=(1, 1, 10)),
    ],
    ids=range(9),
)  # fmt: skip
def test_sizes_that_would_overwhelm_a_runner_are_refused(document: Any) -> None:
    assert "more than" in refused(document)


def test_as_many_layers_as_are_allowed_and_one_more() -> None:
    layers = [{"type": "Flatten"}] * MAX_LAYERS
    assert len(parse(ModelSpec, model(*layers)).layers) == MAX_LAYERS
    assert "layers" in refused(model(*layers, {"type": "Flatten"}))


def nested(levels: int) -> list[Any]:
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    return deep


@pytest.mark.parametrize("place", ["document", "layers", "name", "kernel_size"])
def test_nesting_without_end_is_refused(place: str) -> None:
    deep: Any = nested(100_000)
    documents: dict[str, Any] = {
        "document": deep,
        "layers": model(layers=deep),
        "name": model({**DENSE, "name": deep}),
        "kernel_size": model({"type": "Conv1D", "filters": 1, "kernel_size": deep}),
    }
    assert "nested too deeply" in refused(documents[place])


def test_a_document_that_holds_itself_is_refused() -> None:
    document = model(DENSE)
    document["layers"].append(document)
    assert "nested too deeply" in refused(document)


def test_errors_without_end_are_cut_short() -> None:
    errors = refused(model(*[{"type": "Dense"} for _ in range(900)])).splitlines()
    assert 10 < len(errors) < 60
    assert "more errors like these" in errors[-1]


def strings(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every string that a document may hold, by the name of its property."""
    definitions = schema["$defs"]

    def visit(name: str, part: Any, seen: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        if "$ref" in part:
            target = part["$ref"].rpartition("/")[2]
            if target not in seen:
                yield from visit(name, definitions[target], (*seen, target))
            return
        for choice in (*part.get("anyOf", ()), *part.get("oneOf", ())):
            yield from visit(name, choice, seen)
        for inner in (part.get("items"), *part.get("prefixItems", ())):
            if inner:
                yield from visit(name, inner, seen)
        for key, inner in part.get("properties", {}).items():
            yield from visit(key, inner, seen)
        assert part.get("additionalProperties", False) is False
        if part.get("type") == "string":
            yield name, part

    yield from visit("", schema, ())


def test_a_document_has_no_place_for_code() -> None:
    found = list(strings(ModelSpec.model_json_schema()))
    free = {name for name, part in found if not {"enum", "const"} & set(part)}
    # Names that only ever join one layer to another; everything else is from a fixed list.
    assert free == {"name", "inputs", "output"}
    assert {name for name, _ in found} - free == {
        "format",
        "dtype",
        "type",
        "activation",
        "padding",
    }


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["Dense", "type", "name", "x", "relu", "", "__import__", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["type", "name"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
NUMBERS = st.sampled_from([0, -1, 1, 2, 3, 1000, 10**6, 10**7, 2**63, 10**400, 0.5, -0.0, 1e308])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A golden document with up to four changes."""
    document = copy.deepcopy(golden(draw(st.sampled_from(sorted(ARCHITECTURES)))))
    for _ in range(draw(st.integers(1, 4))):
        *parents, last = draw(st.sampled_from(list(places(document))[1:]))
        target = document
        for key in parents:
            target = target[key]
        kind = draw(st.sampled_from(["replace", "number", "remove", "add", "type"]))
        if kind == "remove" and isinstance(target, dict):
            del target[last]
        elif kind == "add" and isinstance(target, dict):
            target[draw(st.text(max_size=8))] = draw(JSON)
        elif kind == "type":
            target[last] = draw(st.sampled_from([*LAYER_CLASSES, "Lambda"]))
        else:
            target[last] = draw(NUMBERS if kind == "number" else JSON)
    return document


def check(document: Any) -> None:
    try:
        spec = parse(ModelSpec, document)
    except (InvalidInput, InvalidInputs) as error:
        text = str(error)
        assert text
        assert len(text) < 20_000
        json.dumps(error.to_json(), ensure_ascii=False).encode()
        return
    assert 0 <= spec.parameter_count <= MAX_PARAMETERS
    assert sum(math.prod(shape) for shape in spec.shapes.values()) <= MAX_ELEMENTS
    assert all(min(shape) >= 1 and len(shape) <= MAX_RANK for shape in spec.shapes.values())
    again = parse(ModelSpec, json.loads(spec.model_dump_json()))
    assert again == spec
    assert digest(again.model_dump(mode="json")) == digest(spec.model_dump(mode="json"))


@given(damaged())
def test_damaged_documents_are_refused_or_are_models(document: Any) -> None:
    check(document)


@given(JSON)
def test_any_other_document_is_refused(document: Any) -> None:
    with pytest.raises((InvalidInput, InvalidInputs)):
        parse(ModelSpec, document)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([{"type": "Dense", "units": 3, "activation": "softmax"}], "softmax"),
        ([{"type": "Dense", "units": 3}, {"type": "Softmax"}], "softmax"),
        ([{"type": "Dense", "units": 1, "activation": "sigmoid"}], "sigmoid"),
        ([{"type": "Activation", "activation": "sigmoid"}], "sigmoid"),
        ([{"type": "Dense", "units": 3}], "linear"),
        ([{"type": "Dense", "units": 3, "activation": "relu"}], "linear"),
        ([{"type": "Flatten"}], "linear"),
        ([{"type": "Softmax"}, {"type": "Dropout", "rate": 0.1}, {"type": "Flatten"}], "softmax"),
        ([{"type": "Softmax"}, {"type": "Activation", "activation": "linear"}], "softmax"),
        ([{"type": "Softmax"}, {"type": "Rescaling", "scale": 2.0}], "linear"),
    ],
)
def test_whether_the_output_is_probabilities_is_read_from_the_layers(
    layers: Any, expected: str
) -> None:
    assert parse(ModelSpec, model(*layers)).final_activation == expected


def test_pooled_probabilities_are_probabilities() -> None:
    spec = parse(
        ModelSpec,
        model(
            {"type": "Conv2D", "filters": 2, "kernel_size": [1, 1], "activation": "softmax"},
            {"type": "GlobalAveragePooling2D"},
            shape=(2, 2, 1),
        ),
    )
    assert spec.final_activation == "softmax"
