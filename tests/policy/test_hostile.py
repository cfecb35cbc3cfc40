"""Policies that want to break the node, to see more than they may, or to allow what is forbidden.

Each is refused at admission. Were it admitted all the same, its evaluation would deny, within the
engine's limits, and the engine would answer the next question as if nothing had been.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sytff_policy.policy import (
    Bundle,
    BundleRejected,
    EmbeddedEngine,
    admit,
    make_bundle,
    template,
)
from tests.policy.samples import NODE, PACKAGE, PASSING_TEST, codes, document, verdict_of

REASON = '{"code": "test.hostile", "message": "m"}'
LIMITS = frozenset({"policy.timeout", "policy.engine_failed"})
TESTED = "package sytff.dataset_test\n\ntest_nothing := true\n"


@dataclass(frozen=True)
class Attack:
    """A module, the code that admission refuses it with, and what evaluating it would answer."""

    module: str
    refused: str
    denied: frozenset[str] = LIMITS


def body(text: str, refused: str = "policy.too_slow", *denied: str) -> Attack:
    return Attack(PACKAGE + text, refused, frozenset(denied) or LIMITS)


def when(condition: str, refused: str = "policy.too_slow", *denied: str) -> Attack:
    return body(f"deny contains {REASON} if {{ {condition} }}\n", refused, *denied)


def grown(first: str, step: str, times: int) -> Attack:
    """A value that each of `times` rules makes larger."""
    rules = [f"v0 := {first}"]
    rules += [f"v{n + 1} := {step.format(v=f'v{n}')}" for n in range(times)]
    text = "\n\n".join([*rules, f"deny contains {REASON} if v{times} == 0"])
    return body(text + "\n")


LONG = 'concat("", ["a" | some i in numbers.range(1, 100000)])'

ATTACKS = {
    # Time.
    "loops": when("some i in numbers.range(1, 4000); some j in numbers.range(1, 4000); i * j < 0"),
    "a comprehension that explodes": when(
        "n := numbers.range(1, 300); count([1 | n[_]; n[_]; n[_]; n[_]]) < 0"
    ),
    "a join of everything with everything": when(
        "n := numbers.range(1, 2000); count({x | x := [n[_], n[_]]}) < 0"
    ),
    "a number that squares itself": grown("123456789", "{v} * {v}", 30),
    "a product without end": when("product([999999999 | some i in numbers.range(1, 100000)]) < 0"),
    "a value nested for the parser": body(f"deny contains 1 if x\n\nx := {31 * '['}{31 * ']'}\n"),
    "a trim of everything": when(
        f'trim(concat("", [{LONG} | some j in numbers.range(1, 30)]), "a") == "b"'
    ),
    # Memory.
    "an endless range": when("count(numbers.range(1, 1000000000000)) < 0"),
    "an endless range under every": when("every i in numbers.range(1, 1000000000) { i > 0 }"),
    "text that doubles": grown('"aaaaaaaaaaaaaaaa"', 'concat("", [{v}, {v}])', 40),
    "an array that doubles": grown("[1]", "array.concat({v}, {v})", 40),
    "a replacement that multiplies": when(f'count(replace({LONG}, "a", {LONG})) < 0'),
    "a width of a gigabyte": when('count(sprintf("%1000000000d", [1])) < 0'),
    "a graph of everything": when(
        "n := numbers.range(1, 3000); count(graph.reachable({i: n | some i in n}, {1})) < 0"
    ),
    "prints without end": when("some i in numbers.range(1, 100000000); print(i); i < 0"),
    # The stack.
    "a function that calls itself": body(
        f"deny contains {REASON} if f(1) == 2\n\nf(x) := f(x + 1)\n"
    ),
    "functions that call each other": body(
        f"deny contains {REASON} if f(1) == 2\n\nf(x) := g(x)\n\ng(x) := f(x)\n"
    ),
    "a rule that is its own reason": body(
        "deny contains x if some x in deny\n", "policy.syntax", "policy.error"
    ),
    "expressions nested": body(
        f"deny contains {60 * '('}1{60 * ')'}\n", "policy.syntax", "policy.error"
    ),
    # Answers.
    "an answer of a million reasons": body(
        'deny contains {"code": "a.b", "message": sprintf("%d", [i])} if {\n'
        "\tsome i in numbers.range(1, 1000000)\n}\n"
    ),
    "a message of a megabyte": body(
        'deny contains {"code": "a.b", "message": message}\n\n'
        f'message := concat("", [{LONG} | some j in numbers.range(1, 12)])\n'
    ),
    "an answer that doubles": body(
        'deny contains {"code": "a.b", "message": "c", "limit": v29}\n\nv0 := {"a": 1}\n\n'
        + "".join(f'v{n + 1} := {{"a": v{n}, "b": v{n}}}\n\n' for n in range(29))
    ),
    # Regular expressions.
    "a regular expression that explodes": when(
        'regex.match("((((a{1,99}){1,99}){1,99}){1,99}){1,99}", "a")',
        "policy.syntax",
        "policy.error",
    ),
    "a regular expression that is none": when(
        'regex.match("(a", "a")', "policy.syntax", "policy.error"
    ),
    # The world outside.
    "the network": when(
        'http.send({"method": "get", "url": "http://127.0.0.1/"}).status_code == 1',
        "policy.banned_builtin",
        "-",
    ),
    "the process": when("opa.runtime().version == 1", "policy.banned_builtin", "-"),
    "the clock": when("time.now_ns() < 0", "policy.banned_builtin", "-"),
    "chance": when('rand.intn("a", 2) == 3', "policy.banned_builtin", "policy.error", "-"),
    # Others' packages and data.
    "the node's package": Attack(
        "package sytff.node\n\ndeny := set()\n",
        "policy.foreign_package",
        frozenset({"policy.undefined"}),
    ),
    "the node's rules": body(
        f"deny contains {REASON} if not data.sytff.node.deny\n",
        "policy.foreign_reference",
        "test.hostile",
    ),
    "the whole of data": body(
        f"deny contains {REASON} if data[_][_][_]\n",
        "policy.foreign_reference",
        "-",
        "policy.error",
    ),
    # Shapes.
    "a deny that is a function": body("deny(x) := set()\n", "policy.contract", "policy.undefined"),
    "a deny that is an object": body('deny["a"] := 1\n', "policy.contract", "policy.malformed"),
    "a deny by another name": body(
        f"d\u0435ny contains {REASON}\n", "policy.syntax", "policy.error"
    ),
    "an invisible deny": body(f"deny\u200b contains {REASON}\n", "policy.syntax", "policy.error"),
    "text that reads backwards": body(
        f'deny contains {REASON} if "\u202e" == "\u202d" # \u2066\n\nx := opa.runtime()\n',
        "policy.banned_builtin",
        "-",
    ),
}


def bundle_of(attack: Attack) -> Bundle:
    files = {"policy.rego": attack.module, "policy_test.rego": TESTED}
    return make_bundle("sytff.dataset", {path: text.encode() for path, text in files.items()})


def still_well(engine: EmbeddedEngine) -> bool:
    verdict = verdict_of(engine, template("starter"), document({"request.rounds": 10_001}))
    return codes(verdict) == ["dataset.rounds"]


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) >= 25


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused(impatient: EmbeddedEngine, name: str) -> None:
    with pytest.raises(BundleRejected) as caught:
        admit(bundle_of(ATTACKS[name]), impatient, NODE)
    assert {item.code for item in caught.value.errors} == {ATTACKS[name].refused}
    assert all(item.field and item.remedy for item in caught.value.errors)
    assert still_well(impatient)


@pytest.mark.parametrize("name", ATTACKS)
def test_were_it_admitted_it_would_do_no_harm(impatient: EmbeddedEngine, name: str) -> None:
    attack = ATTACKS[name]
    found = codes(verdict_of(impatient, bundle_of(attack))) or ["-"]
    assert len(found) == 1
    assert found[0] in attack.denied
    assert still_well(impatient)


@pytest.mark.parametrize("name", ATTACKS)
def test_it_loosens_nothing_of_the_nodes(impatient: EmbeddedEngine, name: str) -> None:
    given = document({"researcher.roles": ["guest"]})
    verdict = verdict_of(impatient, bundle_of(ATTACKS[name]), given)
    assert "node.researcher_role" in codes(verdict)


HARMLESS = {
    "a regular expression on long text": when(f'regex.match("(a*)*b", {LONG})'),
    "a glob of globs": when(f'glob.match("{{a,{{b,{{c,*}}}}}}**x", [], {LONG})'),
    "a shift of everything": when("bits.lsh(1, 10000000000) < 0"),
    "a walk through the input": when("count([1 | walk(input, [_, _])]) < 0"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_looks_dangerous_is_evaluated(engine: EmbeddedEngine, name: str) -> None:
    judged = make_bundle(
        "sytff.dataset",
        {"policy.rego": HARMLESS[name].module.encode(), "policy_test.rego": PASSING_TEST.encode()},
    )
    admit(judged, engine, NODE)
    assert codes(verdict_of(engine, judged)) == []


@pytest.mark.parametrize("rules", [2000])
def test_a_policy_of_many_rules_is_read_in_time(engine: EmbeddedEngine, rules: int) -> None:
    text = "\n\n".join(
        f'deny contains {{"code": "a.b", "message": "{n}"}} if input.request.rounds == -{n + 1}'
        for n in range(rules)
    )
    judged = make_bundle(
        "sytff.dataset",
        {"policy.rego": (PACKAGE + text).encode(), "policy_test.rego": PASSING_TEST.encode()},
    )
    admit(judged, engine, NODE)
    assert codes(verdict_of(engine, judged, document({"request.rounds": -7}))) == [
        "node.rounds",
        "a.b",
    ]
