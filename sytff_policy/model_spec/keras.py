"""From a researcher's Keras model to a `ModelSpec`, on Keras 2 and Keras 3.

Only the model's configuration is read, never its code. Everything that the specification cannot
say is refused by the layer's name.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sytff_policy._model import parse
from sytff_policy.errors import InvalidInput, InvalidInputs
from sytff_policy.model_spec.spec import ModelSpec

# Arguments that say nothing about the function a layer computes here.
_IGNORED = {
    "name",
    "dtype",
    "trainable",
    "batch_input_shape",
    "batch_shape",
    "input_shape",
    "registered_name",
    "input_length",
    "seed",
    "autocast",
    "lora_rank",
    "lora_alpha",
    "quantization_config",
    "ragged",
    "optional",
    "sparse",
    "axis",  # checked by _check_axes, which knows the shapes
}
# Arguments that are fine only at the value that means "not used".
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "kernel_regularizer": (None,),
    "bias_regularizer": (None,),
    "activity_regularizer": (None,),
    "depthwise_regularizer": (None,),
    "embeddings_regularizer": (None,),
    "beta_regularizer": (None,),
    "gamma_regularizer": (None,),
    "kernel_constraint": (None,),
    "bias_constraint": (None,),
    "depthwise_constraint": (None,),
    "embeddings_constraint": (None,),
    "beta_constraint": (None,),
    "gamma_constraint": (None,),
    "data_format": ("channels_last", None),
    "groups": (1,),
    "noise_shape": (None,),
    "keepdims": (False,),
    "mask_zero": (False,),
    "rms_scaling": (False,),
    "weights": (None,),
    "sparse": (False,),
}
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
_INITIALIZER_ARGUMENTS = {
    "constant": ("value",),
    "random_normal": ("mean", "stddev"),
    "truncated_normal": ("mean", "stddev"),
    "random_uniform": ("minval", "maxval"),
}
_REMEDIES = {
    "BatchNormalization": "Its moving averages are exact statistics of the data, outside the "
    "clipped update. Use LayerNormalization.",
    "Lambda": "A specification holds no code. Use the allow-listed layers.",
    "LSTM": "Recurrent layers are not on the allow-list. Use Conv1D or pooling.",
    "GRU": "Recurrent layers are not on the allow-list. Use Conv1D or pooling.",
    "SimpleRNN": "Recurrent layers are not on the allow-list. Use Conv1D or pooling.",
    "Sequential": "Nested models are not accepted. Put their layers into the outer model.",
    "Functional": "Nested models are not accepted. Put their layers into the outer model.",
    "Model": "Nested models are not accepted. Put their layers into the outer model.",
}
LAYER_TYPES = (
    "Dense",
    "Conv1D",
    "Conv2D",
    "DepthwiseConv2D",
    "MaxPooling1D",
    "AveragePooling1D",
    "MaxPooling2D",
    "AveragePooling2D",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Flatten",
    "Reshape",
    "Activation",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Softmax",
    "Dropout",
    "LayerNormalization",
    "Embedding",
    "ZeroPadding2D",
    "Rescaling",
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "Maximum",
    "Concatenate",
)
_RENAMED = {"alpha": "negative_slope"}


def spec_from_keras(model: Any) -> ModelSpec:
    """The specification of a built Keras model, sequential or functional.

    Raises:
      InvalidInputs: With one error for everything that a specification cannot say, each naming
        the layer.
    """
    try:
        config = model.get_config()
    except (AttributeError, NotImplementedError, TypeError):
        raise InvalidInput(
            "model",
            "is not a sequential or functional Keras model",
            value=type(model).__name__,
            remedy="Return one from model_fn; subclassed models have no configuration to check.",
        ) from None
    if not isinstance(config, dict) or "layers" not in config:
        raise InvalidInput(
            "model",
            "is not a sequential or functional Keras model",
            value=type(model).__name__,
            remedy="Subclassed models are not accepted: their code is not on the allow-list.",
        )
    functional = "input_layers" in config
    entries = _functional_layers(config) if functional else _sequential_layers(model, config)
    problems: list[InvalidInput] = []
    inputs = [_input_document(entry) for entry in entries if entry["type"] == "InputLayer"]
    if len(inputs) != 1:
        raise InvalidInput("model", "must have exactly one input", value=len(inputs))
    layers = [
        _layer_document(entry, problems) for entry in entries if entry["type"] != "InputLayer"
    ]
    if problems:
        raise InvalidInputs(problems)
    if not layers:
        raise InvalidInput("model", "has no layers")
    output = _output_name(config) if functional else layers[-1]["name"]
    layers = _topological(layers, inputs[0]["name"])
    spec = parse(
        ModelSpec,
        {"inputs": inputs, "layers": layers, "output": output},
        where="model",
    )
    _check_axes(spec, entries)
    return spec


def load_model_fn(reference: str) -> Callable[[], Any]:
    """Loads `FILE.py:NAME`, a function that returns a Keras model.

    Raises:
      InvalidInput: If the file or the name does not exist, is no function, or fails to load.
    """
    path_text, _, name = reference.rpartition(":")
    if not path_text or not name:
        raise InvalidInput(
            "--model", "must be FILE.py:FUNCTION", value=reference, remedy="e.g. model.py:model_fn"
        )
    path = Path(path_text)
    if not path.is_file():
        raise InvalidInput("--model", "no such file", value=str(path))
    spec = importlib.util.spec_from_file_location("sytff_researcher_model", path)
    if spec is None or spec.loader is None:
        raise InvalidInput("--model", "is not a Python file", value=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidInput("--model", f"{path} does not load: {error!r}") from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise InvalidInput(
            "--model", f"{path} has no function {name!r}", limit=", ".join(names) or "none"
        )
    made: Callable[[], Any] = function
    return made


def _sequential_layers(model: Any, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    shape = getattr(model, "input_shape", None) if getattr(model, "built", False) else None
    entries = []
    for item in config["layers"]:
        entries.append(_entry(item))
    if not entries or entries[0]["type"] != "InputLayer":
        if not isinstance(shape, tuple):
            raise InvalidInput(
                "model",
                "has no input shape",
                remedy="Start with an Input layer, or give the first layer an input_shape.",
            )
        entries.insert(0, {"type": "InputLayer", "name": "input", "config": {"batch_shape": shape}})
    previous = entries[0]["name"]
    for entry in entries[1:]:
        entry["inputs"] = [previous]
        previous = entry["name"]
    return entries


def _functional_layers(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = []
    for item in config["layers"]:
        entry = _entry(item)
        nodes = item.get("inbound_nodes", [])
        if entry["type"] != "InputLayer":
            if len(nodes) != 1:
                raise InvalidInput(
                    f"layer {entry['name']!r}",
                    "is shared: it is called more than once",
                    value=f"{len(nodes)} calls",
                    limit="each layer is called once",
                )
            entry["inputs"] = _inbound(nodes[0], entry["name"])
        entries.append(entry)
    return entries


def _entry(item: Mapping[str, Any]) -> dict[str, Any]:
    config = item.get("config", {})
    name = item.get("name") or config.get("name")
    return {
        "type": item.get("class_name"),
        "name": name,
        "config": config,
        "registered": item.get("registered_name"),
    }


def _inbound(node: Any, name: str) -> list[str]:
    found: list[str] = []

    def visit(value: Any) -> None:
        if isinstance(value, Mapping):
            if value.get("class_name") == "__keras_tensor__":
                found.append(str(value["config"]["keras_history"][0]))
                return
            for inner in value.values():
                visit(inner)
        elif isinstance(value, list | tuple):
            is_reference = (
                len(value) >= 3
                and isinstance(value[0], str)
                and all(isinstance(index, int) for index in value[1:3])
            )
            if is_reference:
                found.append(value[0])
                return
            for inner in value:
                visit(inner)

    visit(node)
    if not found:
        raise InvalidInput(f"layer {name!r}", "is called on something that is not a layer's output")
    return found


def _input_document(entry: Mapping[str, Any]) -> dict[str, Any]:
    config = entry["config"]
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    if not shape or any(axis is None for axis in shape[1:]):
        raise InvalidInput(
            f"layer {entry['name']!r}",
            "has an input shape with an unknown axis",
            value=shape,
            limit="every axis but the batch is fixed",
        )
    dtype = config.get("dtype", "float32")
    dtype = dtype if isinstance(dtype, str) else "float32"
    dtype = "int32" if dtype.startswith(("int", "uint")) else dtype
    return {"name": entry["name"], "shape": list(shape[1:]), "dtype": dtype}


def _layer_document(entry: Mapping[str, Any], problems: list[InvalidInput]) -> dict[str, Any]:
    kind, name, config = entry["type"], entry["name"], entry["config"]
    where = f"layer {name!r}"
    registered = entry.get("registered") or ""
    custom = isinstance(registered, str) and ">" in registered and "Custom" in registered
    if kind not in LAYER_TYPES or custom:
        problems.append(
            InvalidInput(
                where,
                f"is a {kind}, which is not on the allow-list",
                remedy=_REMEDIES.get(str(kind), f"Allowed: {', '.join(LAYER_TYPES)}."),
                code="model.layer_not_allowed",
            )
        )
        return {"name": name}
    if config.get("trainable", True) is False:
        problems.append(InvalidInput(where, "is not trainable", remedy="Freeze no layers."))
    document: dict[str, Any] = {"name": name, "type": kind, "inputs": entry["inputs"]}
    for key, value in config.items():
        _argument(kind, key, value, where, document, problems)
    return document


def _argument(
    kind: str,
    key: str,
    value: Any,
    where: str,
    document: dict[str, Any],
    problems: list[InvalidInput],
) -> None:
    from sytff_policy.model_spec import layers as allowed

    if key == "alpha" and kind == "LeakyReLU":
        key = "negative_slope"
    if key.endswith("_initializer"):
        value = _initializer(value, f"{where} {key}", problems)
    elif key == "activation":
        value = _activation(value, f"{where} activation", problems)
    fields = _FIELDS.setdefault(kind, _fields_of(allowed, kind))
    if key in fields:
        document[key] = _plain(value)
    elif key in _NEUTRAL:
        neutral = _NEUTRAL[key]
        if value not in neutral and value is not None:
            problems.append(
                InvalidInput(
                    where,
                    f"argument {key} is not supported",
                    value=_name_of(value),
                    limit=neutral[0],
                    remedy="Regularizers and constraints act outside the clipped update."
                    if "regularizer" in key or "constraint" in key
                    else "Leave it at its default.",
                )
            )
    elif key not in _IGNORED:
        problems.append(InvalidInput(where, f"unknown argument {key}", value=_name_of(value)))


_FIELDS: dict[str, set[str]] = {}


def _fields_of(module: Any, kind: str) -> set[str]:
    for candidate in vars(module).values():
        fields = getattr(candidate, "model_fields", None)
        if fields and "type" in fields and kind in _literals(fields["type"].annotation):
            return set(fields) - {"type", "inputs", "name"}
    raise AssertionError(f"{kind} is on the allow-list without a specification")


def _literals(annotation: Any) -> tuple[Any, ...]:
    return tuple(getattr(annotation, "__args__", ()))


def _check_axes(spec: ModelSpec, entries: list[dict[str, Any]]) -> None:
    """Keras writes the last axis as -1 or as its index; any other axis is refused."""
    axes = {entry["name"]: entry["config"].get("axis") for entry in entries}
    for layer in spec.layers:
        axis = axes.get(layer.name)
        axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
        rank = len(spec.shapes[layer.inputs[0]])
        if axis not in (None, -1, rank):
            raise InvalidInput(
                f"layer {layer.name!r}", "works on another axis than the last", value=axis, limit=-1
            )


def _initializer(value: Any, where: str, problems: list[InvalidInput]) -> Any:
    if isinstance(value, str):
        return {"name": value}
    name = _INITIALIZERS.get(value.get("class_name", "")) if isinstance(value, Mapping) else None
    if name is None:
        problems.append(
            InvalidInput(
                where,
                "initializer is not on the allow-list",
                value=_name_of(value),
                limit=", ".join(_INITIALIZERS.values()),
            )
        )
        return {"name": "zeros"}
    config = value.get("config", {})
    kept = _INITIALIZER_ARGUMENTS.get(name, ())
    return {"name": name, **{key: float(config[key]) for key in kept if key in config}}


def _activation(value: Any, where: str, problems: list[InvalidInput]) -> Any:
    if value is None:
        return "linear"
    if value == "silu":
        return "swish"
    if not isinstance(value, str):
        problems.append(
            InvalidInput(
                where,
                "is not a built-in activation",
                value=_name_of(value),
                remedy="Use an activation by its name, such as 'relu'.",
                code="model.activation_not_allowed",
            )
        )
        return "linear"
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def _name_of(value: Any) -> str:
    if isinstance(value, Mapping) and "class_name" in value:
        return str(value["class_name"])
    return str(value)[:80]


def _output_name(config: Mapping[str, Any]) -> str:
    names = set(_inbound(config["output_layers"], "output"))
    if len(names) != 1:
        raise InvalidInput("model", "must have exactly one output", value=len(names))
    return names.pop()


def _topological(layers: list[dict[str, Any]], start: str) -> list[dict[str, Any]]:
    done, ordered, left = {start}, [], list(layers)
    while left:
        ready = next((item for item in left if done.issuperset(item["inputs"])), None)
        if ready is None:
            break
        left.remove(ready)
        ordered.append(ready)
        done.add(ready["name"])
    return ordered + left
