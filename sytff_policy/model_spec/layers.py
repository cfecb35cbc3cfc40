"""The allow-list of layers: what each may say, the shapes it makes, the weights it has.

Names, arguments and meaning are Keras's, where Keras 2 and Keras 3 agree. Data is channels-last.
What is not here cannot be expressed, which is the sandbox: there is no code in a specification.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import Field

from sytff_policy.model_spec.base import (
    GLOROT,
    MAX_RANK,
    ONES,
    UNIFORM,
    ZEROS,
    Activation,
    BaseLayer,
    Finite,
    Initializer,
    NotNegative,
    Padding,
    Shape,
    ShapeError,
    Size,
    Sizes1,
    Sizes2,
    WeightSpec,
    only,
    ranked,
    windowed,
)


class Dense(BaseLayer):
    """Fully connected on the last axis."""

    type: Literal["Dense"] = "Dense"
    units: Size
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_initializer: Initializer = GLOROT
    bias_initializer: Initializer = ZEROS

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return (*ranked(shapes, 1, None)[:-1], self.units)

    def weight_specs(self, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
        kernel = self._weight("kernel", (only(shapes)[-1], self.units), self.kernel_initializer)
        bias = self._weight("bias", (self.units,), self.bias_initializer)
        return (kernel, bias) if self.use_bias else (kernel,)


class Conv1D(BaseLayer):
    """Convolution along one axis."""

    type: Literal["Conv1D"] = "Conv1D"
    filters: Size
    kernel_size: Sizes1
    strides: Sizes1 = (1,)
    dilation_rate: Sizes1 = (1,)
    padding: Padding = "valid"
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_initializer: Initializer = GLOROT
    bias_initializer: Initializer = ZEROS

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        steps, _ = ranked(shapes, 2, 2)
        return (*self._windows((steps,)), self.filters)

    def weight_specs(self, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
        shape = (*self.kernel_size, only(shapes)[-1], self.filters)
        kernel = self._weight("kernel", shape, self.kernel_initializer)
        bias = self._weight("bias", (self.filters,), self.bias_initializer)
        return (kernel, bias) if self.use_bias else (kernel,)

    def _windows(self, axes: Shape) -> Shape:
        return windowed(axes, self.kernel_size, self.strides, self.dilation_rate, self.padding)


class Conv2D(BaseLayer):
    """Convolution along two axes."""

    type: Literal["Conv2D"] = "Conv2D"
    filters: Size
    kernel_size: Sizes2
    strides: Sizes2 = (1, 1)
    dilation_rate: Sizes2 = (1, 1)
    padding: Padding = "valid"
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_initializer: Initializer = GLOROT
    bias_initializer: Initializer = ZEROS

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        height, width, _ = ranked(shapes, 3, 3)
        return (*self._windows((height, width)), self.filters)

    def weight_specs(self, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
        shape = (*self.kernel_size, only(shapes)[-1], self.filters)
        kernel = self._weight("kernel", shape, self.kernel_initializer)
        bias = self._weight("bias", (self.filters,), self.bias_initializer)
        return (kernel, bias) if self.use_bias else (kernel,)

    def _windows(self, axes: Shape) -> Shape:
        return windowed(axes, self.kernel_size, self.strides, self.dilation_rate, self.padding)


class DepthwiseConv2D(BaseLayer):
    """Convolution of every channel on its own."""

    type: Literal["DepthwiseConv2D"] = "DepthwiseConv2D"
    kernel_size: Sizes2
    strides: Sizes2 = (1, 1)
    dilation_rate: Sizes2 = (1, 1)
    padding: Padding = "valid"
    depth_multiplier: Size = 1
    activation: Activation = "linear"
    use_bias: bool = True
    depthwise_initializer: Initializer = GLOROT
    bias_initializer: Initializer = ZEROS

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        height, width, channels = ranked(shapes, 3, 3)
        if self.strides[0] != self.strides[1]:
            raise ShapeError("strides of a depthwise convolution must be equal")
        return (*self._windows((height, width)), channels * self.depth_multiplier)

    def weight_specs(self, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
        channels = only(shapes)[-1]
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        kernel = self._weight("depthwise_kernel", shape, self.depthwise_initializer)
        bias = self._weight("bias", (channels * self.depth_multiplier,), self.bias_initializer)
        return (kernel, bias) if self.use_bias else (kernel,)

    def _windows(self, axes: Shape) -> Shape:
        return windowed(axes, self.kernel_size, self.strides, self.dilation_rate, self.padding)


class Pooling1D(BaseLayer):
    """Pooling along one axis."""

    type: Literal["MaxPooling1D", "AveragePooling1D"]
    pool_size: Sizes1 = (2,)
    strides: Sizes1 | None = None
    padding: Padding = "valid"

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        steps, channels = ranked(shapes, 2, 2)
        strides = self.strides or self.pool_size
        return (*windowed((steps,), self.pool_size, strides, (1,), self.padding), channels)


class Pooling2D(BaseLayer):
    """Pooling along two axes."""

    type: Literal["MaxPooling2D", "AveragePooling2D"]
    pool_size: Sizes2 = (2, 2)
    strides: Sizes2 | None = None
    padding: Padding = "valid"

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        height, width, channels = ranked(shapes, 3, 3)
        strides = self.strides or self.pool_size
        return (
            *windowed((height, width), self.pool_size, strides, (1, 1), self.padding),
            channels,
        )


class GlobalPooling1D(BaseLayer):
    """Pooling over all steps."""

    type: Literal["GlobalAveragePooling1D", "GlobalMaxPooling1D"]

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return (ranked(shapes, 2, 2)[-1],)


class GlobalPooling2D(BaseLayer):
    """Pooling over the whole image."""

    type: Literal["GlobalAveragePooling2D", "GlobalMaxPooling2D"]

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return (ranked(shapes, 3, 3)[-1],)


class Flatten(BaseLayer):
    """All axes into one."""

    type: Literal["Flatten"] = "Flatten"

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return (math.prod(only(shapes)),)


class Reshape(BaseLayer):
    """The same elements in another shape; one axis may be -1."""

    type: Literal["Reshape"] = "Reshape"
    target_shape: tuple[Annotated[int, Field(ge=-1, le=1_000_000)], ...] = Field(
        min_length=1, max_length=MAX_RANK
    )

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        total = math.prod(only(shapes))
        known = math.prod(axis for axis in self.target_shape if axis != -1)
        free = self.target_shape.count(-1)
        if 0 in self.target_shape or free > 1 or (total % known if free else total != known):
            raise ShapeError(f"{total} elements do not fit the shape {self.target_shape}")
        return tuple(total // known if axis == -1 else axis for axis in self.target_shape)


class ActivationLayer(BaseLayer):
    """An activation on its own."""

    type: Literal["Activation"] = "Activation"
    activation: Activation


class ReLU(BaseLayer):
    """max(0, x), optionally capped, leaky or shifted."""

    type: Literal["ReLU"] = "ReLU"
    max_value: NotNegative | None = None
    negative_slope: NotNegative = 0.0
    threshold: NotNegative = 0.0


class LeakyReLU(BaseLayer):
    """x above 0, `negative_slope` x below."""

    type: Literal["LeakyReLU"] = "LeakyReLU"
    negative_slope: Finite = 0.3


class ELU(BaseLayer):
    """x above 0, alpha (e^x - 1) below."""

    type: Literal["ELU"] = "ELU"
    alpha: Finite = 1.0


class Softmax(BaseLayer):
    """Softmax over the last axis."""

    type: Literal["Softmax"] = "Softmax"


class Dropout(BaseLayer):
    """Inverted dropout while training."""

    type: Literal["Dropout"] = "Dropout"
    rate: float = Field(ge=0.0, lt=1.0)


class LayerNormalization(BaseLayer):
    """Normalisation of each example over its last axis."""

    type: Literal["LayerNormalization"] = "LayerNormalization"
    epsilon: float = Field(default=1e-3, gt=0.0, le=1.0)
    center: bool = True
    scale: bool = True
    beta_initializer: Initializer = ZEROS
    gamma_initializer: Initializer = ONES

    def weight_specs(self, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
        width = (only(shapes)[-1],)
        gamma = self._weight("gamma", width, self.gamma_initializer)
        beta = self._weight("beta", width, self.beta_initializer)
        return (*((gamma,) if self.scale else ()), *((beta,) if self.center else ()))


class Embedding(BaseLayer):
    """Rows of a table by integer; an index outside the table reads zeros."""

    type: Literal["Embedding"] = "Embedding"
    input_dim: Size
    output_dim: Size
    embeddings_initializer: Initializer = UNIFORM

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return (*only(shapes), self.output_dim)

    def weight_specs(self, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
        del shapes
        table = (self.input_dim, self.output_dim)
        return (self._weight("embeddings", table, self.embeddings_initializer),)


class ZeroPadding2D(BaseLayer):
    """Zeros around an image: ((top, bottom), (left, right))."""

    type: Literal["ZeroPadding2D"] = "ZeroPadding2D"
    padding: tuple[
        tuple[Annotated[int, Field(ge=0, le=4096)], Annotated[int, Field(ge=0, le=4096)]],
        tuple[Annotated[int, Field(ge=0, le=4096)], Annotated[int, Field(ge=0, le=4096)]],
    ] = ((1, 1), (1, 1))

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        height, width, channels = ranked(shapes, 3, 3)
        return (height + sum(self.padding[0]), width + sum(self.padding[1]), channels)


class Rescaling(BaseLayer):
    """scale x + offset."""

    type: Literal["Rescaling"] = "Rescaling"
    scale: Finite
    offset: Finite = 0.0


class Merge(BaseLayer):
    """Element-wise combination of equal shapes."""

    type: Literal["Add", "Subtract", "Multiply", "Average", "Maximum"]

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        if len(shapes) < 2 or (self.type == "Subtract" and len(shapes) != 2):
            raise ShapeError(f"{self.type} does not take {len(shapes)} inputs")
        if len(set(shapes)) != 1:
            raise ShapeError(f"inputs have the different shapes {list(shapes)}")
        return shapes[0]


class Concatenate(BaseLayer):
    """Inputs one after another on the last axis."""

    type: Literal["Concatenate"] = "Concatenate"

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        if len(shapes) < 2 or len({shape[:-1] for shape in shapes}) != 1:
            raise ShapeError(f"the shapes {list(shapes)} do not line up but for their last axis")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


Layer = Annotated[
    Dense
    | Conv1D
    | Conv2D
    | DepthwiseConv2D
    | Pooling1D
    | Pooling2D
    | GlobalPooling1D
    | GlobalPooling2D
    | Flatten
    | Reshape
    | ActivationLayer
    | ReLU
    | LeakyReLU
    | ELU
    | Softmax
    | Dropout
    | LayerNormalization
    | Embedding
    | ZeroPadding2D
    | Rescaling
    | Merge
    | Concatenate,
    Field(discriminator="type"),
]

LAYER_CLASSES: dict[str, type[BaseLayer]] = {
    name: layer
    for layer in get_args(get_args(Layer)[0])
    for name in get_args(layer.model_fields["type"].annotation)
}
"""The allow-list: layer type to what may be said about it."""
