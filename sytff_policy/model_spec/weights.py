"""Weights between a Keras model and names: `layer/kernel` and so on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sytff_policy.errors import InvalidInput
from sytff_policy.model_spec.spec import ModelSpec

Array = npt.NDArray[np.float32]


def weights_from_keras(model: Any, spec: ModelSpec) -> dict[str, Array]:
    """The model's trainable weights by name, in the specification's order."""
    named: dict[str, Array] = {}
    for layer_name, names in _by_layer(spec).items():
        values = model.get_layer(layer_name).get_weights()
        if len(values) != len(names):
            raise InvalidInput(f"layer {layer_name!r}", "has other weights than its specification")
        named.update(zip(names, values, strict=True))
    return named


def set_keras_weights(model: Any, spec: ModelSpec, weights: Mapping[str, Array]) -> None:
    """Sets all of the model's weights; checks everything before it changes anything.

    Raises:
      InvalidInput: If a weight is missing, surplus, misshapen or not finite.
    """
    wanted = {weight.name: weight.shape for weight in spec.weights}
    if set(weights) != set(wanted):
        odd = sorted(set(weights) ^ set(wanted))
        raise InvalidInput("weights", "are not those of the model", value=", ".join(odd[:5]))
    for name, shape in wanted.items():
        value = np.asarray(weights[name])
        if value.shape != shape or not np.isfinite(value).all():
            raise InvalidInput(name, "is misshapen or not finite", value=value.shape, limit=shape)
    for layer_name, names in _by_layer(spec).items():
        model.get_layer(layer_name).set_weights([np.asarray(weights[name]) for name in names])


def _by_layer(spec: ModelSpec) -> dict[str, list[str]]:
    layers: dict[str, list[str]] = {}
    for weight in spec.weights:
        layers.setdefault(weight.name.rpartition("/")[0], []).append(weight.name)
    return layers
