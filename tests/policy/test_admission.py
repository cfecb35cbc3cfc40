"""Admission's other steps: syntax, packages, the shape of the contract, data, tests."""

from __future__ import annotations

import pytest

from sytff_policy.policy import (
    BundleRejected,
    EmbeddedEngine,
    admit,
    make_bundle,
    node_bundle,
    template,
)
from tests.policy.samples import NODE, PACKAGE, PASSING_TEST, QUIET, bundle, deciding, refusals


def refused(engine: EmbeddedEngine, module: str = QUIET, **more: str) -> BundleRejected:
    with pytest.raises(BundleRejected) as caught:
        admit(bundle(module, **more), engine, NODE)
    return caught.value


def test_a_report_holds_the_bundle_and_its_tests(engine: EmbeddedEngine) -> None:
    admitted = bundle()
    report = admit(admitted, engine, NODE)
    assert report.bundle is admitted
    assert [(test.rule, test.passed) for test in report.tests] == [
        ("data.sytff.dataset_test.test_deny_is_a_set", True)
    ]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("package sytff.dataset\n\ndeny contains {\n", 4),
        ("package sytff.dataset\n\ndeny[x] { x := 1 }\n", 3),  # Rego v0
        ("package sytff.dataset\n\nallow = true { true }\n", 3),  # Rego v0
        ("deny contains 1\n", 1),
        ("", 1),
        ("package sytff.dataset\n\ndeny contains x\n", 3),  # nothing says what x is
        ("package sytff.dataset\n\ndeny contains 1 if y\n", 3),
        ("package sytff.dataset\n\ndeny contains 1 if { x := 1; x := 2 }\n", 3),
        ("package sytff.dataset\n\ninput := 1\n", 3),
        ("package sytff.dataset\n\ndata := 1\n", 3),
        ("package sytff.dataset\n\ndeny contains 1 if { data := 1 }\n", 3),
        ("package sytff.dataset\n\nd\u0435ny contains 1\n", 3),  # a Cyrillic letter
        ("package sytff.dataset\n\ndeny\u200b contains 1\n", 3),  # an invisible space
        ("package sytff.dataset\n\ndeny contains 1e99999\n", 3),
        ('package sytff.dataset\n\ndeny contains $"{opa.runtime()}"\n', 3),
        ("package sytff.dataset\n\ndeny contains " + 40 * "(" + "1" + 40 * ")" + "\n", 3),
        ('package sytff.dataset\n\ndeny contains "' + 1100 * "x" + '"\n', 3),
        ("package sytff.dataset\n\ndeny contains p\n\np := q\n\nq := p\n", 5),  # recursion
        ("package " + 40 * "a." + "b\n", 1),
    ],
    ids=range(19),
)
def test_what_does_not_compile_is_refused_with_its_line(
    engine: EmbeddedEngine, module: str, line: int
) -> None:
    error = refused(engine, module)
    assert [(item.field, item.code) for item in error.errors] == [
        (f"policy.rego:{line}", "policy.syntax")
    ]
    assert "Rego v1" in error.errors[0].remedy
    assert "-->" not in str(error)


def test_a_test_that_does_not_compile_is_refused_with_its_line(engine: EmbeddedEngine) -> None:
    error = refused(engine, test="package sytff.dataset_test\n\ntest_x if {\n")
    assert [(e.field, e.code) for e in error.errors] == [("policy_test.rego:4", "policy.syntax")]


def test_every_file_that_does_not_compile_is_named(engine: EmbeddedEngine) -> None:
    error = refused(engine, "package sytff.dataset\n{", test="package x\n{", more="package y\n{")
    assert [item.field for item in error.errors] == [
        "more.rego:2",
        "policy.rego:2",
        "policy_test.rego:2",
    ]


@pytest.mark.parametrize(
    "package",
    [
        "sytff.node",
        "sytff.lib",
        "sytff",
        "sytff.dataset.deny",
        "sytff.dataset_test",
        "sytff.datasets",
        "sytff.parameters.dataset",
        "system",
        "main",
        'sytff["dataset"].x',
    ],
)
def test_a_module_of_another_package_is_refused(engine: EmbeddedEngine, package: str) -> None:
    error = refused(engine, more=f"\npackage {package}\n\nallow := true\n")
    assert [(e.field, e.code) for e in error.errors] == [("more.rego:2", "policy.foreign_package")]
    assert error.errors[0].remedy == "Use package sytff.dataset."


@pytest.mark.parametrize("package", ["sytff.node", "sytff.node_test", "other_test", "test"])
def test_a_test_of_another_package_is_refused(engine: EmbeddedEngine, package: str) -> None:
    error = refused(engine, test=f"package {package}\n\ntest_x := true\n")
    assert [item.code for item in error.errors] == ["policy.foreign_package"]
    assert error.errors[0].remedy == "Use package sytff.dataset_test."


def test_tests_may_lie_in_the_package_itself(engine: EmbeddedEngine) -> None:
    inside = bundle(test="package sytff.dataset\n\ntest_x if count(deny) == 0 with input as {}\n")
    assert refusals(engine, inside) == []


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("deny(x) := x", 3),
        ("default deny(x) := 1", 3),
        ('deny["a"] := 1', 3),
        ("deny.a := 1", 3),
        ("deny.a contains 1", 3),
        ("deny[input.request.purpose] := 1", 3),
        ("deny contains 1\n\nreview(x) := x", 5),
        ("deny contains 1\n\nwarn.a contains 1", 5),
        ("deny contains 1\n\nbounds contains 1", 5),
        ("deny contains 1\n\nbounds(x) := x", 5),
    ],
)
def test_a_rule_of_the_contract_has_the_contracts_shape(
    engine: EmbeddedEngine, body: str, line: int
) -> None:
    assert refusals(engine, deciding(body)) == [(f"policy.rego:{line}", "policy.contract")]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("deny := {1}\n\ndeny contains 2", 5),
        ("default deny := {1}\n\ndeny contains 2", 5),
        ('deny contains 1\n\nbounds := {}\n\nbounds["a"] := {}', 7),
        ('deny contains 1\n\ndefault bounds := {}\n\nbounds["a"] := {}', 7),
        ("deny contains 1\n\nhelper := 1\n\nhelper(x) := x", 7),
    ],
)
def test_a_rule_is_defined_in_one_way(engine: EmbeddedEngine, body: str, line: int) -> None:
    assert refusals(engine, deciding(body)) == [(f"policy.rego:{line}", "policy.conflicting_rules")]


@pytest.mark.parametrize(
    "body",
    [
        "deny := {reason | some reason in []}",
        "deny := set()",
        "default deny := {1}\n\ndeny := set() if input.request.rounds < 5",
        "deny contains 1 if false\n\nbounds := {}",
        "deny contains 1 if false\n\nbounds.rounds := {}",
    ],
)
def test_other_ways_to_write_the_rules_of_the_contract(engine: EmbeddedEngine, body: str) -> None:
    assert refusals(engine, deciding(body)) == []


@pytest.mark.parametrize(
    "body",
    [
        "allow := true",
        'denies contains {"code": "a.b", "message": "c"}',
        'Deny contains {"code": "a.b", "message": "c"}',
    ],
)
def test_a_policy_without_deny_is_refused(engine: EmbeddedEngine, body: str) -> None:
    test = "package sytff.dataset_test\n\ntest_x := true\n"
    error = refused(engine, PACKAGE + body, test=test)
    assert [(e.field, e.code) for e in error.errors] == [("bundle", "policy.undefined_deny")]
    assert "deny contains" in error.errors[0].remedy


def test_deny_in_a_test_file_is_no_deny(engine: EmbeddedEngine) -> None:
    error = refused(
        engine,
        "package sytff.dataset\n\nallow := true\n",
        deny_test="package sytff.dataset\n\ndeny contains 1\n",
    )
    assert [item.code for item in error.errors] == ["policy.undefined_deny"]


def test_deny_must_be_defined_whatever_the_input(engine: EmbeddedEngine) -> None:
    module = f"{PACKAGE}deny := set() if input.request.rounds < 5\n"
    test = "package sytff.dataset_test\n\ntest_x := true\n"
    error = refused(engine, module, test=test)
    assert [(e.field, e.code) for e in error.errors] == [("bundle", "policy.undefined_deny")]


def test_a_policy_that_fails_on_an_ordinary_request_is_refused(engine: EmbeddedEngine) -> None:
    module = f"{PACKAGE}deny contains 1 if to_number(input.request.purpose) > 5\n"
    error = refused(engine, module)
    assert [(e.field, e.code) for e in error.errors] == [("policy.rego:3", "policy.syntax")]
    assert "cannot be evaluated" in str(error)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("data.json", '{"sytff": {"parameters": {"dataset": {"max": 5}}}}'),
        ("sytff/data.json", '{"parameters": {"dataset": {"max": 5}}}'),
        ("sytff/parameters/dataset/data.json", '{"max": 5}'),
        ("data.json", "{}"),
        ("sytff/parameters/data.json", "{}"),
    ],
)
def test_parameters_may_lie_at_any_folder_on_their_way(
    engine: EmbeddedEngine, path: str, content: str
) -> None:
    assert refusals(engine, bundle(**{path.replace("/", "__"): content})) == []


def test_a_policy_without_tests_is_refused(engine: EmbeddedEngine) -> None:
    for test in ("package sytff.dataset_test\n", "package sytff.dataset_test\n\nok := true\n"):
        error = refused(engine, test=test)
        assert [(item.field, item.code) for item in error.errors] == [("bundle", "policy.no_tests")]
        assert "_test.rego" in error.errors[0].remedy


@pytest.mark.parametrize(
    "test",
    [
        "test_ if false",
        "test_x if input.request.rounds == 1",
        "test_x := false",
        "test_x := 1",
        'test_x := "true"',
        "test_x := null",
        "test_x := []",
        "test_x contains true",
        "test_x.y if true",
        "test_x(y) := true",
        "default test_x := false",
        "test_x if count(data.sytff.dataset.deny) == 1 with input as {}",
        "test_x if data.sytff.dataset.no_such_rule",
        'test_x if to_number("x") == 1',
        "test_x if { y := 1 / 0; y }",
        "test_x := true\n\ntest_x := false",
    ],
)
def test_a_test_that_is_not_true_is_refused_with_its_place(
    engine: EmbeddedEngine, test: str
) -> None:
    error = refused(engine, test=f"package sytff.dataset_test\n\n{test}\n")
    assert [(e.field, e.code) for e in error.errors] == [
        ("policy_test.rego:3", "policy.test_failed")
    ]
    assert "test_" in error.errors[0].problem


def test_every_failing_test_is_named(engine: EmbeddedEngine) -> None:
    test = "package sytff.dataset_test\n\ntest_a := false\n\ntest_b := true\n\ntest_c := false\n"
    error = refused(engine, test=test, more_test="package sytff.dataset_test\n\ntest_d := 1\n")
    assert [item.field for item in error.errors] == [
        "more_test.rego:3",
        "policy_test.rego:3",
        "policy_test.rego:7",
    ]


def test_tests_run_with_the_bundles_own_data(engine: EmbeddedEngine) -> None:
    test = "package sytff.dataset_test\n\ntest_x if data.sytff.parameters.dataset.max == 5\n"
    parameters = {"data.json": '{"sytff": {"parameters": {"dataset": {"max": 5}}}}'}
    assert refusals(engine, bundle(test=test, **parameters)) == []


@pytest.mark.parametrize("test", ["test_x if { count(numbers.range(1, 1000000000)) > 1 }"])
def test_a_test_without_end_is_refused(impatient: EmbeddedEngine, test: str) -> None:
    endless = bundle(test=f"package sytff.dataset_test\n\n{test}\n")
    assert refusals(impatient, endless) == [("bundle", "policy.too_slow")]


def test_a_refusal_is_json_with_every_place_and_remedy(engine: EmbeddedEngine) -> None:
    document = refused(engine, PACKAGE + "deny contains 1 if opa.runtime()\n").to_json()
    assert document["error"] == "policy.rejected"
    (problem,) = document["errors"]
    assert problem["field"] == "policy.rego:3"
    assert problem["remedy"]


def test_an_admitted_bundle_leaves_the_engine_as_it_was(engine: EmbeddedEngine) -> None:
    before = engine.worker_pid
    admit(template("starter"), engine, NODE)
    refused(engine, "package sytff.dataset\n{")
    assert engine.worker_pid == before


def test_the_node_bundle_may_hold_helpers_and_a_dataset_may_not(engine: EmbeddedEngine) -> None:
    files = {
        "lib.rego": b"package sytff.lib\n\nok(x) := x\n",
        "node.rego": b"package sytff.node\n\nimport data.sytff.lib\n\n"
        b"deny contains 1 if lib.ok(false)\n",
        "node_test.rego": PASSING_TEST.replace("sytff.dataset", "sytff.node").encode(),
    }
    admit(make_bundle("sytff.node", files), engine, node_bundle())
    error = refused(engine, lib="package sytff.lib\n\nat_most(x, y) := true\n")
    assert [item.code for item in error.errors] == ["policy.foreign_package"]
