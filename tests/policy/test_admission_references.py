"""What a policy may call, read and name: each refusal with its place and code."""

from __future__ import annotations

import pytest

from sytff_policy.policy import BundleRejected, EmbeddedEngine, admit, make_bundle
from tests.policy.samples import NODE, PACKAGE, PASSING_TEST, bundle, deciding, refusals

BANNED = [
    'http.send({"method": "get", "url": "http://127.0.0.1/"})',
    "opa.runtime()",
    "time.now_ns()",
    'rand.intn("a", 10)',
    'trace("here")',
    'io.jwt.decode("a.b.c")',
    'io.jwt.decode_verify("a.b.c", {})',
    'crypto.md5("a")',
    'crypto.hmac.sha256("a", "b")',
    'net.lookup_ip_addr("localhost")',
    'net.cidr_expand("10.0.0.0/8")',
    'uuid.rfc4122("a")',
    "rego.metadata.rule()",
    'rego.parse_module("a", "b")',
    "providers.aws.sign_req({}, {}, 1)",
    'graphql.is_valid("a", "b")',
    "json.match_schema({}, {})",
    'yaml.unmarshal("a: 1")',
    'test.sleep("1s")',
    "no.such_function(1)",
    "nothing(1)",
]

HIDDEN = {
    "as a value of a rule": "x := {call}",
    "in a default rule": "default x := {call}",
    "in a body": "x if {call}",
    "negated": "x if not {call}",
    "under some": "x if some y in {call}",
    "as a key under some": "x if some {call}, y in input.request",
    "under every": "x if every y in {call} {{ y }}",
    "in the body of every": "x if every y in [1] {{ {call} == y }}",
    "in an array comprehension": "x := [y | y := {call}]",
    "as the term of a comprehension": "x := {{{call} | true}}",
    "as a key of an object comprehension": "x := {{{call}: 1 | true}}",
    "in a set": "x := {{1, {call}}}",
    "as a value of an object": 'x := {{"a": {call}}}',
    "as a key of an object": 'x := {{{call}: "a"}}',
    "as an argument": "x := count({call})",
    "as an argument of an argument": "x := count([abs(1), [{call}]])",
    "in a function": "f(y) := {call}",
    "in the body of a function": "f(y) := 1 if y == {call}",
    "in a pattern of a function": "f([{call}]) := 1",
    "under else": "x := 1 if {{ false }} else := {call}",
    "in the body of else": "x := 1 if {{ false }} else := 2 if {{ {call} }}",
    "in the head of a set": "x contains {call}",
    "as a key in a head": "x[{call}] := 1",
    "as a key of a reference": "x := input.request[{call}]",
    "as the start of a reference": "x := {call}.y",
    "in arithmetic": "x := 1 + {call}",
    "in a comparison": "x if 1 < {call}",
    "in a membership": "x if {call} in [1]",
    "in an assignment": "x := y if y := {call}",
    "in a union": "x := {{1}} | {{{call}}}",
    "in parentheses": "x := ((({call})))",
}


@pytest.mark.parametrize("call", BANNED)
def test_what_is_not_a_pure_builtin_is_refused_by_name(engine: EmbeddedEngine, call: str) -> None:
    refused = deciding(f"deny contains x if {{\n\tx := {call}\n}}\n")
    with pytest.raises(BundleRejected) as caught:
        admit(refused, engine, NODE)
    (problem,) = caught.value.errors
    assert (problem.field, problem.code) == ("policy.rego:4", "policy.banned_builtin")
    assert call.partition("(")[0] in str(problem)
    assert "input.time" in problem.remedy


@pytest.mark.parametrize("place", HIDDEN)
def test_a_banned_call_is_found_wherever_it_stands(engine: EmbeddedEngine, place: str) -> None:
    hidden = HIDDEN[place].format(call="opa.runtime()")
    refused = deciding(f"deny contains 1 if false\n\n{hidden}\n")
    assert refusals(engine, refused) == [("policy.rego:5", "policy.banned_builtin")]


@pytest.mark.parametrize("place", HIDDEN)
def test_a_reference_outside_is_found_wherever_it_stands(
    engine: EmbeddedEngine, place: str
) -> None:
    hidden = HIDDEN[place].format(call="data.sytff.node.deny")
    refused = deciding(f"deny contains 1 if false\n\n{hidden}\n")
    assert refusals(engine, refused) == [("policy.rego:5", "policy.foreign_reference")]


@pytest.mark.parametrize(
    "body",
    [
        'x := opa["runtime"]()',
        'x := http["send"]({})',
        'x := opa["\\u0072untime"]()',
        'x := data.sytff["lib"].at_most(1, 2)',
        # The interpreter finds the built-in although a rule, a variable or an import has its name.
        "opa := 1\n\nx := opa.runtime()",
        "opa.runtime := 1\n\nx := opa.runtime()",
        "time := input.time\n\nx := time.now_ns()",
        'x := y if {\n\topa := {"runtime": 1}\n\ty := opa.runtime()\n}',
        "import data.sytff.lib as opa\n\nx := opa.runtime()",
        "import data.sytff.lib as http\n\nx := http.send({})",
        "import input.request as opa\n\nx := opa.runtime()",
        "import data.sytff.parameters.dataset as time\n\nx := time.now_ns()",
        # A pure built-in under a name that means something else here.
        "import input.time\n\nx := time.weekday(1)",
        "time := 1\n\nx := time.weekday(1)",
        "import input.request as count\n\nx := count([1])",
        "count := 1\n\nx := count([1])",
        # Functions that are not there.
        "import data.sytff.lib\n\nx := lib.no_such(1)",
        "x := data.sytff.lib.no_such(1)",
        "x := data.sytff.dataset.no_such(1)",
        "value := 1\n\nx := value(1)",
        "value := 1\n\nx := data.sytff.dataset.value(1)",
    ],
)
def test_a_name_that_hides_a_function_is_refused(engine: EmbeddedEngine, body: str) -> None:
    found = refusals(engine, deciding(f"{body}\n\ndeny contains 1 if false\n"))
    assert found
    assert {code for _, code in found} <= {"policy.banned_builtin", "policy.conflicting_rules"}


@pytest.mark.parametrize(
    "reference",
    [
        "data",
        "data[input.request.purpose]",
        "data.sytff",
        "data.sytff[input.request.purpose]",
        'data["sytff"]',
        "data.sytff.node",
        "data.sytff.node.deny",
        'data["sytff"]["node"]["deny"]',
        'data["sytff"].node.deny',
        "data[`sytff`].node.deny",
        'data["s\\u0079tff"].dataset.other',
        'data.sytff["d\\u0061taset"].other',
        "data.sytff.parameters",
        "data.sytff.parameters.node",
        "data.sytff.parameters.node.max_rounds",
        "data.sytff.parameters[input.request.purpose]",
        "data.sytff.dataset_test.x",
        "data.sytff.datasets",
        "data.system",
        "data.x",
        "{1: data}[1].sytff",
        "[data][0]",
        "input.request[data.x]",
    ],
)
def test_what_lies_outside_the_bundle_may_not_be_read(
    engine: EmbeddedEngine, reference: str
) -> None:
    refused = deciding(f"other := 1\n\ndeny contains 1 if {reference}\n")
    assert refusals(engine, refused) == [("policy.rego:5", "policy.foreign_reference")]


@pytest.mark.parametrize(
    "call", ["data.sytff.node.is_small(1)", "data.x.f(1)", "data.sytff.other.lib.at_most(1, 2)"]
)
def test_a_function_of_another_package_may_not_be_called(engine: EmbeddedEngine, call: str) -> None:
    refused = deciding(f"deny contains 1 if {call}\n")
    assert refusals(engine, refused) == [("policy.rego:3", "policy.foreign_reference")]


@pytest.mark.parametrize(
    "reference",
    [
        "data.sytff.dataset",
        "data.sytff.dataset[input.request.purpose]",
        'data.sytff.dataset["\\u006fther"]',
        "data.sytff.dataset[_]",
    ],
)
def test_the_own_package_may_not_be_read_as_a_whole(engine: EmbeddedEngine, reference: str) -> None:
    refused = deciding(f"other := 1\n\ndeny contains 1 if {reference}\n")
    assert refusals(engine, refused) == [("policy.rego:5", "policy.computed_reference")]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("import data", "policy.reserved_name"),
        ("import input", "policy.reserved_name"),
        ("import data.sytff", "policy.foreign_reference"),
        ("import data.sytff.node", "policy.foreign_reference"),
        ("import data.sytff.node as lib", "policy.foreign_reference"),
        ("import data.sytff.node.deny", "policy.foreign_reference"),
        ("import data.sytff.parameters", "policy.foreign_reference"),
        ("import data.sytff.parameters.node", "policy.foreign_reference"),
        ('import data["sytff"]["node"]', "policy.foreign_reference"),
        ("import data.x as lib", "policy.foreign_reference"),
        ("import data.sytff.dataset", "policy.rule_import"),
        ("import data.sytff.dataset.other", "policy.rule_import"),
        ("import data.sytff.dataset as own", "policy.rule_import"),
        ("import input.request as data", "policy.reserved_name"),
        ("import data.sytff.lib as input", "policy.reserved_name"),
        ("import input.requests", "policy.unknown_input"),
    ],
)
def test_an_import_that_hides_a_package_is_refused(
    engine: EmbeddedEngine, line: str, code: str
) -> None:
    refused = deciding(f"{line}\n\nother := 1\n\ndeny contains 1 if false\n")
    assert refusals(engine, refused) == [("policy.rego:3", code)]


def test_an_alias_does_not_hide_what_is_read_through_it(engine: EmbeddedEngine) -> None:
    refused = deciding("import input.request as asked\n\ndeny contains 1 if asked.roundz > 1\n")
    assert refusals(engine, refused) == [("policy.rego:5", "policy.unknown_input")]


@pytest.mark.parametrize(
    "body",
    [
        "import rego.v1\n",
        "import future.keywords.if\n",
        "import data.sytff.lib\n\nx if lib.at_most(1, 2)",
        "import data.sytff.lib as helpers\n\nx if helpers.at_most(1, 2)",
        "import data.sytff.lib.at_most\n\nx if at_most(1, 2)",
        "import data.sytff.lib.at_most as below\n\nx if below(1, 2)",
        "import input.request as asked\n\nx if asked.rounds > 1",
        "import data.sytff.parameters.dataset as limits\n\nx if limits.max > 1",
        "x if data.sytff.lib.at_most(1, 2)",
        "x if data.sytff.dataset.other",
        "x if data.sytff.parameters.dataset[input.request.purpose]",
        'x if data["sytff"]["parameters"]["dataset"]["max"] > 1',
        "f(y) := y + 1\n\nx := f(1)",
        "default f(y) := 0\n\nf(y) := y\n\nx := f(1)",
        "x := data.sytff.dataset.f(1)\n\nf(y) := y",
        'x := "opa.runtime()"',
        "x := `data.sytff.node.deny`",
        "x if input.request[_] == 1",
        "x if input.researcher.roles[0] == input.researcher.roles[_]",
        "x if input.request.clipping.norm > 1",
        "x if input.request.clipping.target_quantile > 0.5",
        "x if walk(input, [path, value])",
        "# opa.runtime() and data.sytff.node.deny\nx := 1",
    ],
)
def test_what_is_pure_and_its_own_is_admitted(engine: EmbeddedEngine, body: str) -> None:
    admitted = deciding(f"{body}\n\nother := 1\n\ndeny contains 1 if false\n")
    assert refusals(engine, admitted) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("input.requests", 3),
        ("input.request.round", 3),
        ("input.request.rounds.max", 3),
        ("input.request.clipping.radius", 3),
        ("input.researcher.role", 3),
        ("input.researcher.roles.admin", 3),
        ("input.dataset.budget.epsilon", 3),
        ("input.time.now", 3),
        ('input["request"]["round"]', 3),
        ("input.request[_].no_such", 3),
        ("input.cost.epsilon[0]", 3),
    ],
)
def test_reading_what_no_input_has_is_refused(engine: EmbeddedEngine, path: str, line: int) -> None:
    refused = deciding(f"deny contains 1 if {path} > 1\n")
    assert refusals(engine, refused) == [(f"policy.rego:{line}", "policy.unknown_input")]


def test_the_refusal_of_a_misspelt_field_names_the_fields_there(engine: EmbeddedEngine) -> None:
    with pytest.raises(BundleRejected, match=r"input\.request\.round,.*rounds"):
        admit(deciding("deny contains 1 if input.request.round > 1\n"), engine, NODE)


def test_with_stands_in_tests_alone(engine: EmbeddedEngine) -> None:
    refused = deciding("x := 1 if input.request.rounds == 1 with input as {}\n\ndeny contains x\n")
    assert refusals(engine, refused) == [("policy.rego:3", "policy.with_outside_test")]


@pytest.mark.parametrize("target", ["count", "time.clock", "data.sytff.lib.at_most"])
def test_a_policy_cannot_replace_functions(engine: EmbeddedEngine, target: str) -> None:
    refused = deciding(f"deny contains 1 if 1 == 1 with {target} as opa.runtime\n")
    assert {code for _, code in refusals(engine, refused)} >= {"policy.with_outside_test"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("test_x if opa.runtime()", "policy.banned_builtin"),
        ("test_x if time.now_ns() > 0", "policy.banned_builtin"),
        ("test_x if count([1]) == 5 with count as 5", "policy.with_target"),
        ("test_x if f(1) with f as opa.runtime\n\nf(x) := x", "policy.with_target"),
        ("test_x if abs(1) with abs as opa.runtime", "policy.with_target"),
        ("test_x if 1 == 1 with input as opa.runtime()", "policy.banned_builtin"),
        ("test_x if 1 == 1 with input.x as data.x", "policy.foreign_reference"),
        ("test_x if data.x", "policy.foreign_reference"),
        ("test_x if data", "policy.foreign_reference"),
        ("test_x if data.sytff[input.x]", "policy.foreign_reference"),
        ("test_x if data.sytff.dataset == {}", "policy.computed_reference"),
        ("import data.sytff.dataset.deny\n\ntest_x if deny", "policy.rule_import"),
    ],
)
def test_tests_are_pure_too(engine: EmbeddedEngine, body: str, code: str) -> None:
    refused = bundle(test=f"package sytff.dataset_test\n\n{body}\n")
    assert {found for _, found in refusals(engine, refused)} == {code}


def test_a_policy_cannot_call_what_only_its_tests_define(engine: EmbeddedEngine) -> None:
    refused = bundle(
        f"{PACKAGE}deny contains 1 if helper(1)\n",
        "package sytff.dataset\n\nhelper(x) := x\n\ntest_x if is_set(deny)\n",
    )
    assert refusals(engine, refused) == [("policy.rego:3", "policy.banned_builtin")]


def test_tests_share_their_helpers(engine: EmbeddedEngine) -> None:
    shared = bundle(
        test=f"{PASSING_TEST}\ntest_y if same(1)\n",
        helper_test="package sytff.dataset_test\n\nsame(x) := x\n",
    )
    assert refusals(engine, shared) == []


def test_every_problem_of_a_step_is_named_at_once_in_the_order_of_lines(
    engine: EmbeddedEngine,
) -> None:
    refused = deciding(
        "import data.sytff.node\n\nx := opa.runtime()\n\ny := data.z\n\n"
        "z := 1 if true with input as 1\n\ndeny contains 1 if false\n"
    )
    assert refusals(engine, refused) == [
        ("policy.rego:3", "policy.foreign_reference"),
        ("policy.rego:5", "policy.banned_builtin"),
        ("policy.rego:7", "policy.foreign_reference"),
        ("policy.rego:9", "policy.with_outside_test"),
    ]


def test_the_node_may_not_read_a_datasets_package(engine: EmbeddedEngine) -> None:
    rule = b"package sytff.node\n\ndeny contains 1 if data.sytff.dataset.deny\n"
    test = PASSING_TEST.replace("sytff.dataset", "sytff.node").encode()
    refused = make_bundle("sytff.node", {"deny.rego": rule, "deny_test.rego": test})
    assert refusals(engine, refused) == [("deny.rego:3", "policy.foreign_reference")]


def test_helpers_are_not_there_without_the_node_bundle(engine: EmbeddedEngine) -> None:
    alone = deciding("import data.sytff.lib\n\ndeny contains 1 if lib.at_most(1, 2)\n")
    with pytest.raises(BundleRejected) as caught:
        admit(alone, engine)
    assert [item.code for item in caught.value.errors] == ["policy.banned_builtin"]
