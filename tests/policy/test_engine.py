"""What the embedded engine makes of policies' answers. In doubt: denied."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from sytff_policy.policy import Bound, EmbeddedEngine, make_bundle, node_bundle
from tests.policy.samples import (
    ALWAYS,
    NODE,
    PACKAGE,
    QUIET,
    bundle,
    codes,
    deciding,
    document,
    verdict_of,
)

REASON = '{"code": "test.reason", "message": "because"}'


def test_its_name_says_engine_and_version(engine: EmbeddedEngine) -> None:
    assert engine.name == "embedded regorus 0.13.0"


def test_nothing_denies_an_ordinary_request(engine: EmbeddedEngine) -> None:
    verdict = verdict_of(engine, bundle(QUIET))
    assert (verdict.deny, verdict.review, verdict.warn) == ((), (), ())


def test_every_reason_of_both_packages_comes_with_its_source(engine: EmbeddedEngine) -> None:
    given = document({"request.rounds": 0, "researcher.roles": [], "request.model": None})
    module = f"""{PACKAGE}
deny contains {REASON}

review contains {{"code": "test.review", "message": "wait"}}

warn contains {{"code": "test.warn", "message": "careful"}}
"""
    verdict = verdict_of(engine, bundle(module), given)
    assert sorted((r.source, r.code) for r in verdict.deny) == [
        ("data.sytff.dataset", "test.reason"),
        ("data.sytff.node", "node.researcher_role"),
        ("data.sytff.node", "node.rounds"),
    ]
    assert [reason.code for reason in verdict.review] == ["test.review"]
    assert sorted(reason.code for reason in verdict.warn) == ["node.no_model", "test.warn"]


@pytest.mark.parametrize(
    "value", ["true", "false", "null", "0", "1", '""', '"no"', "{}", f'{{"a": {REASON}}}', REASON]
)
@pytest.mark.parametrize("rule", ["deny", "review", "warn"])
def test_a_value_that_is_no_set_of_reasons_denies(
    engine: EmbeddedEngine, rule: str, value: str
) -> None:
    other = "" if rule == "deny" else f"deny contains {REASON} if false\n\n"
    judged = deciding(f"{other}{rule} := {value}\n")
    assert codes(verdict_of(engine, judged)) == ["policy.malformed"]


@pytest.mark.parametrize("item", ["1", "true", '"no"', "[]", "{}", "null", '{"code": "a.b"}'])
def test_an_item_that_is_no_reason_denies(engine: EmbeddedEngine, item: str) -> None:
    assert codes(verdict_of(engine, deciding(f"deny contains {item}\n"))) == ["policy.malformed"]


@pytest.mark.parametrize(
    "body",
    [
        "allow := true\n",
        "deny(x) := x\n",
        "deny := set() if input.request.rounds < 0\n",
        "deny := set() if input.no.such.field\n",
        "default review := set()\n",
        "denied contains 1\n",
    ],
)
def test_an_undefined_deny_denies(engine: EmbeddedEngine, body: str) -> None:
    assert codes(verdict_of(engine, deciding(body))) == ["policy.undefined"]


@pytest.mark.parametrize(
    "body",
    ['deny["a"] := 1\n', "deny.a := true\n", "deny.a contains 1\n", f'deny["a.b"] := {REASON}\n'],
)
def test_a_deny_that_is_an_object_denies(engine: EmbeddedEngine, body: str) -> None:
    assert codes(verdict_of(engine, deciding(body))) == ["policy.malformed"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("deny := set()\n", []),
        ("deny := []\n", []),
        (f"deny := {{{REASON}}}\n", ["test.reason"]),
        (f"deny := [{REASON}, {REASON}]\n", ["test.reason", "test.reason"]),
        (f"deny := {{r | some r in [{REASON}]}}\n", ["test.reason"]),
        (f"deny contains {REASON}\n\ndeny contains {REASON}\n", ["test.reason"]),
    ],
)
def test_sets_and_arrays_of_reasons_are_read(
    engine: EmbeddedEngine, body: str, expected: list[str]
) -> None:
    assert codes(verdict_of(engine, deciding(body))) == expected


@pytest.mark.parametrize(
    "body",
    [
        "deny := {1}\n\ndeny := {2}\n",
        "deny contains 1 if f(1)\n\nf(x) := true\n\nf(x) := false\n",
        f'deny contains {REASON} if false\n\nbounds["a"] := {{}}\n\nbounds["a"] := {{"max": 1}}\n',
        "deny contains p\n\np := q\n\nq := p\n",
        "deny contains x\n",
        "deny contains no.such_function(1)\n",
        'deny contains to_number("x")\n',
        "deny contains 1 if f(1, 2, 3)\n\nf(x) := x\n",
        'deny contains 1 if regex.match("(", "")\n',
        "deny contains {\n",
    ],
)
def test_an_error_of_the_interpreter_denies(engine: EmbeddedEngine, body: str) -> None:
    verdict = verdict_of(engine, deciding(body))
    assert codes(verdict) == ["policy.error"]
    assert "policy.rego:" in verdict.deny[0].message
    assert "\n" not in verdict.deny[0].message


def test_no_policy_at_all_denies(engine: EmbeddedEngine) -> None:
    verdict = engine.evaluate([], document())
    assert [(r.source, r.code) for r in verdict.deny] == [
        ("data.sytff.node", "policy.undefined"),
        ("data.sytff.dataset", "policy.undefined"),
    ]


def test_no_dataset_policy_denies(engine: EmbeddedEngine) -> None:
    verdict = engine.evaluate([NODE], document())
    assert [(r.source, r.code) for r in verdict.deny] == [
        ("data.sytff.dataset", "policy.undefined")
    ]


def test_no_node_policy_denies(engine: EmbeddedEngine) -> None:
    verdict = engine.evaluate([bundle(QUIET)], document())
    assert [(r.source, r.code) for r in verdict.deny] == [("data.sytff.node", "policy.undefined")]


def test_a_second_bundle_of_a_package_is_heard_too(engine: EmbeddedEngine) -> None:
    for bundles in ([QUIET, ALWAYS], [ALWAYS, QUIET]):
        verdict = engine.evaluate([NODE, *map(bundle, bundles)], document())
        assert codes(verdict) == ["test.always"]


def test_a_bundle_of_another_package_allows_nothing(engine: EmbeddedEngine) -> None:
    other = make_bundle("sytff.other", {"policy.rego": QUIET.encode()})
    verdict = engine.evaluate([NODE, other], document())
    assert codes(verdict) == ["policy.undefined", "policy.undefined"]


@pytest.mark.parametrize(
    "given",
    [
        {"cost": {"epsilon": float("nan")}},
        {"cost": {"epsilon": float("inf")}},
        {"cost": {1, 2}},
        {"cost": object()},
        {"cost": Decimal("1.5")},
        {"request": "\ud800"},
    ],
    ids=range(6),
)
def test_an_input_that_is_no_json_denies(engine: EmbeddedEngine, given: Any) -> None:
    found = codes(verdict_of(engine, bundle(QUIET), given))
    assert found
    assert set(found) <= {"policy.malformed", "policy.error"}


@pytest.mark.parametrize("given", [[], None, 1, "input", True])
def test_an_input_that_is_no_object_denies(engine: EmbeddedEngine, given: Any) -> None:
    verdict = engine.evaluate([NODE, bundle(QUIET)], given)
    assert [(r.source, r.code) for r in verdict.deny] == [("data.sytff.node", "policy.error")]


@pytest.mark.parametrize(
    ("comparison", "given"),
    [
        ("input.x == 0.000000001", "1e-9"),
        ("input.x > 0", "1e-9"),
        ("input.x < 0.0000000010000001", "1e-9"),
        ("input.x > 9007199254740992", "9007199254740993"),
        ("input.x != 9007199254740992", "9007199254740993"),
        ("input.x > 9223372036854775807", "9223372036854775808"),
        ("input.x == 18446744073709551615", "18446744073709551615"),
        ("input.x + 1 == 9007199254740994", "9007199254740993"),
        ("input.x < 1767614400000000001", "1767614400000000000"),
        ("max([10, 9, input.x]) == 100", "100"),
        ("sort([10, 9, input.x]) == [9, 10, 100]", "100"),
        ("input.x >= 1.1", "1.1"),
        ("input.x == 1", "1.0"),
        ("3 / 10 == input.x", "0.3"),
        ("floor(input.x * 1000) == 250", "0.25"),
    ],
)
def test_numbers_compare_exactly(engine: EmbeddedEngine, comparison: str, given: str) -> None:
    judged = deciding(f"deny contains {REASON} if {comparison}\n")
    number = json.loads(given)
    assert json.dumps(number) in (given, "1e-09")
    verdict = engine.evaluate([judged], {"x": number})
    assert "test.reason" in codes(verdict)


@pytest.mark.parametrize(
    ("literal", "stated"),
    [
        ("1e-9", Decimal("1e-9")),
        ("0.000000001", Decimal("1e-9")),
        ("0.1", Decimal("0.1")),
        ("1.0", 1),
        ("9007199254740991", 9007199254740991),
        ("9007199254740993", "9007199254740993"),
        ("9223372036854775808", "9223372036854775808"),
        ("18446744073709551615", "18446744073709551615"),
    ],
)
def test_limits_are_stated_exactly(engine: EmbeddedEngine, literal: str, stated: Any) -> None:
    reason = f'{{"code": "a.b", "message": "c", "limit": {literal}}}'
    (found,) = verdict_of(engine, deciding(f"deny contains {reason}\n")).deny
    assert found.limit == stated
    assert type(found.limit) is type(stated)


def test_parameters_keep_the_digits_that_data_json_has(engine: EmbeddedEngine) -> None:
    judged = bundle(
        f"{PACKAGE}deny contains {REASON} if data.sytff.parameters.dataset.x == 9007199254740993\n",
        **{"data.json": '{"sytff": {"parameters": {"dataset": {"x": 9007199254740993}}}}'},
    )
    assert codes(verdict_of(engine, judged)) == ["test.reason"]


def test_bounds_of_both_packages_are_joined_to_the_narrower(engine: EmbeddedEngine) -> None:
    judged = deciding(
        f'deny contains {REASON} if false\n\nbounds["rounds"] := {{"min": 0, "max": 7}}\n\n'
        'bounds["clients_per_round"] := {"min": 5, "max": 5000}\n\n'
        'bounds["purpose"] := {"allowed": ["audit"]}\n'
    )
    bounds = verdict_of(engine, judged).bounds
    assert bounds["rounds"] == Bound(Decimal(1), Decimal(7))
    assert bounds["clients_per_round"] == Bound(Decimal(5), Decimal(1000))
    assert bounds["purpose"] == Bound(allowed=("audit",))


@pytest.mark.parametrize(
    "value",
    ['{"max": "NaN"}', '{"max": "5"}', '{"max": true}', '{"most": 5}', "5", '{"allowed": 5}'],
)
def test_bounds_that_are_nonsense_deny(engine: EmbeddedEngine, value: str) -> None:
    judged = deciding(f'deny contains {REASON} if false\n\nbounds["rounds"] := {value}\n')
    assert codes(verdict_of(engine, judged)) == ["policy.malformed"]


def test_what_policies_print_does_not_reach_the_answer(engine: EmbeddedEngine) -> None:
    judged = deciding(
        f'deny contains {REASON} if {{\n\tprint("{{\\"id\\": 1}}\\n")\n\tprint(input)\n}}\n'
    )
    assert codes(verdict_of(engine, judged)) == ["test.reason"]


HELPERS = {
    "a": f'{PACKAGE}deny contains reason(code_of_b) if from_c\n\ncode_of_a := "test.a"\n',
    "b": f'{PACKAGE}deny contains reason(code_of_a) if from_c\n\ncode_of_b := "test.b"\n',
    "c": f'{PACKAGE}from_c if limit_of["x"] == 5\n\nlimit_of["x"] := 5\n\n'
    'reason(code) := {"code": code, "message": "c"}\n',
}


@pytest.mark.parametrize("order", ["abc", "acb", "bac", "bca", "cab", "cba"])
def test_helpers_in_other_files_are_found_whatever_the_order(
    engine: EmbeddedEngine, order: str
) -> None:
    files = {f"{place}_{name}.rego": HELPERS[name].encode() for place, name in enumerate(order)}
    judged = make_bundle("sytff.dataset", files)
    assert sorted(codes(verdict_of(engine, judged))) == ["test.a", "test.b"]


def test_a_policy_sees_its_own_parameters_and_no_others(engine: EmbeddedEngine) -> None:
    judged = deciding(
        f"deny contains {REASON} if data.sytff.parameters.node\n\n"
        f"deny contains {REASON} if data.sytff.node.deny\n"
    )
    assert codes(verdict_of(engine, judged)) == []


def test_helpers_are_those_of_the_node_bundle_that_is_in_force(engine: EmbeddedEngine) -> None:
    judged = deciding(f"import data.sytff.lib\n\ndeny contains {REASON} if lib.at_most(1, 2)\n")
    twisted = {
        path: content.replace(b"value <= limit", b"value > limit")
        for path, content in node_bundle().files.items()
    }
    other = make_bundle("sytff.node", twisted)
    for _ in range(2):
        assert codes(engine.evaluate([NODE, judged], document())) == ["test.reason"]
        assert "test.reason" not in codes(engine.evaluate([other, judged], document()))


def test_a_file_named_like_the_library_does_not_replace_it(engine: EmbeddedEngine) -> None:
    judged = bundle(
        f"{PACKAGE}import data.sytff.lib\n\ndeny contains {REASON} if lib.at_most(1, 2)\n",
        node__lib__lib="package sytff.dataset\n\nother := 1\n",
    )
    assert codes(verdict_of(engine, judged)) == ["test.reason"]
