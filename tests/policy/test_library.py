"""The Rego library: its own tests, its form, its pages, and that a node would admit it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import regorus

from sytff_policy._model import parse
from sytff_policy.errors import InvalidInput, NotFound
from sytff_policy.policy import (
    DATASET_PACKAGE,
    NODE_PACKAGE,
    Bundle,
    EmbeddedEngine,
    admit,
    library_root,
    load_bundle,
    node_bundle,
    template,
    template_names,
)
from sytff_policy.policy.document import PolicyInput
from sytff_policy.policy.embedded import library_modules
from sytff_policy.policy.syntax import Module

ROOT = library_root()
RULE_FOLDERS = sorted(path.name for path in (ROOT / "node").iterdir() if path.is_dir())
BUNDLES = {"node": node_bundle(), **{name: template(name) for name in template_names()}}
TEST = re.compile(r"^(test_\w+)", re.MULTILINE)
EMITTED = re.compile(r'lib\.reason\(\s*"([^"]+)"')
QUOTED = re.compile(r'"((?:node|dataset)\.\w+)"')


def rego_tests() -> list[tuple[str, str]]:
    """Bundle and name of every Rego test, found in the text as a person finds it."""
    return [
        (name, test)
        for name, bundle in BUNDLES.items()
        for text in bundle.tests.values()
        for test in TEST.findall(text)
    ]


@cache
def results(engine: EmbeddedEngine, name: str) -> dict[str, tuple[bool, str]]:
    found = engine.run_tests(BUNDLES[name], BUNDLES["node"])
    return {result.rule.rpartition(".")[2]: (result.passed, result.error) for result in found}


@pytest.mark.parametrize(("name", "test"), rego_tests())
def test_rego(engine: EmbeddedEngine, name: str, test: str) -> None:
    assert results(engine, name)[test] == (True, "")


@pytest.mark.parametrize("name", BUNDLES)
def test_no_rego_test_is_defined_twice_or_left_out(engine: EmbeddedEngine, name: str) -> None:
    written = [test for owner, test in rego_tests() if owner == name]
    assert sorted(written) == sorted(results(engine, name))


@pytest.mark.parametrize("name", BUNDLES)
def test_a_node_admits_it(engine: EmbeddedEngine, name: str) -> None:
    report = admit(BUNDLES[name], engine, BUNDLES["node"])
    assert len(report.tests) >= 10


@pytest.mark.parametrize("folder", RULE_FOLDERS)
def test_a_rule_folder_holds_the_rule_its_test_and_its_page(folder: str) -> None:
    names = {path.name for path in (ROOT / "node" / folder).iterdir()}
    fixture = {"fixture_test.rego"} if folder == "lib" else set()
    assert names == {f"{folder}.rego", f"{folder}_test.rego", "README.md"} | fixture


@pytest.mark.parametrize("name", template_names())
def test_a_template_folder_holds_policy_parameters_test_and_page(name: str) -> None:
    names = {path.name for path in (ROOT / "templates" / name).iterdir()}
    assert names == {"policy.rego", "policy_test.rego", "data.json", "README.md"}


@pytest.mark.parametrize("folder", [f for f in RULE_FOLDERS if f != "lib"])
def test_a_node_rule_has_one_code_that_its_folder_is_named_after(folder: str) -> None:
    path = ROOT / "node" / folder
    emitted = set(EMITTED.findall((path / f"{folder}.rego").read_text(encoding="utf-8")))
    page = (path / "README.md").read_text(encoding="utf-8")
    assert emitted == {f"node.{folder}"}
    assert f"\nCode: `node.{folder}`\n" in page


@pytest.mark.parametrize("name", template_names())
def test_a_template_page_names_every_code_and_parameter(name: str) -> None:
    folder = ROOT / "templates" / name
    page = (folder / "README.md").read_text(encoding="utf-8")
    emitted = set(EMITTED.findall((folder / "policy.rego").read_text(encoding="utf-8")))
    parameters = BUNDLES[name].data["sytff"]["parameters"]["dataset"]
    assert emitted
    for code in emitted:
        assert f"`{code}`" in page
    for parameter, default in parameters.items():
        assert f"`{parameter}`" in page
        assert f"`{json.dumps(default)}`" in page


@pytest.mark.parametrize("name", BUNDLES)
def test_the_request_that_the_tests_start_from_is_one_that_a_node_could_make(name: str) -> None:
    bundle = BUNDLES[name]
    interpreter = regorus.Engine()
    for path, text in {**bundle.modules, **bundle.tests}.items():
        interpreter.add_policy(path, text)
    answer = interpreter.eval_query_as_json(f"data.{bundle.package}_test.document")
    parse(PolicyInput, json.loads(answer)["result"][0]["expressions"][0]["value"])


def test_every_parameter_of_the_node_has_its_default_on_the_page_of_its_rule() -> None:
    pages = "".join(
        (ROOT / "node" / folder / "README.md").read_text(encoding="utf-8")
        for folder in RULE_FOLDERS
    )
    for parameter, default in BUNDLES["node"].data["sytff"]["parameters"]["node"].items():
        assert f"Parameters: `{parameter}` (default {json.dumps(default)}" in pages


def modules() -> Iterator[tuple[str, str]]:
    for name, bundle in BUNDLES.items():
        for path in bundle.modules:
            yield name, path


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_every_rule_has_a_title_and_a_description(
    engine: EmbeddedEngine, name: str, path: str
) -> None:
    text = BUNDLES[name].modules[path]
    lines = text.splitlines()
    for rule in engine.module(path, text).rules:
        above = lines[rule.line - 4 : rule.line - 1]
        assert above[0] == "# METADATA", f"{path}:{rule.line}"
        assert re.fullmatch(r"# title: \S.*", above[1]), f"{path}:{rule.line}"
        assert re.fullmatch(r"# description: \S.*\.", above[2]), f"{path}:{rule.line}"


@pytest.mark.parametrize("name", BUNDLES)
def test_the_rules_of_a_bundle_have_a_test_each_that_names_their_code(name: str) -> None:
    bundle = BUNDLES[name]
    emitted = set(EMITTED.findall("".join(bundle.modules.values())))
    tested = set(QUOTED.findall("".join(bundle.tests.values())))
    assert emitted
    assert emitted <= tested


def test_reasons_are_made_by_the_helper_alone() -> None:
    for bundle in BUNDLES.values():
        for path, text in bundle.modules.items():
            assert ('"code":' in text) == (path == "lib/lib.rego"), path


def test_the_operator_can_set_parameters_and_nothing_else_changes() -> None:
    changed = node_bundle({"max_rounds": 7})
    before = BUNDLES["node"].data["sytff"]["parameters"]["node"]
    assert changed.data["sytff"]["parameters"]["node"] == {**before, "max_rounds": 7}
    assert changed.modules == BUNDLES["node"].modules
    assert changed.digest != BUNDLES["node"].digest


def test_an_unknown_parameter_of_the_node_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"max_round.*max_rounds"):
        node_bundle({"max_round": 7})


@pytest.mark.parametrize("value", ["7", None, True, [7], {"max": 7}, float("nan"), float("inf")])
def test_a_parameter_of_the_node_that_is_no_number_is_an_error(value: object) -> None:
    with pytest.raises(InvalidInput, match="max_rounds"):
        node_bundle({"max_rounds": value})


def test_an_unknown_template_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match="starter"):
        template("stater")


def test_a_template_is_found_by_its_name_alone() -> None:
    for name in ("../node", "starter/.", ""):
        with pytest.raises(NotFound):
            template(name)


def test_a_copy_of_a_template_with_other_parameters_is_admitted(
    engine: EmbeddedEngine, tmp_path: Path
) -> None:
    for name in template_names():
        copy = tmp_path / name
        template(name).write(copy)
        text = (copy / "data.json").read_text(encoding="utf-8")
        document = json.loads(text)
        document["sytff"]["parameters"]["dataset"] |= {
            "max_rounds": 3,
            "max_sampling_rate": 0.001,
            "min_noise_multiplier": 90,
            "max_epsilon_per_request": 0.01,
            "allowed_purposes": ["audit"],
            "blocked_researchers": ["alice"],
        }
        (copy / "data.json").write_text(json.dumps(document), encoding="utf-8")
        admit(load_bundle(copy), engine, BUNDLES["node"])


def test_the_packages_are_those_of_the_contract() -> None:
    assert BUNDLES["node"].package == NODE_PACKAGE
    assert {BUNDLES[name].package for name in template_names()} == {DATASET_PACKAGE}


def package_of(engine: EmbeddedEngine, bundle: Bundle) -> set[str]:
    found: list[Module] = [engine.module(path, text) for path, text in bundle.modules.items()]
    return {module.package for module in found}


def test_the_library_has_functions_alone(engine: EmbeddedEngine) -> None:
    # The embedded interpreter takes other rules behind an import for undefined.
    for path, text in library_modules(BUNDLES["node"]).items():
        assert {rule.kind for rule in engine.module(path, text).rules} == {"function"}


def test_the_node_bundle_holds_the_rules_and_the_library(engine: EmbeddedEngine) -> None:
    assert package_of(engine, BUNDLES["node"]) == {"sytff.node", "sytff.lib"}
