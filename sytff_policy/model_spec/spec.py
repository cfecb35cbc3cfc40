"""`ModelSpec`: a neutral description of an architecture, for any Keras and for none."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from sytff_policy._model import Document
from sytff_policy.model_spec.base import MAX_RANK, Name, Shape, ShapeError, WeightSpec
from sytff_policy.model_spec.layers import (
    ActivationLayer,
    Dropout,
    Flatten,
    GlobalPooling1D,
    GlobalPooling2D,
    Layer,
    Pooling1D,
    Pooling2D,
    Reshape,
    Softmax,
)

_KEEPS_PROBABILITIES = (
    Dropout,
    Flatten,
    Reshape,
    Pooling1D,
    Pooling2D,
    GlobalPooling1D,
    GlobalPooling2D,
)

MAX_LAYERS = 1000
MAX_PARAMETERS = 200_000_000
MAX_ELEMENTS = 100_000_000
"""Elements of all layers' outputs together, for one example: 400 MB in single precision."""


class InputSpec(Document):
    """The model's one input: its name, its shape without the batch, its type."""

    name: Name
    shape: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = Field(
        min_length=1, max_length=MAX_RANK
    )
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
    output: Name

    @model_validator(mode="after")
    def _is_a_graph(self) -> ModelSpec:
        shapes: dict[str, Shape] = {self.inputs[0].name: self.inputs[0].shape}
        elements, parameters = math.prod(self.inputs[0].shape), 0
        used: set[str] = set()
        for layer in self.layers:
            what = f"layer {layer.name!r} ({layer.type})"
            if layer.name in shapes:
                raise ValueError(f"{what}: the name is used twice")
            unknown = [name for name in layer.inputs if name not in shapes]
            if unknown:
                raise ValueError(f"{what}: unknown or later input {unknown[0]!r}")
            given = [shapes[name] for name in layer.inputs]
            used.update(layer.inputs)
            try:
                shape = layer.infer(given)
                weights = layer.weight_specs(given)
            except ShapeError as error:
                raise ValueError(f"{what}: {error}") from None
            if len(shape) > MAX_RANK:
                raise ValueError(f"{what}: makes more than {MAX_RANK} axes")
            parameters += sum(math.prod(weight.shape) for weight in weights)
            elements += math.prod(shape)
            if elements > MAX_ELEMENTS or parameters > MAX_PARAMETERS:
                raise ValueError(
                    f"{what}: more than {MAX_PARAMETERS} parameters or {MAX_ELEMENTS} elements "
                    "in the model up to here"
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
    def largest_layer(self) -> tuple[str, int] | None:
        """Name and parameters of the layer with most of them; None if no layer has any."""
        sizes: dict[str, int] = {}
        for weight in self.weights:
            layer = weight.name.rpartition("/")[0]
            sizes[layer] = sizes.get(layer, 0) + math.prod(weight.shape)
        return max(sizes.items(), key=lambda item: item[1], default=None)

    @property
    def layer_types(self) -> tuple[str, ...]:
        return tuple(layer.type for layer in self.layers)

    @property
    def final_activation(self) -> str:
        """`softmax` or `sigmoid` if the output is probabilities, else `linear` (logits, values).

        Layers that only move, drop, pool or average probabilities leave them probabilities.
        """
        by_name = {layer.name: layer for layer in self.layers}
        layer = by_name[self.output]
        while isinstance(layer, _KEEPS_PROBABILITIES) or _does_nothing(layer):
            if layer.inputs[0] not in by_name:
                return "linear"
            layer = by_name[layer.inputs[0]]
        if isinstance(layer, Softmax):
            return "softmax"
        activation = getattr(layer, "activation", "linear")
        return activation if activation in ("softmax", "sigmoid") else "linear"


def _does_nothing(layer: Layer) -> bool:
    return isinstance(layer, ActivationLayer) and layer.activation == "linear"
