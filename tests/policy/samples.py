"""Bundles and engines that the policy tests share."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from sytff_policy.policy import (
    DATASET_PACKAGE,
    Bundle,
    BundleRejected,
    EmbeddedEngine,
    Verdict,
    admit,
    make_bundle,
    node_bundle,
)
from sytff_policy.policy.example import example_input

NODE = node_bundle()
PACKAGE = "package sytff.dataset\n\n"
PASSING_TEST = """package sytff.dataset_test

test_deny_is_a_set if is_set(data.sytff.dataset.deny) with input as {}
"""
QUIET = """package sytff.dataset

deny contains {"code": "test.never", "message": "never"} if false
"""
ALWAYS = """package sytff.dataset

deny contains {"code": "test.always", "message": "always"}
"""


def bundle(module: str = QUIET, test: str = PASSING_TEST, **more: str) -> Bundle:
    """A dataset's bundle of one module and one test file; `more` by path, `__` for a slash."""
    files = {"policy.rego": module, "policy_test.rego": test}
    files |= {_path(name): text for name, text in more.items()}
    return make_bundle(DATASET_PACKAGE, {path: text.encode() for path, text in files.items()})


def _path(name: str) -> str:
    name = name.replace("__", "/")
    return name if name.endswith(".json") else f"{name.removesuffix('_rego')}.rego"


def deciding(body: str) -> Bundle:
    """A dataset's bundle whose module has this body; package and a test are there."""
    return bundle(PACKAGE + body)


def document(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An ordinary input that every rule accepts, changed at dotted paths."""
    made = copy.deepcopy(example_input())
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        place = made
        for part in parents:
            place = place[part]
        place[last] = value
    return made


def refusals(engine: EmbeddedEngine, refused: Bundle) -> list[tuple[str, str]]:
    """Place and code of every reason for which a bundle is not admitted; empty if it is."""
    try:
        admit(refused, engine, NODE)
    except BundleRejected as error:
        return [(item.field, item.code) for item in error.errors]
    return []


def verdict_of(engine: EmbeddedEngine, judged: Bundle, given: Any = None) -> Verdict:
    """The verdict of the node's rules and `judged` together, on an ordinary input by default."""
    return engine.evaluate([NODE, judged], document() if given is None else given)


def codes(verdict: Verdict) -> list[str]:
    """The codes of a verdict's denials, in order."""
    return [reason.code for reason in verdict.deny]
