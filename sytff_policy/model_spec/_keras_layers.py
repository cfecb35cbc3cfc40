"""One layer of a Keras configuration as one layer of a specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sytff_policy._model import parse
from sytff_policy.errors import InvalidInput, InvalidInputs
from sytff_policy.model_spec.base import INITIALIZER_ARGUMENTS, BaseLayer
from sytff_policy.model_spec.layers import LAYER_CLASSES

KERAS = ("keras", "tf_keras")
"""Packages whose layers, initializers and activations mean what this project takes them to."""

_OUTSIDE = "Regularizers and constraints act outside the clipped update."
_DEFAULT = "Leave it at its default."

# Arguments that say nothing about the function a layer computes here.
_IGNORED = {
    "autocast",
    "batch_input_shape",
    "batch_shape",
    "input_length",
    "input_shape",
    "name",
    "seed",
}
# Arguments that are fine only at the values that mean "not used".
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "data_format": ("channels_last", None),
    "groups": (1,),
    "keepdims": (False,),
    "lora_alpha": (None,),
    "lora_rank": (None,),
    "mask_zero": (False,),
    "noise_shape": (None,),
    "quantization_config": (None,),
    "rms_scaling": (False,),
    "sparse": (False,),
    "trainable": (True,),
    "weights": (None,),
}
_ACTIVATIONS = {"silu": "swish", None: "linear"}
_INITIALIZERS = {
    "Zeros": "zeros",
    "Ones": "ones",
    "Constant": "constant",
    "GlorotUniform": "glorot_uniform",
    "GlorotNormal": "glorot_normal",
    "HeUniform": "he_uniform",
    "HeNormal": "he_normal",
    "LecunUniform": "lecun_uniform",
    "LecunNormal": "lecun_normal",
    "RandomNormal": "random_normal",
    "RandomUniform": "random_uniform",
    "TruncatedNormal": "truncated_normal",
}
_REMEDIES = {
    "BatchNormalization": "Its moving averages are exact statistics of the data, outside the "
    "clipped update. Use LayerNormalization.",
    "Normalization": "Its statistics would be read from the data. Use Rescaling with public ones.",
    "Masking": "Masks are not supported. Use Embedding without mask_zero, and pooling.",
    **dict.fromkeys(
        ("Lambda", "TFOpLambda", "SlicingOpLambda"),
        "A specification holds no code. Use the allow-listed layers; for sums and products of "
        "tensors, Add and Multiply.",
    ),
    **dict.fromkeys(
        ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"),
        "Recurrent layers are not on the allow-list. Use Conv1D or pooling.",
    ),
    **dict.fromkeys(
        ("Sequential", "Functional", "Model"),
        "Nested models are not accepted. Put their layers into the outer model.",
    ),
}


@dataclass
class Entry:
    """One layer as Keras configures it.

    Attributes:
      type: Class name.
      name: Layer name.
      config: Its arguments.
      made: The layer object itself; None if the configuration names one that is no layer.
      module: Where its class is from.
      inputs: Names of the layers that it takes.
    """

    type: str
    name: str
    config: Mapping[str, Any]
    made: Any
    module: str
    inputs: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"layer {self.name!r} ({self.type})"


def layer_document(entry: Entry, problems: list[InvalidInput]) -> dict[str, Any] | None:
    """The layer as `ModelSpec` takes it; None, and problems, if that cannot be said."""
    refusal = _not_allowed(entry)
    if refusal is not None:
        problems.append(refusal)
        return None
    found: list[InvalidInput] = []
    layer = LAYER_CLASSES[entry.type]
    document: dict[str, Any] = {"name": entry.name, "type": entry.type, "inputs": entry.inputs}
    # Early versions of Keras 3 leave this argument out of the configuration.
    hidden = {"activity_regularizer": getattr(entry.made, "activity_regularizer", None)}
    for key, value in {**hidden, **entry.config}.items():
        _argument(layer, entry, key, value, document, found)
    try:
        parse(layer, document, where=entry.where)
    except InvalidInputs as error:
        found += error.errors
    problems += found
    return document if not found else None


def dtype_name(dtype: Any) -> str:
    """The name of a type or of a policy: Keras writes a string or a configuration."""
    if isinstance(dtype, Mapping):
        config = dtype.get("config")
        dtype = config.get("name") if isinstance(config, Mapping) else None
    return str(dtype)


def is_keras(cls: type, part: str) -> bool:
    """Whether Keras itself defines a class, in its package `part` (such as `layers`)."""
    package, *inner = cls.__module__.split(".")
    return package in KERAS and part in inner


def _not_allowed(entry: Entry) -> InvalidInput | None:
    problem, remedy = "", _REMEDIES.get(entry.type, f"Allowed: {', '.join(LAYER_CLASSES)}.")
    if ".ops." in f".{entry.module}.":
        problem = "is an operation on tensors, which is not on the allow-list"
        remedy = "Use a layer, such as keras.layers.Add or Concatenate."
    elif entry.type not in LAYER_CLASSES:
        problem = f"is a {entry.type}, which is not on the allow-list"
    elif entry.made is None or not is_keras(type(entry.made), "layers"):
        problem = f"is your own class, not Keras's {entry.type}; its code is not on the allow-list"
        remedy = f"Use keras.layers.{entry.type} itself."
    if not problem:
        return None
    return InvalidInput(entry.where, problem, remedy=remedy, code="model.layer_not_allowed")


def _argument(
    layer: type[BaseLayer],
    entry: Entry,
    key: str,
    value: Any,
    document: dict[str, Any],
    problems: list[InvalidInput],
) -> None:
    if key == "alpha" and entry.type == "LeakyReLU":
        key = "negative_slope"
    where = f"{entry.where}: {key}"
    if key.endswith("_initializer"):
        value = _initializer(entry, key, value, problems)
    elif key == "activation":
        value = _activation(entry, value, problems)
    if key in layer.model_fields and key not in ("name", "inputs", "type"):
        document[key] = _plain(value)
    elif key == "dtype":
        if dtype_name(value) != "float32":
            problems.append(
                InvalidInput(
                    where, "is not supported", value=dtype_name(value), limit="float32",
                    remedy="Training is in single precision.",
                )
            )  # fmt: skip
    elif key.endswith(("_regularizer", "_constraint")) or key in _NEUTRAL:
        neutral = _NEUTRAL.get(key, (None,))
        if not any(value is item or _equal(value, item) for item in neutral):
            problems.append(
                InvalidInput(
                    where, "is not supported", value=_name_of(value), limit=neutral[0],
                    remedy=_DEFAULT if key in _NEUTRAL else _OUTSIDE,
                )
            )  # fmt: skip
    # The axis is checked against the layer's input, whose shape is not known yet.
    elif key not in _IGNORED and key != "axis":
        problems.append(InvalidInput(where, "unknown argument", value=_name_of(value)))


def _activation(entry: Entry, value: Any, problems: list[InvalidInput]) -> Any:
    known = isinstance(value, str) or value is None
    if known and _is_built_in(getattr(entry.made, "activation", None)):
        return _ACTIVATIONS.get(value, value)
    problems.append(
        InvalidInput(
            f"{entry.where}: activation",
            "is not a built-in activation",
            value=_name_of(value),
            remedy="Use an activation by its name, such as 'relu', or a layer such as LeakyReLU.",
            code="model.activation_not_allowed",
        )
    )
    return "linear"


def _is_built_in(function: Any) -> bool:
    # Keras writes a function of one's own that is called `relu` as "relu".
    package, *inner = str(getattr(function, "__module__", "")).split(".")
    return package == "tensorflow" or (package in KERAS and "activations" in inner)


def _initializer(entry: Entry, key: str, value: Any, problems: list[InvalidInput]) -> Any:
    where = f"{entry.where}: {key}"
    name = _INITIALIZERS.get(str(value.get("class_name"))) if isinstance(value, Mapping) else None
    made = getattr(entry.made, key, None)
    if name is None or not is_keras(type(made), "initializers"):
        problems.append(
            InvalidInput(
                where,
                "is not on the allow-list",
                value=_name_of(value),
                limit=", ".join(_INITIALIZERS.values()),
            )
        )
        return {}
    document: dict[str, Any] = {"name": name}
    for argument, given in value.get("config", {}).items():
        if argument in INITIALIZER_ARGUMENTS.get(name, ()):
            document[argument] = _plain(given)
        elif given is not None and argument not in ("seed", "dtype"):
            problems.append(InvalidInput(where, f"unknown argument {argument}", value=str(given)))
    return document


def _plain(value: Any) -> Any:
    """An argument as JSON has it; a number as the shortest spelling of its single precision.

    Keras 2 turns some arguments into single precision and Keras 3 does not, so 0.1 would be
    0.10000000149011612 in one of them. Layers compute in single precision in any case.
    """
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping) and value.get("class_name") in ("__numpy__", "__tensor__"):
        # How Keras 3 writes a number that was not Python's own.
        value = np.asarray(value["config"]["value"])
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float):
        with np.errstate(over="ignore"):
            return float(str(np.float32(value)))
    return value


def _equal(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _name_of(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("class_name", "code" if "value" in value else value)
    plain = isinstance(value, str | int | float | list | tuple)
    text = str(value) if plain else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
