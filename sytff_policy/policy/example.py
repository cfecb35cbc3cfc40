"""An input document like those that requests make, to try a policy on and to show its author."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sytff_policy._model import parse
from sytff_policy.decision import BudgetView, Cost
from sytff_policy.policy.document import DatasetFacts, Usage, build_input
from sytff_policy.request import Researcher, TrainRequest

_NOON_NS = 1_767_614_400 * 10**9
"""Monday 2026-01-05, 12:00 UTC."""


def example_input() -> dict[str, Any]:
    """The input of an ordinary request: a logistic regression on a registry of 1000 people."""
    delta = Decimal("0.00001")
    return build_input(
        _request(),
        Researcher(id="alice", organization="University of Example"),
        DatasetFacts(
            name="registry",
            version="sha256:" + 64 * "0",
            population=1000,
            tags=("health",),
            budget=BudgetView(
                epsilon=Decimal(8),
                delta=delta,
                spent=Decimal("1.5"),
                reserved=Decimal("0.5"),
                remaining=Decimal(6),
            ),
        ),
        Cost(epsilon=Decimal("1.25"), charge=Decimal("1.5"), delta=delta),
        Usage(
            today_requests=1,
            today_epsilon=Decimal("0.5"),
            all_requests=4,
            all_epsilon=Decimal(2),
        ),
        _NOON_NS,
    )


def _request() -> TrainRequest:
    dense = {"type": "Dense", "name": "out", "inputs": ["features"], "units": 1}
    return parse(
        TrainRequest,
        {
            "train_data_id": "registry-features",
            "label_data_id": "registry-label",
            "rounds": 100,
            "clients_per_round": 50,
            "noise_multiplier": 1.0,
            "purpose": "research",
            "model": {
                "inputs": [{"name": "features", "shape": [6]}],
                "layers": [{**dense, "activation": "sigmoid"}],
                "output": "out",
            },
        },
    )
