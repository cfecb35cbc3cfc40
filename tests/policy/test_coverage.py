"""Every line of the Rego library that is evaluated at all is evaluated by its own tests."""

from __future__ import annotations

import json
from functools import cache

import pytest
import regorus

from sytff_policy.policy import EmbeddedEngine
from sytff_policy.policy.embedded import library_modules
from tests.policy.test_library import BUNDLES


@cache
def missed(engine: EmbeddedEngine, name: str) -> dict[str, list[int]]:
    """Lines of each module that no test of the bundle evaluates."""
    bundle = BUNDLES[name]
    library = {} if name == "node" else library_modules(BUNDLES["node"])
    interpreter = regorus.Engine()
    for path, text in {**bundle.modules, **bundle.tests}.items():
        interpreter.add_policy(path, text)
    for path, text in library.items():
        interpreter.add_policy(f"library {path}", text)
    for text in bundle.data_texts:
        interpreter.add_data_json(text)
    interpreter.set_enable_coverage(True)
    interpreter.set_gather_prints(True)
    interpreter.set_input_json("{}")
    for rule in engine.test_rules(bundle):
        interpreter.eval_query_as_json(rule)
    report = json.loads(interpreter.get_coverage_report_as_json())
    found = {file["path"]: file["not_covered"] for file in report["files"]}
    assert set(bundle.modules) <= set(found)
    return {path: found[path] for path in bundle.modules}


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, bundle in BUNDLES.items() for path in bundle.modules]
)
def test_every_line_is_evaluated_by_a_test(engine: EmbeddedEngine, name: str, path: str) -> None:
    assert missed(engine, name)[path] == []


def test_a_line_that_no_test_reaches_would_be_seen() -> None:
    interpreter = regorus.Engine()
    interpreter.add_policy("a", "package a\n\nx if {\n\tinput.a\n\tinput.b\n}\n")
    interpreter.set_enable_coverage(True)
    interpreter.set_input_json("{}")
    interpreter.eval_query_as_json("data.a.x")
    (file,) = json.loads(interpreter.get_coverage_report_as_json())["files"]
    assert 5 in file["not_covered"]
