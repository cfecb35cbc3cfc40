"""What a specification cannot say is refused by the layer's name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from sytff_policy.errors import InvalidInputs
from sytff_policy.model_spec import spec_from_keras


def refusal(model: Any) -> str:
    with pytest.raises(InvalidInputs) as caught:
        spec_from_keras(model)
    return str(caught.value)


def sequential(keras: Any, *layers: Any, shape: Any = (6,), **arguments: Any) -> Any:
    return keras.Sequential([keras.Input(shape, **arguments), *layers])


LAYERS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], str]] = {
    "batch normalization": (lambda k: k.layers.BatchNormalization(name="me"), (6,), "LayerNorm"),
    "normalization": (lambda k: k.layers.Normalization(name="me"), (6,), "Rescaling"),
    "lambda": (lambda k: k.layers.Lambda(abs, name="me"), (6,), "holds no code"),
    "recurrent": (lambda k: k.layers.LSTM(3, name="me"), (5, 2), "Recurrent"),
    "stateful": (lambda k: k.layers.GRU(3, return_state=False, name="me"), (5, 2), "Recurrent"),
    "masking": (lambda k: k.layers.Masking(name="me"), (5, 2), "Masks"),
    "noise": (lambda k: k.layers.GaussianNoise(0.1, name="me"), (6,), "allow-list"),
    "transposed": (lambda k: k.layers.Conv2DTranspose(2, 2, name="me"), (4, 4, 1), "allow-list"),
    "separable": (lambda k: k.layers.SeparableConv2D(2, 2, name="me"), (4, 4, 1), "allow-list"),
    "causal": (lambda k: k.layers.Conv1D(2, 2, padding="causal", name="me"), (4, 1), "padding"),
    "groups": (lambda k: k.layers.Conv2D(2, 2, groups=2, name="me"), (4, 4, 2), "groups"),
    "depthwise strides": (
        lambda k: k.layers.DepthwiseConv2D(2, strides=(1, 2), name="me"), (4, 4, 2), "strides",
    ),
    "keepdims": (
        lambda k: k.layers.GlobalMaxPooling1D(keepdims=True, name="me"), (4, 2), "keepdims",
    ),
    "mask zero": (lambda k: k.layers.Embedding(9, 2, mask_zero=True, name="me"), (4,), "mask_zero"),
    "softmax axis": (lambda k: k.layers.Softmax(axis=1, name="me"), (4, 2), "axis"),
    "softmax axes": (lambda k: k.layers.Softmax(axis=(1, 2), name="me"), (4, 2), "axis"),
    "normalization axis": (
        lambda k: k.layers.LayerNormalization(axis=1, name="me"), (4, 2), "axis",
    ),
    "noise shape": (
        lambda k: k.layers.Dropout(0.5, noise_shape=(None, 1), name="me"), (6,), "noise_shape",
    ),
    "rescaling by a vector": (lambda k: k.layers.Rescaling([1.0] * 6, name="me"), (6,), "scale"),
    "regularizer": (
        lambda k: k.layers.Dense(2, kernel_regularizer="l2", name="me"), (6,), "clipped update",
    ),
    "activity regularizer": (
        lambda k: k.layers.Dense(2, activity_regularizer="l1", name="me"), (6,), "activity_",
    ),
    "constraint": (
        lambda k: k.layers.Dense(2, kernel_constraint="non_neg", name="me"), (6,), "constraint",
    ),
    "frozen": (lambda k: k.layers.Dense(2, trainable=False, name="me"), (6,), "trainable"),
    "half precision": (
        lambda k: k.layers.Dense(2, dtype="mixed_bfloat16", name="me"), (6,), "mixed_bfloat16",
    ),
    "double precision": (lambda k: k.layers.Dense(2, dtype="float64", name="me"), (6,), "float64"),
    "activation": (lambda k: k.layers.Dense(2, "exponential", name="me"), (6,), "activation"),
    "activation layer object": (
        lambda k: k.layers.Dense(2, k.layers.LeakyReLU(), name="me"), (6,), "LeakyReLU",
    ),
    "initializer": (
        lambda k: k.layers.Dense(2, kernel_initializer="orthogonal", name="me"), (6,), "orthogonal",
    ),
    "scaling initializer": (
        lambda k: k.layers.Dense(
            2, kernel_initializer=k.initializers.VarianceScaling(3.0), name="me"
        ), (6,), "kernel_initializer",
    ),
    "initializer out of range": (
        lambda k: k.layers.Dense(2, bias_initializer=k.initializers.Constant(1e30), name="me"),
        (6,), "bias_initializer.value",
    ),
    "too large": (lambda k: k.layers.ZeroPadding2D(5000, name="me"), (4, 4, 1), "padding"),
    "all of it dropped": (lambda k: k.layers.Dropout(1.0, name="me"), (6,), "rate"),
}  # fmt: skip


# Keras 3 has no masks on NumPy, and says so.
@pytest.mark.filterwarnings("ignore:The NumPy backend does not support masking")
@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_or_an_argument_is_refused_by_its_name(keras: Any, case: str) -> None:
    make, shape, word = LAYERS[case]
    text = refusal(sequential(keras, make(keras), shape=shape))
    assert "layer 'me'" in text
    assert word.lower() in text.lower()


def test_another_place_for_the_channels_is_refused(keras: Any) -> None:
    pool = keras.layers.MaxPooling2D(1, data_format="channels_first", name="me")
    text = refusal(sequential(keras, pool, shape=(1, 4, 4)))
    assert "layer 'me' (MaxPooling2D): data_format" in text
    assert "channels_last" in text


def test_everything_that_is_wrong_is_said_at_once(keras: Any) -> None:
    layers = keras.layers
    text = refusal(
        sequential(
            keras,
            layers.Dense(2, kernel_regularizer="l2", trainable=False, name="one"),
            layers.BatchNormalization(name="two"),
            layers.Dense(2, "exponential", kernel_initializer="orthogonal", name="three"),
        )
    )
    for part in ("'one' (Dense): kernel_reg", "'one' (Dense): trainable", "'two'",
                 "'three' (Dense): activation", "'three' (Dense): kernel_initializer"):  # fmt: skip
        assert part in text


def test_a_subclass_of_an_allowed_layer_is_refused(keras: Any) -> None:
    class MyDense(keras.layers.Dense):  # type: ignore[misc]
        pass

    text = refusal(sequential(keras, MyDense(2, name="me")))
    assert "layer 'me' (MyDense)" in text


def test_a_subclass_that_is_called_like_an_allowed_layer_is_refused(keras: Any) -> None:
    impostor = type("Dense", (keras.layers.Dense,), {"call": lambda self, x: x * 2})
    text = refusal(sequential(keras, impostor(2, name="me")))
    assert "layer 'me' (Dense)" in text
    assert "your own class" in text


def relu(x: Any) -> Any:
    return x * 2


def test_a_function_of_ones_own_is_refused_even_if_it_is_called_relu(keras: Any) -> None:
    for activation in (relu, abs_of, lambda x: x):
        text = refusal(sequential(keras, keras.layers.Dense(2, activation, name="me")))
        assert "layer 'me' (Dense)" in text


def abs_of(x: Any) -> Any:
    return abs(x)


def test_a_partial_function_is_refused(keras: Any) -> None:
    activation = functools.partial(keras.activations.elu, alpha=0.5)
    assert "layer 'me'" in refusal(sequential(keras, keras.layers.Dense(2, activation, name="me")))


def test_an_initializer_of_ones_own_is_refused(keras: Any) -> None:
    class Zeros(keras.initializers.Initializer):  # type: ignore[misc]
        def __call__(self, shape: Any, dtype: Any = None, **_: Any) -> Any:
            return keras.initializers.Zeros()(shape, dtype)

        def get_config(self) -> dict[str, Any]:
            return {}

    text = refusal(sequential(keras, keras.layers.Dense(2, bias_initializer=Zeros(), name="me")))
    assert "layer 'me' (Dense): bias_initializer" in text


def test_an_operator_on_tensors_is_refused(keras: Any) -> None:
    x = keras.Input((6,))
    for result in (x + x, x * 2.0, keras.layers.Dense(2)(x) - 1.0):
        assert "not on the allow-list" in refusal(keras.Model(x, result))


def test_a_shared_layer_is_refused(keras: Any) -> None:
    x = keras.Input((6,))
    dense = keras.layers.Dense(6, name="me")
    assert "layer 'me' (Dense): is shared" in refusal(keras.Model(x, dense(dense(x))))


def test_a_layer_called_with_arguments_is_refused(keras: Any) -> None:
    x = keras.Input((6,))
    model = keras.Model(x, keras.layers.Dropout(0.5, name="me")(x, training=True))
    assert "layer 'me' (Dropout): is called with" in refusal(model)


def test_several_inputs_or_outputs_are_refused(keras: Any) -> None:
    x, y = keras.Input((6,), name="x"), keras.Input((6,), name="y")
    added = keras.layers.Add(name="added")([x, y])
    assert "exactly one input (got '2: x, y')" in refusal(keras.Model([x, y], added))
    dense = keras.layers.Dense(2, name="d")(x)
    assert "exactly one output" in refusal(keras.Model(x, [dense, dense]))


def test_an_output_that_others_take_too_is_refused(keras: Any) -> None:
    x = keras.Input((6,))
    first = keras.layers.Dense(2, name="first")(x)
    second = keras.layers.Dense(2, name="second")(first)
    assert "exactly one output" in refusal(keras.Model(x, [first, second]))


def test_nested_models_are_refused(keras: Any) -> None:
    inner = sequential(keras, keras.layers.Dense(2))
    x = keras.Input((6,))
    functional = keras.Model(x, keras.layers.Dense(2)(x), name="inside")
    assert "Nested models" in refusal(sequential(keras, inner))
    assert "layer 'inside'" in refusal(sequential(keras, functional))


def test_subclassed_models_are_refused(keras: Any) -> None:
    class Written(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    class Net(keras.Sequential):  # type: ignore[misc]
        def call(self, *arguments: Any, **keywords: Any) -> Any:
            return super().call(*arguments, **keywords) * 2

    class Graph(keras.Model):  # type: ignore[misc]
        def call(self, *arguments: Any, **keywords: Any) -> Any:
            return super().call(*arguments, **keywords) * 2

    x = keras.Input((6,))
    for model in (
        Written(),
        Net([keras.Input((6,)), keras.layers.Dense(2)]),
        Graph(x, keras.layers.Dense(2)(x)),
    ):
        text = refusal(model)
        assert "subclass of your own" in text
        assert repr(type(model).__name__) in text


@pytest.mark.parametrize("thing", [None, 3, "model.py", {"layers": []}, ("model", "x"), object])
def test_what_is_no_model_is_refused(thing: Any) -> None:
    assert "is not a sequential or functional Keras model" in refusal(thing)


def test_a_layer_is_no_model(keras: Any) -> None:
    assert "(got 'Dense')" in refusal(keras.layers.Dense(2))


def test_a_model_without_an_input_shape_is_refused(keras: Any) -> None:
    text = refusal(keras.Sequential([keras.layers.Dense(2), keras.layers.LSTM(2, name="me")]))
    assert "has no input shape. Start with keras.Input" in text
    assert "layer 'me'" in text


def test_a_model_without_layers_is_refused(keras: Any) -> None:
    assert "has no layers" in refusal(keras.Sequential([keras.Input((6,))]))


def test_an_input_of_unknown_or_no_axes_is_refused(keras: Any) -> None:
    dense = keras.layers.Dense
    assert "layer 'x' (InputLayer)" in refusal(
        sequential(keras, dense(2), shape=(None, 3), name="x")
    )
    x = keras.Input((), name="x")
    text = refusal(keras.Model(x, keras.layers.Rescaling(2.0)(x)))
    assert "layer 'x' (InputLayer): has an input without axes" in text


@pytest.mark.parametrize("dtype", ["float64", "float16", "bool"])
def test_an_input_of_another_type_is_refused(keras: Any, dtype: str) -> None:
    x = keras.Input((6,), dtype=dtype, name="x")
    text = refusal(keras.Model(x, keras.layers.Flatten()(x)))
    assert "layer 'x' (InputLayer): has an unsupported dtype" in text


def test_a_global_policy_of_less_precision_is_refused(keras: Any) -> None:
    policy = keras.mixed_precision.global_policy if hasattr(
        keras.mixed_precision, "global_policy"
    ) else keras.mixed_precision.dtype_policy  # fmt: skip
    set_policy = (
        getattr(keras.mixed_precision, "set_global_policy", None)
        or keras.mixed_precision.set_dtype_policy
    )
    before = policy()
    set_policy("mixed_bfloat16")
    try:
        model = sequential(keras, keras.layers.Dense(2, name="me"), dtype="float32")
    finally:
        set_policy(before)
    assert "layer 'me' (Dense): dtype: is not supported" in refusal(model)


def test_too_many_parameters_are_refused(keras: Any) -> None:
    big = keras.layers.Embedding(1_000_000, 201, name="me")
    x = keras.Input((1,))
    # Not built, so that the table is never made.
    assert "more than 200000000 parameters" in refusal(unbuilt(keras, x, big))


def unbuilt(keras: Any, x: Any, layer: Any) -> Any:
    layer.build = lambda *_: None
    layer.call = lambda x: keras.layers.Dense(201)(x)
    return keras.Model(x, layer(x))


def test_names_that_no_file_should_hold_are_refused(keras: Any) -> None:
    # Keras 2 takes slashes and refuses control characters; Keras 3 the other way round.
    odd = "a/b" if str(keras.__version__).startswith("2.") else "a\x1b[2Jb"
    model = sequential(keras, keras.layers.Dense(2, name=odd))
    text = refusal(model)
    assert f"layer {odd!r}" in text
    assert "\x1b" not in text


def test_unicode_names_are_accepted_where_keras_does(keras: Any) -> None:
    if not str(keras.__version__).startswith("2."):
        model = sequential(keras, keras.layers.Dense(2, name="größe 数"))
        assert spec_from_keras(model).output == "größe 数"
