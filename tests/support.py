"""Nodes and requests for tests that need a whole one."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from sytff_policy.datasets import schema_from_flags
from sytff_policy.datasets.generate import (
    DEMO_FEATURES,
    DEMO_LABEL,
    DEMO_UNIT,
    write_demo_csv,
)
from sytff_policy.home import Home, parse_request
from sytff_policy.policy import Bundle, make_bundle, template
from sytff_policy.privacy import PrivacyFilter, make_filter
from sytff_policy.request import Researcher, TrainRequest

ALICE = Researcher(id="alice")
BOB = Researcher(id="bob")
GUEST = Researcher(id="mallory", roles=("guest",))

LOGISTIC: dict[str, Any] = {
    "inputs": [{"name": "features", "shape": [6]}],
    "layers": [
        {
            "type": "Dense",
            "name": "out",
            "inputs": ["features"],
            "units": 1,
            "activation": "sigmoid",
        }
    ],
    "output": "out",
}

ALLOW_ALL = """package sytff.dataset

deny contains {"code": "test.never", "message": "never"} if false
"""
ALLOW_ALL_TEST = """package sytff.dataset_test

test_allows if count(data.sytff.dataset.deny) == 0 with input as {}
"""


def make_home(
    folder: Path,
    *,
    people: int = 300,
    epsilon: str = "8",
    privacy_filter: PrivacyFilter | None = None,
    policy: Bundle | str | None = "starter",
    ledger: str | None = None,
) -> Home:
    """A node with the demo registry, and its ledger in a file or at a database's URL."""
    home = Home.create(folder / "node", None if ledger is None else {"ledger": ledger})
    data = folder / "registry.csv"
    write_demo_csv(data, people=people)
    chosen = privacy_filter or make_filter("rdp", Decimal(epsilon), Decimal("1e-5"), order=4)
    home.register(
        "registry",
        data,
        schema_from_flags(unit=DEMO_UNIT, features=DEMO_FEATURES, label=DEMO_LABEL),
        lambda population: chosen,
        policy=template(policy) if isinstance(policy, str) else policy,
        owner="owner",
    )
    return home


def rego(module: str, test: str = ALLOW_ALL_TEST, **files: bytes) -> Bundle:
    """A dataset bundle of one module."""
    return make_bundle(
        "sytff.dataset",
        {"policy.rego": module.encode(), "policy_test.rego": test.encode(), **files},
    )


def ask(home: Home, **fields: Any) -> TrainRequest:
    """A request that the demo registry's starter policy and budget admit; `fields` change it."""
    document: dict[str, Any] = {
        "dataset": "registry",
        "rounds": 10,
        "clients_per_round": 20,
        "noise_multiplier": 1.0,
        "model": LOGISTIC,
    }
    return parse_request(home, {**document, **fields})
