"""Weights go back into the researcher's own model: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sytff_policy.errors import InvalidInput
from sytff_policy.model_spec import (
    ModelSpec,
    set_keras_weights,
    spec_from_keras,
    weights_from_keras,
)
from tests.model_spec.architectures import ARCHITECTURES

# Keras 3 on its NumPy backend reads its own weights in a way that NumPy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Weights = dict[str, np.ndarray]


def random_weights(spec: ModelSpec, seed: int = 0) -> Weights:
    generator = np.random.default_rng(seed)
    return {
        weight.name: generator.normal(size=weight.shape).astype(np.float32)
        for weight in spec.weights
    }


def same(left: Weights, right: Weights) -> bool:
    return list(left) == list(right) and all(np.array_equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_that_are_set_are_read_back(keras: Any, name: str) -> None:
    model = ARCHITECTURES[name](keras)
    spec = spec_from_keras(model)
    weights = random_weights(spec)
    set_keras_weights(model, spec, weights)
    assert same(weights_from_keras(model, spec), weights)
    assert list(weights) == [weight.name for weight in spec.weights]


def test_names_that_keras_made_up_are_followed(keras: Any) -> None:
    layers = keras.layers

    def made() -> Any:
        return keras.Sequential(
            [keras.Input((3,)), layers.Dense(4), layers.Dropout(0.1), layers.Dense(2)]
        )

    # The second model of a session has other numbers than the first.
    for model in (made(), made()):
        spec = spec_from_keras(model)
        assert [layer.name for layer in spec.layers] == [layer.name for layer in model.layers]
        weights = random_weights(spec)
        set_keras_weights(model, spec, weights)
        found = [np.asarray(weight) for weight in model.get_weights()]
        wanted = list(weights.values())
        trained = [value for value in found if value.dtype == np.float32]
        assert all(np.array_equal(a, b) for a, b in zip(trained, wanted, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("classes/bias"), "weights: are not those of the model"),
        (lambda w: w.update(more=np.zeros(1, np.float32)), "weights: are not those"),
        (lambda w: w.update({"classes/bias": np.zeros(4, np.float32)}), "classes/bias: is missh"),
        (lambda w: w.update({"classes/bias": np.zeros((3, 1))}), "classes/bias: is misshapen"),
        (lambda w: w.update({"classes/bias": np.array([0, np.nan, 0])}), "is not finite"),
        (lambda w: w.update({"classes/bias": np.array([0, np.inf, 0])}), "is not finite"),
        (lambda w: w.update({"classes/bias": np.full(3, 1e300)}), "is not finite"),
        (lambda w: w.update({"classes/bias": np.array(["a", "b", "c"])}), "is not an array of num"),
        (lambda w: w.update({"classes/bias": [[1.0], [1.0, 2.0]]}), "is not an array of numbers"),
        (lambda w: w.update({"classes/bias": None}), "classes/bias"),
    ],
    ids=range(10),
)
def test_wrong_weights_change_nothing(
    keras: Any, change: Callable[[Weights], Any], message: str
) -> None:
    model = ARCHITECTURES["mlp"](keras)
    spec = spec_from_keras(model)
    before = weights_from_keras(model, spec)
    weights = random_weights(spec)
    change(weights)
    with pytest.raises(InvalidInput, match=message):
        set_keras_weights(model, spec, weights)
    assert same(weights_from_keras(model, spec), before)


def test_a_model_that_is_not_the_specifications_is_not_touched(keras: Any) -> None:
    spec = spec_from_keras(ARCHITECTURES["mlp"](keras))
    other = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, name="hidden"),
            keras.layers.Dense(4, name="classes"),
        ]
    )
    before = [np.array(value) for value in other.get_weights()]
    with pytest.raises(InvalidInput, match="layer 'classes': has other weights"):
        set_keras_weights(other, spec, random_weights(spec))
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))
    with pytest.raises(InvalidInput, match="'hidden': is not in the model"):
        weights_from_keras(keras.Sequential([keras.Input((6,))]), spec)


def test_layers_without_weights_are_left_alone(keras: Any) -> None:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dropout(0.5, seed=1), keras.layers.Flatten()]
    )
    spec = spec_from_keras(model)
    set_keras_weights(model, spec, {})
    assert weights_from_keras(model, spec) == {}
