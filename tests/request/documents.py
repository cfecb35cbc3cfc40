"""A request that is complete and small, for tests that change one thing in it."""

from __future__ import annotations

from typing import Any

from sytff_policy._model import parse
from sytff_policy.request import TrainRequest

REQUIRED: dict[str, Any] = {
    "train_data_id": "features-id",
    "label_data_id": "labels-id",
    "rounds": 10,
    "clients_per_round": 20,
    "noise_multiplier": 1.0,
}

MODEL: dict[str, Any] = {
    "inputs": [{"name": "x", "shape": [6]}],
    "layers": [{"type": "Dense", "name": "out", "inputs": ["x"], "units": 1}],
    "output": "out",
}


def document(path: str = "", value: Any = None, **fields: Any) -> dict[str, Any]:
    """The required fields, `fields`, and `value` at the dotted `path`."""
    made: dict[str, Any] = {**REQUIRED, **fields}
    if path:
        *parents, last = path.split(".")
        target = made
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return made


def request(path: str = "", value: Any = None, **fields: Any) -> TrainRequest:
    return parse(TrainRequest, document(path, value, **fields))
