"""Executing a `ModelSpec` as a pure TensorFlow function of weights and examples.

No variable, no Keras object and no researcher's code: a function of tensors that can be called
inside `tf.while_loop` and differentiated there, once per user and step.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sytff_policy.model_spec import Initializer, ModelSpec
from sytff_policy.model_spec import layers as spec_layers

Tensors = Sequence[tf.Tensor]
ExampleFunction = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

PROBABILITY_FLOOR = 1e-7
"""Probabilities are kept this far from 0 and 1, as Keras does."""

_PROBABILITIES = ("softmax", "sigmoid")

_ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "linear": tf.identity,
    "relu": tf.nn.relu,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "gelu": tf.nn.gelu,
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.nn.tanh,
    "softmax": tf.nn.softmax,
    "softplus": tf.math.softplus,
    "softsign": tf.nn.softsign,
    "swish": tf.nn.silu,
}


class FunctionalModel:
    """A specification, ready to be evaluated.

    Args:
      spec: The architecture.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self.weight_names = [weight.name for weight in spec.weights]
        self._slots: list[tuple[Any, int, int]] = []
        position = 0
        for layer in spec.layers:
            count = len(layer.weight_specs([spec.shapes[name] for name in layer.inputs]))
            self._slots.append((layer, position, position + count))
            position += count

    def initial_weights(self, seed: int | None) -> list[npt.NDArray[np.float32]]:
        """Fresh weights from the specification's initializers, float32.

        Args:
          seed: For reproducible tests; None draws from the system's entropy.
        """
        generator = np.random.default_rng(seed)
        return [
            _initial(generator, weight.initializer, weight.shape) for weight in self._spec.weights
        ]

    def predict(self, weights: Tensors, x: tf.Tensor, training: bool) -> tf.Tensor:
        """Output [batch, *output_shape] for examples [batch, *input_shape].

        Args:
          weights: Tensors in the order of `weight_names`.
          x: Examples, of the input's type.
          training: Whether dropout drops.
        """
        # Layers compute in float32; an integer input is one whose values are whole.
        values: dict[str, tf.Tensor] = {self._spec.inputs[0].name: tf.cast(x, tf.float32)}
        for layer, start, stop in self._slots:
            inputs = [values[name] for name in layer.inputs]
            values[layer.name] = _apply(layer, inputs, list(weights[start:stop]), training)
        return values[self._spec.output]


def loss_fn(name: str, final_activation: str) -> ExampleFunction:
    """Per-example loss (labels [batch], predictions [batch, outputs]) -> [batch], as Keras has it.

    Args:
      name: A request's loss.
      final_activation: `softmax` or `sigmoid` when predictions are probabilities; anything else
        means logits for the cross-entropies.
    """
    if name == "sparse_categorical_crossentropy":
        return _sparse_crossentropy(final_activation in _PROBABILITIES)
    if name == "binary_crossentropy":
        return _binary_crossentropy(final_activation in _PROBABILITIES)
    distances: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
        "mean_squared_error": tf.square,
        "mean_absolute_error": tf.abs,
        "huber": lambda e: tf.where(tf.abs(e) <= 1.0, 0.5 * tf.square(e), tf.abs(e) - 0.5),
    }
    distance = distances[name]
    return lambda labels, predictions: _row_mean(
        distance(_column(labels, predictions) - predictions)
    )


def accuracy_fn(name: str, final_activation: str) -> ExampleFunction:
    """Per-example accuracy, 1.0 or 0.0: arg max, or for one output the threshold in the middle."""
    if name == "sparse_categorical_crossentropy":
        return lambda labels, predictions: tf.cast(
            tf.equal(tf.argmax(predictions, -1), tf.cast(labels, tf.int64)), tf.float32
        )
    threshold = 0.5 if final_activation in _PROBABILITIES else 0.0
    return lambda labels, predictions: _row_mean(
        tf.cast(tf.equal(predictions > threshold, _column(labels, predictions) > 0.5), tf.float32)
    )


def _sparse_crossentropy(probabilities: bool) -> ExampleFunction:
    def loss(labels: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
        if probabilities:
            predictions = tf.math.log(
                tf.clip_by_value(predictions, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
            )
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.cast(labels, tf.int32), predictions
        )

    return loss


def _binary_crossentropy(probabilities: bool) -> ExampleFunction:
    def loss(labels: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
        wanted = _column(labels, predictions)
        if not probabilities:
            return _row_mean(tf.nn.sigmoid_cross_entropy_with_logits(wanted, predictions))
        clipped = tf.clip_by_value(predictions, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
        # The floor stands inside the logarithms too: Keras adds it there as well.
        positive = wanted * tf.math.log(clipped + PROBABILITY_FLOOR)
        negative = (1.0 - wanted) * tf.math.log(1.0 - clipped + PROBABILITY_FLOOR)
        return _row_mean(-(positive + negative))

    return loss


def _column(labels: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reshape(labels, [-1, 1]), predictions.dtype)


def _row_mean(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.reshape(values, [tf.shape(values)[0], -1]), axis=-1)


def _initial(
    generator: np.random.Generator, initializer: Initializer, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    name = initializer.name
    if name in ("zeros", "ones", "constant"):
        value = {"zeros": 0.0, "ones": 1.0, "constant": initializer.value}[name]
        return np.full(shape, value, np.float32)
    if name == "random_uniform":
        draws = generator.uniform(initializer.minval, initializer.maxval, shape)
    elif name == "random_normal":
        draws = generator.normal(initializer.mean, initializer.stddev, shape)
    elif name == "truncated_normal":
        draws = initializer.mean + initializer.stddev * _truncated(generator, shape)
    else:
        draws = _scaled(generator, name, shape)
    return np.asarray(draws, np.float32)


def _scaled(
    generator: np.random.Generator, name: str, shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Variance scaling, with Keras's fan-in and fan-out."""
    receptive = math.prod(shape[:-2])
    fan_in = receptive * (shape[-2] if len(shape) > 1 else shape[-1])
    fan_out = receptive * shape[-1]
    family, kind = name.rsplit("_", 1)
    scale = {
        "glorot": 2.0 / (fan_in + fan_out),
        "he": 2.0 / fan_in,
        "lecun": 1.0 / fan_in,
    }[family]
    if kind == "uniform":
        limit = math.sqrt(3.0 * scale)
        return generator.uniform(-limit, limit, shape)
    # The constant is the stddev of a standard normal truncated at 2.
    return _truncated(generator, shape) * (math.sqrt(scale) / 0.87962566103423978)


def _truncated(generator: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    draws = generator.normal(size=shape)
    outside = np.abs(draws) > 2.0
    while outside.any():
        draws[outside] = generator.normal(size=int(outside.sum()))
        outside = np.abs(draws) > 2.0
    return draws


def _apply(layer: Any, inputs: Tensors, weights: list[tf.Tensor], training: bool) -> tf.Tensor:
    kind = type(layer)
    if kind in _APPLY:
        return _APPLY[kind](layer, inputs[0], weights)
    if kind is spec_layers.Merge:
        return _merge(layer.type, inputs)
    if kind is spec_layers.Concatenate:
        return tf.concat(list(inputs), axis=-1)
    if kind is spec_layers.Dropout:
        return _dropout(layer.rate, inputs[0]) if training and layer.rate else inputs[0]
    raise AssertionError(f"{layer.type} is on the allow-list without an implementation")


def _dense(layer: spec_layers.Dense, x: tf.Tensor, weights: list[tf.Tensor]) -> tf.Tensor:
    return _finish(
        layer,
        tf.tensordot(x, weights[0], [[-1], [0]]) if len(x.shape) != 2 else tf.matmul(x, weights[0]),
        weights,
    )


def _finish(layer: Any, x: tf.Tensor, weights: list[tf.Tensor]) -> tf.Tensor:
    return _ACTIVATIONS[layer.activation](x + weights[1] if layer.use_bias else x)


def _conv(layer: Any, x: tf.Tensor, weights: list[tf.Tensor]) -> tf.Tensor:
    y = tf.nn.convolution(
        x,
        weights[0],
        strides=list(layer.strides),
        padding=layer.padding.upper(),
        dilations=list(layer.dilation_rate),
    )
    return _finish(layer, y, weights)


def _depthwise(
    layer: spec_layers.DepthwiseConv2D, x: tf.Tensor, weights: list[tf.Tensor]
) -> tf.Tensor:
    y = tf.nn.depthwise_conv2d(
        x,
        weights[0],
        strides=[1, *layer.strides, 1],
        padding=layer.padding.upper(),
        dilations=list(layer.dilation_rate),
    )
    return _finish(layer, y, weights)


def _pool(layer: Any, x: tf.Tensor, weights: list[tf.Tensor]) -> tf.Tensor:
    del weights
    return tf.nn.pool(
        x,
        window_shape=list(layer.pool_size),
        pooling_type="MAX" if layer.type.startswith("Max") else "AVG",
        strides=list(layer.strides or layer.pool_size),
        padding=layer.padding.upper(),
    )


def _global_pool(layer: Any, x: tf.Tensor, weights: list[tf.Tensor]) -> tf.Tensor:
    del weights
    axes = list(range(1, len(x.shape) - 1))
    reduce = tf.reduce_mean if "Average" in layer.type else tf.reduce_max
    return reduce(x, axis=axes)


def _flatten(layer: Any, x: tf.Tensor, weights: list[tf.Tensor]) -> tf.Tensor:
    del layer, weights
    return tf.reshape(x, [-1, math.prod(x.shape[1:])])


def _reshape(layer: spec_layers.Reshape, x: tf.Tensor, weights: list[tf.Tensor]) -> tf.Tensor:
    del weights
    target = layer.infer([tuple(x.shape[1:])])
    return tf.reshape(x, [-1, *target])


def _relu(layer: spec_layers.ReLU, x: tf.Tensor, weights: list[tf.Tensor]) -> tf.Tensor:
    del weights
    below = layer.negative_slope * (x - layer.threshold)
    y = tf.where(x >= layer.threshold, x, below)
    return y if layer.max_value is None else tf.minimum(y, layer.max_value)


def _layer_norm(
    layer: spec_layers.LayerNormalization, x: tf.Tensor, weights: list[tf.Tensor]
) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    rest = list(weights)
    gamma = rest.pop(0) if layer.scale else None
    beta = rest.pop(0) if layer.center else None
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, layer.epsilon)


def _embedding(layer: spec_layers.Embedding, x: tf.Tensor, weights: list[tf.Tensor]) -> tf.Tensor:
    index = tf.cast(x, tf.int32)
    known = tf.logical_and(index >= 0, index < layer.input_dim)
    rows = tf.gather(weights[0], tf.where(known, index, tf.zeros_like(index)))
    return tf.where(known[..., tf.newaxis], rows, tf.zeros_like(rows))


def _zero_padding(
    layer: spec_layers.ZeroPadding2D, x: tf.Tensor, weights: list[tf.Tensor]
) -> tf.Tensor:
    del weights
    return tf.pad(x, [[0, 0], *[list(pair) for pair in layer.padding], [0, 0]])


_COMBINE: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "Add": tf.add,
    "Subtract": tf.subtract,
    "Multiply": tf.multiply,
    "Maximum": tf.maximum,
}


def _merge(kind: str, inputs: Tensors) -> tf.Tensor:
    if kind == "Average":
        return tf.add_n(list(inputs)) / len(inputs)
    return functools.reduce(_COMBINE[kind], inputs)


def _dropout(rate: float, x: tf.Tensor) -> tf.Tensor:
    keep = tf.random.uniform(tf.shape(x)) >= rate
    return tf.where(keep, x / (1.0 - rate), tf.zeros_like(x))


_APPLY: dict[type, Callable[[Any, tf.Tensor, list[tf.Tensor]], tf.Tensor]] = {
    spec_layers.Dense: _dense,
    spec_layers.Conv1D: _conv,
    spec_layers.Conv2D: _conv,
    spec_layers.DepthwiseConv2D: _depthwise,
    spec_layers.Pooling1D: _pool,
    spec_layers.Pooling2D: _pool,
    spec_layers.GlobalPooling1D: _global_pool,
    spec_layers.GlobalPooling2D: _global_pool,
    spec_layers.Flatten: _flatten,
    spec_layers.Reshape: _reshape,
    spec_layers.ActivationLayer: lambda layer, x, _: _ACTIVATIONS[layer.activation](x),
    spec_layers.ReLU: _relu,
    spec_layers.LeakyReLU: lambda layer, x, _: tf.nn.leaky_relu(x, layer.negative_slope),
    spec_layers.ELU: lambda layer, x, _: tf.where(
        x > 0, x, layer.alpha * tf.math.expm1(tf.minimum(x, 0.0))
    ),
    spec_layers.Softmax: lambda layer, x, _: tf.nn.softmax(x),
    spec_layers.LayerNormalization: _layer_norm,
    spec_layers.Embedding: _embedding,
    spec_layers.ZeroPadding2D: _zero_padding,
    spec_layers.Rescaling: lambda layer, x, _: x * layer.scale + layer.offset,
}
