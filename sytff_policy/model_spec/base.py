"""What every layer of a specification is made of: shapes, weights, initializers, a base class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sytff_policy._model import Document

Shape = tuple[int, ...]

Activation = Literal[
    "linear",
    "relu",
    "elu",
    "selu",
    "gelu",
    "sigmoid",
    "tanh",
    "softmax",
    "softplus",
    "softsign",
    "swish",
]
Padding = Literal["valid", "same"]
Size = Annotated[int, Field(ge=1, le=1_000_000)]
Sizes1 = Annotated[tuple[Size], Field()]
Sizes2 = Annotated[tuple[Size, Size], Field()]
Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
NotNegative = Annotated[float, Field(ge=0.0, le=1e6)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f/\x7f-\x9f]+$")]

MAX_RANK = 8
"""Axes of a tensor without the batch; TensorFlow's kernels take few more."""

INITIALIZER_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "random_normal": ("mean", "stddev"),
    "truncated_normal": ("mean", "stddev"),
    "random_uniform": ("minval", "maxval"),
}
"""Which of an initializer's arguments belong to which name; the other names have none."""


class Initializer(Document):
    """How a weight starts. `value`, `mean`, `stddev`, `minval`, `maxval` belong to some names."""

    name: Literal[
        "zeros",
        "ones",
        "constant",
        "glorot_uniform",
        "glorot_normal",
        "he_uniform",
        "he_normal",
        "lecun_uniform",
        "lecun_normal",
        "random_normal",
        "random_uniform",
        "truncated_normal",
    ] = "glorot_uniform"
    value: Finite = 0.0
    mean: Finite = 0.0
    stddev: NotNegative = 0.05
    minval: Finite = -0.05
    maxval: Finite = 0.05

    @field_validator("value", "mean", "stddev", "minval", "maxval")
    @classmethod
    def _belongs(cls, value: float, info: ValidationInfo) -> float:
        name, field = info.data.get("name"), str(info.field_name)
        # An argument that does nothing would be taken for one that does.
        if name is not None and field not in INITIALIZER_ARGUMENTS.get(name, ()):
            default = cls.model_fields[field].default
            if value != default:
                raise ValueError(f"is not a parameter of {name}; leave it at {default}")
        return value

    @field_validator("maxval")
    @classmethod
    def _is_a_range(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("minval", value):
            raise ValueError("is below minval")
        return value


ZEROS = Initializer(name="zeros")
ONES = Initializer(name="ones")
GLOROT = Initializer()
UNIFORM = Initializer(name="random_uniform")


@dataclass(frozen=True)
class WeightSpec:
    """One trainable weight.

    Attributes:
      name: `layer/weight`, such as `dense/kernel`.
      shape: Its shape.
      initializer: How it starts.
    """

    name: str
    shape: Shape
    initializer: Initializer


class ShapeError(ValueError):
    """A layer that cannot take the shape it is given."""


class BaseLayer(Document):
    """A layer: its name, and the names of the layers (or the input) that it takes."""

    name: Name
    inputs: tuple[Name, ...] = Field(min_length=1, max_length=16)

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        """Output shape (without the batch) for the shapes of its inputs.

        Raises:
          ShapeError: If they do not fit.
        """
        return only(shapes)

    def weight_specs(self, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
        """Trainable weights in Keras's order."""
        del shapes
        return ()

    def _weight(self, name: str, shape: Shape, initializer: Initializer) -> WeightSpec:
        return WeightSpec(f"{self.name}/{name}", shape, initializer)


def only(shapes: Sequence[Shape]) -> Shape:
    """The shape of a layer's single input.

    Raises:
      ShapeError: If it has more.
    """
    if len(shapes) != 1:
        raise ShapeError(f"takes one input, not {len(shapes)}")
    return shapes[0]


def ranked(shapes: Sequence[Shape], least: int, most: int | None) -> Shape:
    """The shape of a layer's single input, which has `least` to `most` axes.

    Raises:
      ShapeError: If it has fewer or more.
    """
    shape = only(shapes)
    if len(shape) < least or (most is not None and len(shape) > most):
        wanted = f"{least}" if most == least else f"at least {least}"
        raise ShapeError(f"takes {wanted} axes besides the batch, not the shape {shape}")
    return shape


def windowed(
    axes: Shape, kernel: Shape, strides: Shape, dilation: Shape, padding: Padding
) -> Shape:
    """What is left of `axes` after a kernel has moved over them.

    Raises:
      ShapeError: If the kernel does not fit, or TensorFlow has no such kernel.
    """
    if max(strides) > 1 and max(dilation) > 1:
        raise ShapeError("strides and dilation_rate cannot both be above 1")
    parts = zip(axes, kernel, strides, dilation, strict=True)
    return tuple(_window(*part, padding) for part in parts)


def _window(size: int, kernel: int, stride: int, dilation: int, padding: Padding) -> int:
    reach = 1 if padding == "same" else (kernel - 1) * dilation + 1
    if size < reach:
        raise ShapeError(f"a window of {reach} does not fit into {size}")
    return (size - reach) // stride + 1 if padding == "valid" else -(-size // stride)
