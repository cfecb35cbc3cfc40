"""The three workloads: a cohort of users, a model, and how each user trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sytff_policy._model import parse
from sytff_policy.model_spec import ModelSpec

User = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]


@dataclass(frozen=True)
class Workload:
    """A round's work.

    Attributes:
      name: What tables call it.
      model: `mlp`, `cnn` or `logistic`.
      users: Users in every round.
      rows: Rows of each user.
      batch: Rows per local step.
      shape: Shape of one example.
      classes: Number of classes.
      epochs: Local passes.
    """

    name: str
    model: str
    users: int
    rows: int
    batch: int
    shape: tuple[int, ...]
    classes: int
    epochs: int = 1
    client_rate: float = 0.05
    clip: float = 1.0
    noise: float = 0.5

    @property
    def spec(self) -> ModelSpec:
        """The model as a researcher would send it."""
        return parse(
            ModelSpec,
            {
                "inputs": [{"name": "x", "shape": list(self.shape)}],
                "layers": _LAYERS[self.model](self.classes),
                "output": "logits",
            },
        )

    def cohort(self, seed: int = 0) -> list[User]:
        """Random users."""
        generator = np.random.default_rng(seed)
        return [
            (
                generator.normal(size=(self.rows, *self.shape)).astype(np.float32),
                generator.integers(0, self.classes, self.rows).astype(np.int32),
            )
            for _ in range(self.users)
        ]


def _dense(name: str, source: str, units: int, activation: str = "linear") -> dict[str, Any]:
    return {
        "type": "Dense",
        "name": name,
        "inputs": [source],
        "units": units,
        "activation": activation,
    }


def _conv(name: str, source: str, filters: int) -> dict[str, Any]:
    return {
        "type": "Conv2D",
        "name": name,
        "inputs": [source],
        "filters": filters,
        "kernel_size": [3, 3],
        "activation": "relu",
    }


def _pool(name: str, source: str) -> dict[str, Any]:
    return {"type": "MaxPooling2D", "name": name, "inputs": [source], "pool_size": [2, 2]}


def _mlp(classes: int) -> list[dict[str, Any]]:
    return [_dense("hidden", "x", 200, "relu"), _dense("logits", "hidden", classes)]


def _cnn(classes: int) -> list[dict[str, Any]]:
    return [
        _conv("conv1", "x", 16),
        _pool("pool1", "conv1"),
        _conv("conv2", "pool1", 32),
        _pool("pool2", "conv2"),
        {"type": "Flatten", "name": "flat", "inputs": ["pool2"]},
        _dense("logits", "flat", classes),
    ]


def _logistic(classes: int) -> list[dict[str, Any]]:
    return [_dense("logits", "x", classes)]


_LAYERS = {"mlp": _mlp, "cnn": _cnn, "logistic": _logistic}

WORKLOADS = {
    "mlp": Workload("50 x 100, MLP 784-200-10", "mlp", 50, 100, 20, (784,), 10),
    "cnn": Workload("200 x 20, CNN 28x28", "cnn", 200, 20, 20, (28, 28, 1), 10),
    "logistic": Workload("1000 x 10, logistic 30", "logistic", 1000, 10, 10, (30,), 2),
}
