"""A specification computes what Keras 2.14 does: outputs, gradients, losses, initial weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sytff_policy._model import parse
from sytff_policy.model_spec import Initializer, ModelSpec, spec_from_keras, weights_from_keras
from tests.model_spec.architectures import ARCHITECTURES

pytestmark = pytest.mark.tff

BATCH = 5


@pytest.fixture(scope="module")
def keras() -> Any:
    import keras

    return keras


def randomized(model: Any, seed: int = 1) -> Any:
    """The model with random weights everywhere, biases and scales too."""
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


def examples(spec: ModelSpec, seed: int = 2) -> np.ndarray:
    generator = np.random.default_rng(seed)
    shape = (BATCH, *spec.inputs[0].shape)
    if spec.inputs[0].dtype == "int32":
        return generator.integers(0, 9, shape).astype(np.int32)
    return generator.normal(size=shape).astype(np.float32)


def functional(model: Any) -> tuple[ModelSpec, Any, list[Any]]:
    import tensorflow as tf

    from sytff_policy.training.functional import FunctionalModel

    spec = spec_from_keras(model)
    weights = [tf.constant(value) for value in weights_from_keras(model, spec).values()]
    return spec, FunctionalModel(spec), weights


def assert_equal_outputs(model: Any) -> None:
    spec, ours, weights = functional(randomized(model))
    x = examples(spec)
    expected = model(x, training=False).numpy()
    found = ours.predict(weights, x, training=False).numpy()
    assert found.shape == (BATCH, *spec.output_shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_are_those_of_keras(keras: Any, name: str) -> None:
    assert_equal_outputs(ARCHITECTURES[name](keras))


Make = Callable[[Any], Any]
IMAGE, SERIES, ROW = (7, 6, 3), (9, 4), (6,)
LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "dense on images": (lambda k: k.Dense(4), IMAGE),
    "dense without bias": (lambda k: k.Dense(4, use_bias=False), ROW),
    "conv1d same": (lambda k: k.Conv1D(3, 4, padding="same"), SERIES),
    "conv1d strided": (lambda k: k.Conv1D(3, 2, strides=3), SERIES),
    "conv1d dilated": (lambda k: k.Conv1D(3, 3, dilation_rate=2, padding="same"), SERIES),
    "conv2d strided same": (lambda k: k.Conv2D(3, (2, 3), strides=(2, 3), padding="same"), IMAGE),
    "conv2d dilated": (lambda k: k.Conv2D(3, 2, dilation_rate=(2, 3)), IMAGE),
    "conv2d dilated same": (lambda k: k.Conv2D(3, 3, dilation_rate=2, padding="same"), IMAGE),
    "depthwise": (lambda k: k.DepthwiseConv2D(2, depth_multiplier=3), IMAGE),
    "depthwise strided": (lambda k: k.DepthwiseConv2D(3, strides=2, padding="same"), IMAGE),
    "depthwise dilated": (lambda k: k.DepthwiseConv2D(2, dilation_rate=2), IMAGE),
    "max pool 1d": (lambda k: k.MaxPooling1D(3, strides=2, padding="same"), SERIES),
    "mean pool 1d": (lambda k: k.AveragePooling1D(3, strides=2, padding="same"), SERIES),
    "max pool 2d": (lambda k: k.MaxPooling2D((2, 3), strides=(1, 2), padding="same"), IMAGE),
    "mean pool 2d": (lambda k: k.AveragePooling2D((3, 2), padding="same"), IMAGE),
    "global mean 1d": (lambda k: k.GlobalAveragePooling1D(), SERIES),
    "global max 1d": (lambda k: k.GlobalMaxPooling1D(), SERIES),
    "global mean 2d": (lambda k: k.GlobalAveragePooling2D(), IMAGE),
    "global max 2d": (lambda k: k.GlobalMaxPooling2D(), IMAGE),
    "flatten": (lambda k: k.Flatten(), IMAGE),
    "reshape": (lambda k: k.Reshape((3, -1, 7)), IMAGE),
    "zero padding": (lambda k: k.ZeroPadding2D(((1, 0), (2, 3))), IMAGE),
    "rescaling": (lambda k: k.Rescaling(1 / 127.5, -1.0), IMAGE),
    "softmax": (lambda k: k.Softmax(), SERIES),
    "dropout": (lambda k: k.Dropout(0.5), ROW),
    "relu": (lambda k: k.ReLU(), ROW),
    "relu6": (lambda k: k.ReLU(max_value=0.5), ROW),
    "relu with a slope": (lambda k: k.ReLU(negative_slope=0.2), ROW),
    "relu with all": (lambda k: k.ReLU(0.8, negative_slope=0.2, threshold=0.3), ROW),
    "leaky relu": (lambda k: k.LeakyReLU(0.2), ROW),
    "elu": (lambda k: k.ELU(0.4), ROW),
    "layer norm": (lambda k: k.LayerNormalization(), SERIES),
    "layer norm of scale": (lambda k: k.LayerNormalization(center=False, epsilon=1e-6), ROW),
    "layer norm of centre": (lambda k: k.LayerNormalization(scale=False), IMAGE),
    "layer norm alone": (lambda k: k.LayerNormalization(scale=False, center=False), ROW),
}
ACTIVATIONS = ("linear", "relu", "elu", "selu", "gelu", "sigmoid", "tanh", "softmax", "softplus",
               "softsign", "swish")  # fmt: skip


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_computes_what_keras_computes(keras: Any, case: str) -> None:
    make, shape = LAYERS[case]
    assert_equal_outputs(keras.Sequential([keras.Input(shape), make(keras.layers)]))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_keras_activation(keras: Any, name: str) -> None:
    layers = keras.layers
    assert_equal_outputs(keras.Sequential([keras.Input(ROW), layers.Dense(4, name)]))
    assert_equal_outputs(keras.Sequential([keras.Input(IMAGE), layers.Activation(name)]))


@pytest.mark.parametrize("name", ["Add", "Multiply", "Average", "Maximum", "Concatenate"])
def test_merging_three_is_keras_merging(keras: Any, name: str) -> None:
    x = keras.Input(SERIES)
    branches = [keras.layers.Dense(4)(x) for _ in range(3)]
    assert_equal_outputs(keras.Model(x, getattr(keras.layers, name)()(branches)))


def test_an_integer_input_feeds_any_layer(keras: Any) -> None:
    x = keras.Input((6,), dtype="int32")
    scaled = keras.layers.Rescaling(0.5)(x)
    assert_equal_outputs(keras.Model(x, keras.layers.Dense(2)(scaled)))
    spec = parse(
        ModelSpec,
        {
            "inputs": [{"name": "x", "shape": [3], "dtype": "int32"}],
            "layers": [{"type": "Dense", "name": "d", "inputs": ["x"], "units": 2}],
            "output": "d",
        },
    )
    assert predict(spec, np.ones((2, 3), np.int32)).shape == (2, 2)


def test_an_index_outside_the_table_reads_zeros() -> None:
    spec = parse(
        ModelSpec,
        {
            "inputs": [{"name": "x", "shape": [5]}],
            "layers": [
                {"type": "Embedding", "name": "e", "inputs": ["x"], "input_dim": 3,
                 "output_dim": 2, "embeddings_initializer": {"name": "ones"}}
            ],
            "output": "e",
        },
    )  # fmt: skip
    found = predict(spec, np.array([[0, 2, 3, -1, np.nan]], np.float32))
    assert found[0, :, 0].tolist() == [1, 1, 0, 0, 0]


def predict(spec: ModelSpec, x: np.ndarray, training: bool = False) -> np.ndarray:
    from sytff_policy.training.functional import FunctionalModel

    model = FunctionalModel(spec)
    result: np.ndarray = model.predict(model.initial_weights(0), x, training).numpy()
    return result


@pytest.mark.parametrize("name", ["cnn", "depthwise", "text", "residual"])
def test_gradients_are_those_of_keras(keras: Any, name: str) -> None:
    import tensorflow as tf

    model = randomized(ARCHITECTURES[name](keras))
    spec, ours, weights = functional(model)
    x = examples(spec)
    target = np.random.default_rng(3).normal(size=(BATCH, *spec.output_shape)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x, training=False) - target))
    expected = [tf.convert_to_tensor(g) for g in tape.gradient(loss, model.trainable_weights)]

    @tf.function
    def gradients(values: list[tf.Tensor]) -> list[tf.Tensor]:
        with tf.GradientTape() as own:
            own.watch(values)
            loss = tf.reduce_mean(tf.square(ours.predict(values, x, False) - target))
        return [tf.convert_to_tensor(g) for g in own.gradient(loss, values)]

    for found, wanted in zip(gradients(weights), expected, strict=True):
        scale = float(tf.reduce_max(tf.abs(wanted))) or 1.0
        np.testing.assert_allclose(found / scale, wanted / scale, atol=1e-5)


def probabilities(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


LOGITS = np.random.default_rng(4).normal(size=(40, 3)).astype(np.float32) * 8
CLASSES = np.random.default_rng(5).integers(0, 3, 40).astype(np.int32)


@pytest.mark.parametrize("final", ["linear", "softmax"])
def test_sparse_crossentropy_is_keras_loss(keras: Any, final: str) -> None:
    from sytff_policy.training.functional import loss_fn

    outputs = LOGITS if final == "linear" else probabilities(LOGITS)
    # A certain and wrong prediction has a large loss, not an infinite one.
    outputs = np.vstack([outputs, np.eye(3, dtype=np.float32)])
    labels = np.concatenate([CLASSES, [1, 1, 1]]).astype(np.int32)
    expected = keras.losses.sparse_categorical_crossentropy(
        labels, outputs, from_logits=final == "linear"
    )
    found = loss_fn("sparse_categorical_crossentropy", final)(labels, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(found).all()


def test_sparse_crossentropy_of_sigmoids_normalizes_as_keras_does(keras: Any) -> None:
    from sytff_policy.training.functional import loss_fn

    outputs = (1 / (1 + np.exp(-LOGITS))).astype(np.float32)
    expected = keras.losses.sparse_categorical_crossentropy(CLASSES, outputs)
    found = loss_fn("sparse_categorical_crossentropy", "sigmoid")(CLASSES, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("final", ["linear", "sigmoid"])
def test_binary_crossentropy_is_keras_loss(keras: Any, final: str) -> None:
    from sytff_policy.training.functional import loss_fn

    logits = np.concatenate([LOGITS[:, :1], [[100.0], [-100.0]]]).astype(np.float32)
    outputs = logits if final == "linear" else 1 / (1 + np.exp(-logits.clip(-80, 80)))
    labels = np.concatenate([CLASSES % 2, [0, 1]]).astype(np.int32)
    expected = keras.losses.binary_crossentropy(
        labels[:, np.newaxis].astype(np.float32), outputs, from_logits=final == "linear"
    )
    found = loss_fn("binary_crossentropy", final)(labels, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "huber"])
def test_distances_are_keras_losses(keras: Any, name: str) -> None:
    from sytff_policy.training.functional import loss_fn

    outputs, labels = LOGITS[:, :1], LOGITS[:, 1]
    expected = getattr(keras.losses, name)(labels[:, np.newaxis], outputs)
    found = loss_fn(name, "linear")(labels, outputs)
    assert found.shape == (40,)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_accuracy_counts_the_largest_output_or_the_right_side_of_the_middle() -> None:
    from sytff_policy.training.functional import accuracy_fn

    hits = accuracy_fn("sparse_categorical_crossentropy", "linear")(CLASSES, LOGITS)
    assert hits.numpy().tolist() == (LOGITS.argmax(-1) == CLASSES).astype(float).tolist()
    labels = np.array([0, 1, 0, 1], np.int32)
    values = np.array([[0.2], [0.2], [0.7], [0.7]], np.float32)
    binary = "binary_crossentropy"
    assert accuracy_fn(binary, "sigmoid")(labels, values).numpy().tolist() == [1, 0, 0, 1]
    assert accuracy_fn(binary, "linear")(labels, values).numpy().tolist() == [0, 1, 0, 1]


INITIALIZERS = [
    {"name": "glorot_uniform"},
    {"name": "glorot_normal"},
    {"name": "he_uniform"},
    {"name": "he_normal"},
    {"name": "lecun_uniform"},
    {"name": "lecun_normal"},
    {"name": "random_normal", "mean": 0.5, "stddev": 0.2},
    {"name": "truncated_normal", "mean": -0.5, "stddev": 0.3},
    {"name": "random_uniform", "minval": -0.1, "maxval": 0.5},
]


@pytest.mark.parametrize("arguments", INITIALIZERS, ids=lambda arguments: arguments["name"])
@pytest.mark.parametrize("shape", [(60, 140), (3, 3, 24, 40)], ids=["dense", "conv"])
def test_initial_weights_have_keras_scale(
    keras: Any, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Mean and spread of 8400 or more draws agree with Keras's within 6 %.

    The standard error of a spread is at most 0.8 % of it, of each side, so a false alarm is beyond
    5 standard errors; the seeds are fixed besides. A scale of 9/10 or 10/9 is rejected.
    """
    from sytff_policy.training.functional import _initial

    initializer = parse(Initializer, arguments)
    found = _initial(np.random.default_rng(6), initializer, shape)
    options = {key: value for key, value in arguments.items() if key != "name"}
    class_name = "".join(part.title() for part in arguments["name"].split("_"))
    expected = getattr(keras.initializers, class_name)(seed=6, **options)(shape).numpy()
    assert found.dtype == np.float32
    assert found.std() == pytest.approx(expected.std(), rel=0.06)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.06 * expected.std())
    if "uniform" in arguments["name"] or "truncated" in arguments["name"]:
        reach = np.abs(expected - expected.mean()).max()
        assert np.abs(found - expected.mean()).max() == pytest.approx(reach, rel=0.03)


def test_constant_initializers_are_exact() -> None:
    from sytff_policy.training.functional import _initial

    generator = np.random.default_rng(0)
    for name, value in (("zeros", 0.0), ("ones", 1.0), ("constant", 0.3)):
        arguments = {"name": name, **({"value": 0.3} if name == "constant" else {})}
        drawn = _initial(generator, parse(Initializer, arguments), (3, 2))
        assert (drawn == np.float32(value)).all()


def test_fresh_weights_differ_from_run_to_run_and_not_with_a_seed(keras: Any) -> None:
    _, model, _ = functional(ARCHITECTURES["mlp"](keras))
    assert np.array_equal(model.initial_weights(3)[0], model.initial_weights(3)[0])
    assert not np.array_equal(model.initial_weights(None)[0], model.initial_weights(None)[0])


def test_dropout_drops_the_rate_and_keeps_the_mean() -> None:
    """Of 40000 values each is dropped with probability 0.3; a false alarm is beyond 6 sigma."""
    spec = parse(
        ModelSpec,
        {
            "inputs": [{"name": "x", "shape": [1000]}],
            "layers": [{"type": "Dropout", "name": "d", "inputs": ["x"], "rate": 0.3}],
            "output": "d",
        },
    )
    x = np.ones((40, 1000), np.float32)
    dropped = predict(spec, x, training=True)
    share = float((dropped == 0).mean())
    assert abs(share - 0.3) < 6 * math.sqrt(0.3 * 0.7 / x.size)
    assert np.unique(dropped[dropped != 0]).tolist() == [np.float32(1 / 0.7)]
    assert np.array_equal(predict(spec, x), x)
