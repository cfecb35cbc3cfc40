"""Weights between a Keras model and names: `layer/kernel` and so on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sytff_policy.errors import InvalidInput
from sytff_policy.model_spec.base import WeightSpec
from sytff_policy.model_spec.spec import ModelSpec

Array = npt.NDArray[np.float32]


def check_keras_weights(model: Any, spec: ModelSpec) -> None:
    """Checks that the model has the weights of the specification.

    Raises:
      InvalidInput: If the model is not the one that the specification was made from.
    """
    for layer_name, wanted in _by_layer(spec).items():
        _layer(model, layer_name, wanted)


def weights_from_keras(model: Any, spec: ModelSpec) -> dict[str, Array]:
    """The model's trainable weights by name, in the specification's order.

    Raises:
      InvalidInput: If the model is not the one that the specification was made from.
    """
    named: dict[str, Array] = {}
    for layer_name, wanted in _by_layer(spec).items():
        values = _layer(model, layer_name, wanted).get_weights()
        named.update(
            (weight.name, np.asarray(value, np.float32))
            for weight, value in zip(wanted, values, strict=True)
        )
    return named


def set_keras_weights(model: Any, spec: ModelSpec, weights: Mapping[str, Array]) -> None:
    """Sets all of the model's weights; checks everything before it changes anything.

    Raises:
      InvalidInput: If a weight is missing, surplus, misshapen or not finite, or the model is not
        the one that the specification was made from.
    """
    wanted = {weight.name: weight.shape for weight in spec.weights}
    if set(weights) != set(wanted):
        odd = sorted(set(weights) ^ set(wanted))
        raise InvalidInput(
            "weights", "are not those of the model", value=", ".join(odd[:5]), limit=list(wanted)
        )
    arrays = {name: _checked(name, weights[name], shape) for name, shape in wanted.items()}
    layers = {name: _layer(model, name, made) for name, made in _by_layer(spec).items()}
    for name, made in _by_layer(spec).items():
        layers[name].set_weights([arrays[weight.name] for weight in made])


def _checked(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    try:
        # What single precision cannot hold becomes infinite, and is refused below.
        with np.errstate(over="ignore"):
            array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise InvalidInput(name, "is not an array of numbers", value=type(value).__name__) from None
    if array.shape != shape:
        raise InvalidInput(name, "is misshapen", value=array.shape, limit=shape)
    if not np.isfinite(array).all():
        raise InvalidInput(name, "is not finite")
    return array


def _layer(model: Any, name: str, wanted: list[WeightSpec]) -> Any:
    try:
        layer = model.get_layer(name)
    except ValueError:
        raise InvalidInput(f"layer {name!r}", "is not in the model") from None
    shapes = [tuple(weight.shape) for weight in layer.weights]
    limit = [weight.shape for weight in wanted]
    if shapes != limit:
        raise InvalidInput(
            f"layer {name!r}", "has other weights than its specification", value=shapes, limit=limit
        )
    return layer


def _by_layer(spec: ModelSpec) -> dict[str, list[WeightSpec]]:
    layers: dict[str, list[WeightSpec]] = {}
    for weight in spec.weights:
        layers.setdefault(weight.name.rpartition("/")[0], []).append(weight)
    return layers
