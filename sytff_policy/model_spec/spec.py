"""`ModelSpec`: a neutral description of an architecture, for any Keras and for none."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from sytff_policy._model import Document
from sytff_policy.model_spec.layers import (
    ActivationLayer,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Layer,
    Shape,
    ShapeError,
    Softmax,
    WeightSpec,
)

MAX_LAYERS = 1000
MAX_PARAMETERS = 200_000_000
MAX_ELEMENTS = 100_000_000


class InputSpec(Document):
    """The model's one input: its name, its shape without the batch, its type."""

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f/\x7f]+$")
    shape: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = Field(min_length=1, max_length=8)
    dtype: Literal["float32", "int32"] = "float32"


class ModelSpec(Document):
    """An architecture: one input, allow-listed layers in topological order, one output.

    Attributes:
      inputs: Exactly one input.
      layers: Layers; each takes the input or layers before it.
      output: Name of the layer that is the output.
    """

    # cached_property needs a writable instance dictionary; fields stay frozen.
    model_config = ConfigDict(ignored_types=(cached_property,))

    format: Literal["sytff-model/1"] = "sytff-model/1"
    inputs: tuple[InputSpec]
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=MAX_LAYERS)
    output: str

    @model_validator(mode="after")
    def _is_a_graph(self) -> ModelSpec:
        shapes: dict[str, Shape] = {self.inputs[0].name: self.inputs[0].shape}
        parameters = 0
        used: set[str] = set()
        for layer in self.layers:
            if layer.name in shapes:
                raise ValueError(f"layer {layer.name!r}: the name is used twice")
            unknown = [name for name in layer.inputs if name not in shapes]
            if unknown:
                raise ValueError(f"layer {layer.name!r}: unknown or later input {unknown[0]!r}")
            given = [shapes[name] for name in layer.inputs]
            used.update(layer.inputs)
            try:
                shape = layer.infer(given)
                weights = layer.weight_specs(given)
            except ShapeError as error:
                raise ValueError(f"layer {layer.name!r} ({layer.type}): {error}") from None
            parameters += sum(math.prod(weight.shape) for weight in weights)
            if math.prod(shape) > MAX_ELEMENTS or parameters > MAX_PARAMETERS:
                raise ValueError(
                    f"layer {layer.name!r} ({layer.type}): more than {MAX_PARAMETERS} parameters "
                    f"or {MAX_ELEMENTS} elements"
                )
            shapes[layer.name] = shape
        if self.output != self.layers[-1].name:
            raise ValueError(f"output {self.output!r} must be the last layer")
        loose = set(shapes) - used - {self.output}
        if loose:
            raise ValueError(f"layer {sorted(loose)[0]!r} leads nowhere")
        return self

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of the input and of every layer's output, without the batch."""
        shapes: dict[str, Shape] = {self.inputs[0].name: self.inputs[0].shape}
        for layer in self.layers:
            shapes[layer.name] = layer.infer([shapes[name] for name in layer.inputs])
        return shapes

    @cached_property
    def weights(self) -> tuple[WeightSpec, ...]:
        """All trainable weights, in layer order and Keras's order within a layer."""
        return tuple(
            weight
            for layer in self.layers
            for weight in layer.weight_specs([self.shapes[name] for name in layer.inputs])
        )

    @property
    def output_shape(self) -> Shape:
        return self.shapes[self.output]

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(weight.shape) for weight in self.weights)

    @property
    def layer_types(self) -> tuple[str, ...]:
        return tuple(layer.type for layer in self.layers)

    @property
    def final_activation(self) -> str:
        """`softmax` or `sigmoid` if the output is probabilities, else `linear` (logits, values)."""
        layer = self.layers[-1]
        if isinstance(layer, Softmax):
            return "softmax"
        if isinstance(layer, Dense | Conv1D | Conv2D | DepthwiseConv2D | ActivationLayer):
            return layer.activation if layer.activation in ("softmax", "sigmoid") else "linear"
        return "linear"
