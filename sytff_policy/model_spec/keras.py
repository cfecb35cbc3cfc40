"""From a researcher's Keras model to a `ModelSpec`, on Keras 2 and Keras 3.

Only configurations are read, and the classes that they come from; no code of the model is kept.
Everything that a specification cannot say is refused by the layer's name.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sytff_policy._model import parse
from sytff_policy.errors import InvalidInput, InvalidInputs
from sytff_policy.model_spec._keras_layers import (
    KERAS,
    Entry,
    dtype_name,
    layer_document,
)
from sytff_policy.model_spec.spec import ModelSpec

INPUT = "input"
"""What an input is called whose name Keras made up: Keras 2 and Keras 3 make up different ones."""

_MADE_UP = re.compile(r"input(_layer)?(_\d+)?")
_WANTED = "a sequential or functional Keras model"


def spec_from_keras(model: Any) -> ModelSpec:
    """The specification of a built Keras model, sequential or functional.

    Raises:
      InvalidInputs: With one error for everything that a specification cannot say, each naming
        the layer.
    """
    _check_kind(model)
    config = _config(model)
    problems: list[InvalidInput] = []
    functional = "input_layers" in config
    read = _functional_entries if functional else _sequential_entries
    entries = read(model, config, problems)
    inputs = [entry for entry in entries if entry.type == "InputLayer"]
    layers = [entry for entry in entries if entry.type != "InputLayer"]
    input_document = _one_input(inputs, problems)
    documents = [layer_document(entry, problems) for entry in layers]
    if not layers:
        problems.append(InvalidInput("model", "has no layers"))
    output = _output(config, problems) if functional else (layers[-1].name if layers else "")
    if problems:
        raise InvalidInputs(problems)
    ordered = _topological([item for item in documents if item], inputs[0].name)
    document = {"inputs": [input_document], "layers": ordered, "output": output}
    _name_the_input(document, inputs[0].name, layers[0].name)
    spec = parse(ModelSpec, document, where="model")
    _check_axes(spec, layers)
    return spec


def _check_kind(model: Any) -> None:
    cls = type(model)
    packages = [base.__module__.partition(".")[0] for base in cls.__mro__]
    own = packages[0] not in KERAS and any(package in KERAS for package in packages)
    if packages[0] in KERAS and cls.__name__ in ("Sequential", "Functional"):
        return
    problem = f"is a subclass of your own, not {_WANTED}" if own else f"is not {_WANTED}"
    raise InvalidInputs(
        [
            InvalidInput(
                "model",
                problem,
                value=cls.__name__,
                remedy="Return keras.Sequential(...) or keras.Model(inputs, outputs) from "
                "model_fn; a subclass's code is not on the allow-list.",
            )
        ]
    )


def _config(model: Any) -> Mapping[str, Any]:
    try:
        config = _quiet_config(model)
    except Exception as error:
        # One argument that Keras cannot write makes the whole configuration fail.
        problems = list(_unwritable(model)) or [
            InvalidInput("model", f"has no configuration: {type(error).__name__}")
        ]
        raise InvalidInputs(problems) from None
    if not isinstance(config, Mapping) or "layers" not in config:
        raise InvalidInputs(
            [InvalidInput("model", f"is not {_WANTED}", value=type(model).__name__)]
        )
    return config


def _unwritable(model: Any) -> Iterator[InvalidInput]:
    for layer in model.layers:
        try:
            _quiet_config(layer)
        except Exception as error:
            yield InvalidInput(
                f"layer {layer.name!r} ({type(layer).__name__})",
                f"has an argument without a configuration: {type(error).__name__}",
                remedy="Use built-in activations and initializers by their names.",
                code="model.layer_not_allowed",
            )


def _quiet_config(thing: Any) -> Any:
    # Keras warns that code will not travel well; here it does not travel at all.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return thing.get_config()


def _entry(item: Mapping[str, Any], made: Mapping[str, Any]) -> Entry:
    config = item.get("config") or {}
    name = str(item.get("name") or config.get("name"))
    return Entry(
        type=str(item.get("class_name")),
        name=name,
        config=config,
        made=made.get(name),
        module=str(item.get("module") or ""),
    )


def _sequential_entries(
    model: Any, config: Mapping[str, Any], problems: list[InvalidInput]
) -> list[Entry]:
    made = {layer.name: layer for layer in model.layers}
    entries = [_entry(item, made) for item in config["layers"]]
    if not entries or entries[0].type != "InputLayer":
        problems.append(
            InvalidInput(
                "model",
                "has no input shape",
                remedy="Start with keras.Input(shape=...).",
            )
        )
    previous = INPUT
    for entry in entries:
        if entry.type == "InputLayer":
            previous = entry.name
            continue
        entry.inputs = [previous]
        previous = entry.name
    return entries


def _functional_entries(
    model: Any, config: Mapping[str, Any], problems: list[InvalidInput]
) -> list[Entry]:
    made = {layer.name: layer for layer in model.layers}
    entries = []
    for item in config["layers"]:
        entry = _entry(item, made)
        nodes = item.get("inbound_nodes", [])
        if entry.type != "InputLayer":
            if len(nodes) == 1:
                entry.inputs = _inbound(nodes[0], entry, problems)
            else:
                entry.inputs = [INPUT]
                problems.append(
                    InvalidInput(
                        entry.where,
                        "is shared: it is called more than once",
                        value=f"{len(nodes)} calls",
                        limit="each layer is called once",
                        remedy="Give each call a layer of its own.",
                    )
                )
        entries.append(entry)
    return entries


def _inbound(node: Any, entry: Entry, problems: list[InvalidInput]) -> list[str]:
    """Names of the layers that a layer is called on; its call has no other arguments."""
    if isinstance(node, Mapping):
        keywords = dict(node.get("kwargs", {}))
        tensors = [*node.get("args", ()), *filter(None, [keywords.pop("inputs", None)])]
    else:
        tensors = list(node)
        keywords = {
            key: value
            for tensor in tensors
            if isinstance(tensor, list | tuple) and len(tensor) == 4
            for key, value in tensor[3].items()
        }
    given = {key: value for key, value in keywords.items() if value is not None}
    names = list(_references(tensors))
    if given or not names or None in names:
        problems.append(
            InvalidInput(
                entry.where,
                "is called with more than the outputs of layers",
                value=", ".join(given) or None,
                limit="layer(x) or layer([x, y])",
            )
        )
    return [name for name in names if name is not None] or [INPUT]


def _references(value: Any) -> Iterator[str | None]:
    """Names of the layers whose outputs are named in `value`; None for anything else in it."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield str(value["config"]["keras_history"][0])
        elif "class_name" in value:
            yield None
        else:
            for inner in value.values():
                yield from _references(inner)
    elif isinstance(value, list | tuple):
        is_reference = (
            len(value) in (3, 4)
            and isinstance(value[0], str)
            and all(isinstance(index, int) for index in value[1:3])
        )
        if is_reference:
            # Keras 2 writes a number among the tensors as a reference to this.
            yield None if value[0] == "_CONSTANT_VALUE" else value[0]
        else:
            for inner in value:
                yield from _references(inner)
    else:
        yield None


def _output(config: Mapping[str, Any], problems: list[InvalidInput]) -> str:
    names = list(_references(config["output_layers"]))
    if len(names) != 1 or names[0] is None:
        found = ", ".join(str(name) for name in names)
        problems.append(
            InvalidInput("model", "must have exactly one output", value=f"{len(names)}: {found}")
        )
        return ""
    return names[0]


def _one_input(inputs: Sequence[Entry], problems: list[InvalidInput]) -> dict[str, Any]:
    if len(inputs) > 1:
        found = ", ".join(entry.name for entry in inputs)
        problems.append(
            InvalidInput("model", "must have exactly one input", value=f"{len(inputs)}: {found}")
        )
    documents = [_input_document(entry, problems) for entry in inputs]
    return documents[0] if documents else {}


def _input_document(entry: Entry, problems: list[InvalidInput]) -> dict[str, Any]:
    config = entry.config
    shape = config.get("batch_shape") or config.get("batch_input_shape") or ()
    axes = list(shape[1:])
    if not axes or any(axis is None for axis in axes):
        problems.append(
            InvalidInput(
                entry.where,
                "has an input shape with an unknown axis" if axes else "has an input without axes",
                value=tuple(shape),
                limit="every axis but the batch is fixed",
            )
        )
    dtype = dtype_name(config.get("dtype", "float32"))
    if re.fullmatch(r"u?int\d+", dtype):
        dtype = "int32"
    if dtype not in ("float32", "int32"):
        problems.append(
            InvalidInput(
                entry.where, "has an unsupported dtype", value=dtype, limit="float32 or integers"
            )
        )
    for key in ("sparse", "ragged", "optional"):
        if config.get(key):
            problems.append(InvalidInput(entry.where, f"is {key}", remedy="Use a dense input."))
    return {"name": entry.name, "shape": axes, "dtype": dtype}


def _name_the_input(document: dict[str, Any], name: str, first: str) -> None:
    taken = {layer["name"] for layer in document["layers"]}
    made_up = _MADE_UP.fullmatch(name) or name == f"{first}_input"
    if not made_up or INPUT in taken:
        return
    document["inputs"][0]["name"] = INPUT
    for layer in document["layers"]:
        layer["inputs"] = [INPUT if source == name else source for source in layer["inputs"]]


def _topological(layers: list[dict[str, Any]], start: str) -> list[dict[str, Any]]:
    """Layers after what they take, in Keras's order otherwise."""
    done, ordered, left = {start}, [], list(layers)
    while left:
        ready = next((item for item in left if done.issuperset(item["inputs"])), None)
        if ready is None:
            break
        left.remove(ready)
        ordered.append(ready)
        done.add(ready["name"])
    return ordered + left


def _check_axes(spec: ModelSpec, entries: Sequence[Entry]) -> None:
    """Keras writes the last axis as -1 or as its index; any other axis is refused."""
    by_name = {entry.name: entry for entry in entries}
    problems = []
    for layer in spec.layers:
        entry = by_name[layer.name]
        axis = entry.config.get("axis")
        axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
        rank = len(spec.shapes[layer.inputs[0]])
        if axis not in (None, -1, rank):
            problems.append(
                InvalidInput(
                    f"{entry.where}: axis", "is not the last", value=axis, limit=f"-1 or {rank}"
                )
            )
    if problems:
        raise InvalidInputs(problems)
