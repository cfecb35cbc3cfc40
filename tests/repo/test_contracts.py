"""The import contracts cover every module, so that a new one cannot slip past them."""

from __future__ import annotations

from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[2]
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
}
# What the vocabulary and the pure halves may build on.
FOUNDATION = {"_model", "canonical", "decision", "errors", "model_spec", "request"}


def modules() -> set[str]:
    found = {path.stem for path in (ROOT / "sytff_policy").glob("*.py")}
    found |= {path.parent.name for path in (ROOT / "sytff_policy").glob("*/__init__.py")}
    return {name for name in found if name not in {"__init__", "__main__"}}


def named(contract: str, key: str) -> set[str]:
    return {
        name.removeprefix("sytff_policy.")
        for name in CONTRACTS[contract][key]
        if name.startswith("sytff_policy.")
    }


def test_every_module_but_training_is_kept_from_tensorflow() -> None:
    assert named("tensorflow", "source_modules") == modules() - {"training"}


def test_privacy_and_policy_are_kept_from_everything_but_the_foundation() -> None:
    everything_above = modules() - FOUNDATION - {"policy", "privacy"}
    assert named("pure", "forbidden_modules") == everything_above


def test_the_vocabulary_is_kept_from_everything_that_uses_it() -> None:
    assert named("vocabulary", "forbidden_modules") == modules() - FOUNDATION
