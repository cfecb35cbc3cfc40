"""Models that Keras 2 and Keras 3 must turn into the same specification.

Each function takes the `keras` module, whichever generation it is. All names are given, because
the two generations make up different ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def mlp(keras: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((6,), name="features"),
            keras.layers.Dense(16, activation="relu", name="hidden"),
            keras.layers.Dropout(0.25, seed=7, name="drop"),
            keras.layers.Dense(3, activation="softmax", name="classes"),
        ]
    )


def cnn(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="images"),
            layers.Rescaling(1 / 255.0, name="scale"),
            layers.ZeroPadding2D(((2, 1), (0, 3)), name="pad"),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(16, (3, 2), dilation_rate=2, use_bias=False, name="conv2"),
            layers.LeakyReLU(0.1, name="leaky"),
            layers.AveragePooling2D((2, 1), strides=1, padding="same", name="pool2"),
            layers.Flatten(name="flat"),
            layers.Dense(10, name="logits"),
            layers.Softmax(name="classes"),
        ]
    )


def depthwise(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((16, 16, 3), name="images")
    each = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="each")(x)
    capped = layers.ReLU(max_value=6.0, negative_slope=0.1, threshold=0.5, name="capped")(each)
    mixed = layers.Conv2D(4, 1, activation="elu", name="mixed")(capped)
    mean = layers.GlobalAveragePooling2D(name="mean")(mixed)
    most = layers.GlobalMaxPooling2D(name="most")(mixed)
    both = layers.Concatenate(name="both")([mean, most])
    return keras.Model(x, layers.Dense(1, activation="sigmoid", name="out")(both))


def text(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((20,), dtype="int32", name="tokens"),
            layers.Embedding(1000, 8, name="embedding"),
            layers.Conv1D(12, 5, padding="same", activation="swish", name="conv"),
            layers.AveragePooling1D(2, name="pool"),
            layers.Conv1D(6, 3, strides=2, activation="tanh", name="conv2"),
            layers.MaxPooling1D(2, strides=1, name="pool2"),
            layers.GlobalMaxPooling1D(name="max"),
            layers.Dense(1, name="logit"),
            layers.Activation("sigmoid", name="probability"),
        ]
    )


def residual(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((8,), name="features")
    left = layers.Dense(8, activation="gelu", name="left")(x)
    right = layers.Dense(8, activation="selu", use_bias=False, name="right")(x)
    added = layers.Add(name="added")([x, left, right])
    normal = layers.LayerNormalization(epsilon=1e-5, center=False, name="normal")(added)
    gated = layers.Multiply(name="gated")([normal, left])
    less = layers.Subtract(name="less")([gated, right])
    mean = layers.Average(name="mean")([less, x])
    most = layers.Maximum(name="most")([mean, left])
    joined = layers.Concatenate(name="joined")([most, x])
    bent = layers.ELU(0.7, name="bent")(joined)
    folded = layers.Reshape((4, -1), name="folded")(bent)
    pooled = layers.GlobalAveragePooling1D(name="pooled")(folded)
    return keras.Model(x, layers.Dense(1, activation="linear", name="value")(pooled))


def initialized(keras: Any) -> Any:
    layers, init = keras.layers, keras.initializers
    return keras.Sequential(
        [
            keras.Input((5,), name="features"),
            layers.Dense(4, "relu", kernel_initializer="he_normal", name="string"),
            layers.Dense(
                4,
                keras.activations.softplus,
                kernel_initializer=init.HeUniform(seed=3),
                bias_initializer=init.Constant(0.1),
                name="object",
            ),
            layers.Dense(4, kernel_initializer=init.RandomNormal(0.0, 0.3, seed=1), name="normal"),
            layers.Dense(4, kernel_initializer=init.RandomUniform(-0.2, 0.4), name="uniform"),
            layers.Dense(4, kernel_initializer=init.TruncatedNormal(stddev=0.02), name="cut"),
            layers.Dense(4, "softsign", kernel_initializer="lecun_normal", name="lecun"),
            layers.Dense(4, kernel_initializer="glorot_normal", name="glorot"),
            layers.LayerNormalization(
                scale=True, gamma_initializer=init.Constant(0.5), name="normalization"
            ),
            layers.Dense(
                2,
                kernel_initializer="lecun_uniform",
                bias_initializer="ones",
                name="out",
            ),
        ]
    )


ARCHITECTURES: dict[str, Callable[[Any], Any]] = {
    function.__name__: function for function in (mlp, cnn, depthwise, text, residual, initialized)
}
