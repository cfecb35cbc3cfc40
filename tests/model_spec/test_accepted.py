"""Ways to write a model that mean what a specification can say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sytff_policy.model_spec import spec_from_keras

LayerFunction = Callable[[Any], Any]


def one(keras: Any, make: LayerFunction, shape: tuple[int, ...] = (6,), **arguments: Any) -> Any:
    """The specification's only layer, of a model of one layer."""
    model = keras.Sequential([keras.Input(shape, **arguments), make(keras.layers)])
    [layer] = spec_from_keras(model).layers
    return layer


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("silu", "swish"),
        ("swish", "swish"),
        (None, "linear"),
        ("gelu", "gelu"),
        ("softmax", "softmax"),
    ],
)
def test_activations_by_name(keras: Any, activation: str | None, expected: str) -> None:
    assert one(keras, lambda layers: layers.Dense(2, activation)).activation == expected


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "selu", "softplus", "linear"])
def test_keras_own_functions_are_activations_too(keras: Any, name: str) -> None:
    function = getattr(keras.activations, name)
    assert one(keras, lambda layers: layers.Dense(2, function)).activation == name


@pytest.mark.tff
@pytest.mark.parametrize("name", ["relu", "elu", "selu", "gelu", "softmax", "tanh", "sigmoid"])
def test_tensorflows_functions_are_activations_too(keras: Any, name: str) -> None:
    import tensorflow as tf

    function = getattr(tf.nn, name)
    assert one(keras, lambda layers: layers.Dense(2, function)).activation == name


def test_an_activation_layer_of_a_function(keras: Any) -> None:
    layer = one(keras, lambda layers: layers.Activation(keras.activations.relu))
    assert (layer.type, layer.activation) == ("Activation", "relu")


def test_initializers_by_name_by_object_and_with_seeds_are_the_same(keras: Any) -> None:
    init = keras.initializers
    layers = [
        one(keras, lambda layers, given=given: layers.Dense(2, kernel_initializer=given, name="d"))
        for given in ("glorot_uniform", init.GlorotUniform(), init.GlorotUniform(seed=5))
    ]
    assert layers[0] == layers[1] == layers[2]


def test_floats_have_the_shortest_spelling_of_their_single_precision(keras: Any) -> None:
    assert one(keras, lambda layers: layers.LeakyReLU(0.1)).negative_slope == 0.1
    assert one(keras, lambda layers: layers.LeakyReLU(np.float32(0.1))).negative_slope == 0.1
    assert one(keras, lambda layers: layers.Rescaling(1 / 127.5, -1)).scale == 0.007843138


def test_numpys_numbers_are_numbers(keras: Any) -> None:
    layer = one(keras, lambda layers: layers.Dropout(np.float64(0.25)))
    assert layer.rate == 0.25
    constant = keras.initializers.Constant(np.float32(0.1))
    layer = one(keras, lambda layers: layers.Dense(2, bias_initializer=constant))
    assert layer.bias_initializer.value == 0.1


def test_the_last_axis_may_be_named_by_its_number(keras: Any) -> None:
    assert one(keras, lambda layers: layers.Softmax(axis=1)).type == "Softmax"
    assert one(keras, lambda layers: layers.LayerNormalization(axis=[2]), (3, 2)).type == (
        "LayerNormalization"
    )


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integer_inputs_are_int32(keras: Any, dtype: str) -> None:
    model = keras.Sequential([keras.Input((4,), dtype=dtype), keras.layers.Embedding(9, 2)])
    assert spec_from_keras(model).inputs[0].dtype == "int32"


def test_a_model_that_is_built_later(keras: Any) -> None:
    model = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(1)])
    model.build((None, 5))
    spec = spec_from_keras(model)
    assert (spec.inputs[0].shape, spec.output_shape) == ((5,), (1,))


def test_an_input_layer_object_and_a_fixed_batch(keras: Any) -> None:
    first = keras.layers.InputLayer(batch_size=8, input_shape=(5,)) if is_two(keras) else (
        keras.layers.InputLayer(batch_shape=(8, 5))
    )  # fmt: skip
    spec = spec_from_keras(keras.Sequential([first, keras.layers.Dense(2)]))
    assert spec.inputs[0].shape == (5,)


def test_a_functional_model_is_put_in_order(keras: Any) -> None:
    x = keras.Input((4,))
    first = keras.layers.Dense(4, name="first")
    second = keras.layers.Dense(4, name="second")
    # Made before it is used, and used before the other.
    y = second(first(x))
    z = keras.layers.Concatenate(name="join")([y, x])
    spec = spec_from_keras(keras.Model(x, z))
    assert [layer.name for layer in spec.layers] == ["first", "second", "join"]


def test_a_layer_that_another_model_uses_too_is_not_shared_here(keras: Any) -> None:
    dense = keras.layers.Dense(2, name="dense")
    here, there = keras.Input((3,)), keras.Input((3,))
    dense(there)
    assert spec_from_keras(keras.Model(here, dense(here))).layers[0].name == "dense"


def test_a_layer_may_take_the_same_output_twice(keras: Any) -> None:
    x = keras.Input((3,), name="x")
    spec = spec_from_keras(keras.Model(x, keras.layers.Add(name="double")([x, x])))
    assert spec.layers[0].inputs == ("x", "x")


@pytest.mark.parametrize("compiled", [False, True])
def test_compiling_is_the_researchers_own_business(keras: Any, compiled: bool) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "sigmoid", name="o")])
    if compiled:
        model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    assert spec_from_keras(model).output == "o"


def test_an_output_in_a_list_is_one_output(keras: Any) -> None:
    x = keras.Input((3,))
    assert spec_from_keras(keras.Model([x], [keras.layers.Dense(1)(x)])).output_shape == (1,)


def is_two(keras: Any) -> bool:
    return str(keras.__version__).startswith("2.")
