"""The same architecture makes the same specification on Keras 2 and on Keras 3.

The golden files were written once; each generation of Keras is held to them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sytff_policy._model import parse
from sytff_policy.canonical import digest
from sytff_policy.model_spec import ModelSpec, spec_from_keras
from sytff_policy.model_spec.layers import LAYER_CLASSES
from tests.model_spec.architectures import ARCHITECTURES

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = {
    "mlp": "sha256:a0c51547cc5b67f823c271a6fafbd8c6fc642fea7d45db142e050cf02abff474",
    "cnn": "sha256:84d873347bf75c63930b16609a3d9e26090b8dc655b5b1b42a026dc9f01380e8",
    "depthwise": "sha256:fadbcb6fd4312633c67a1adea5303397cbdebacfb6e1e5f7ac3cc2c556a1e7e2",
    "text": "sha256:371f377373472817fb1b1604c75e61a5a0910dd496a12d5506f7f9d35d61ecfe",
    "residual": "sha256:af3f69a8a6496faba7073b5ba4c5c00c570468d3783810ed74da03f24dd041bd",
    "initialized": "sha256:d741c00220416f9cd72a180b292f2a4507212ff93ac8a341f79a09c3cfbaac88",
}


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_keras_models_make_the_golden_specification(keras: Any, name: str) -> None:
    spec = spec_from_keras(ARCHITECTURES[name](keras))
    assert spec.model_dump(mode="json") == golden(name)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_golden_specifications_read_back_unchanged_and_keep_their_digest(name: str) -> None:
    spec = parse(ModelSpec, golden(name))
    assert spec.model_dump(mode="json") == golden(name)
    assert parse(ModelSpec, json.loads(spec.model_dump_json())) == spec
    assert digest(golden(name)) == DIGESTS[name]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shapes_and_weights_are_those_of_keras(keras: Any, name: str) -> None:
    model = ARCHITECTURES[name](keras)
    spec = spec_from_keras(model)
    assert spec.output_shape == tuple(model.output_shape[1:])
    assert spec.parameter_count == model.count_params()
    assert [weight.shape for weight in spec.weights] == [
        tuple(weight.shape) for weight in model.trainable_weights
    ]


def test_the_golden_models_use_every_layer_of_the_allow_list() -> None:
    used = {layer["type"] for name in ARCHITECTURES for layer in golden(name)["layers"]}
    assert used == set(LAYER_CLASSES)


def test_names_that_keras_made_up_for_the_input_do_not_matter(keras: Any) -> None:
    def twice() -> Any:
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="out")])

    first, second = (spec_from_keras(twice()) for _ in range(2))
    assert first == second
    assert first.inputs[0].name == "input"


def test_a_layer_may_be_called_like_the_input(keras: Any) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="input")])
    spec = spec_from_keras(model)
    assert spec.output == "input"
    assert spec.inputs[0].name != "input"
