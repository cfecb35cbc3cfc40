"""The allow-list of built-ins against what the interpreter has."""

from __future__ import annotations

import json
from functools import cache

import pytest
import regorus

from sytff_policy.policy import EmbeddedEngine
from sytff_policy.policy.pure_builtins import PURE_BUILTINS
from tests.policy.samples import codes, deciding, verdict_of

OUTSIDE = {"http.send", "opa.runtime", "time.now_ns", "rand.intn", "uuid.rfc4122", "trace"}
NOT_NEEDED = {
    "__builtin_sets.intersection",
    "__builtin_sets.union",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "glob.quote_meta",
    "graph.reachable_paths",
    "indexof_n",
    "json.marshal_with_options",
    "json.match_schema",
    "json.patch",
    "json.verify_schema",
    "net.cidr_expand",
    "net.cidr_is_valid",
    "numbers.range_step",
    "regex.find_all_string_submatch_n",
    "regex.find_n",
    "regex.template_match",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
    "uuid.parse",
    "yaml.is_valid",
    "yaml.marshal",
    "yaml.unmarshal",
}


@cache
def implemented() -> frozenset[str]:
    answer = json.loads(regorus.Engine().eval_query_as_json("opa.runtime().builtins"))
    return frozenset(answer["result"][0]["expressions"][0]["value"])


def test_every_builtin_of_the_list_is_there() -> None:
    assert PURE_BUILTINS - implemented() == {"print"}  # which is part of the language there


def test_every_builtin_of_the_interpreter_is_allowed_or_refused_on_purpose() -> None:
    assert implemented() - PURE_BUILTINS == OUTSIDE | NOT_NEEDED


@pytest.mark.parametrize(
    "prefix",
    ["http.", "opa.", "rego.", "io.", "crypto.", "rand.", "uuid.", "net.lookup", "time.now"],
)
def test_nothing_on_the_list_depends_on_the_outside_world(prefix: str) -> None:
    assert not any(name.startswith(prefix) for name in PURE_BUILTINS)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("abs(-1)", "1"),
        ('concat(",", ["a", "b"])', '"a,b"'),
        ("count({1, 2, 2})", "2"),
        ("max([10, 9, 100])", "100"),
        ("sort([10, 9, 100])", "[9, 10, 100]"),
        ("sum([1, 2.5])", "3.5"),
        ('net.cidr_contains("10.0.0.0/8", "10.1.2.3")', "true"),
        ('object.get({"a": {"b": 1}}, ["a", "c"], 5)', "5"),
        ('object.union({"a": {"b": 1}}, {"a": {"c": 2}})', '{"a": {"b": 1, "c": 2}}'),
        ("time.weekday(1767614400000000000)", '"Monday"'),
        ("time.clock(1767614400000000000)", "[12, 0, 0]"),
        ("time.date(1767614400000000000)", "[2026, 1, 5]"),
        ('time.parse_rfc3339_ns("2026-01-05T12:00:00Z")', "1767614400000000000"),
        ("time.add_date(1767614400000000000, 0, 0, 1)", "1767700800000000000"),
        ('semver.compare("1.10.0", "1.9.0")', "1"),
        ('regex.match("^a+$", "aaa")', "true"),
        ('sprintf("%v of %d", [1.5, 2])', '"1.5 of 2"'),
        ('to_number("12")', "12"),
        ('units.parse_bytes("1KiB")', "1024"),
        ('glob.match("a*", [], "abc")', "true"),
        ("floor(2.9)", "2"),
        ("ceil(2.1)", "3"),
        ("round(2.5)", "3"),
        ("numbers.range(1, 3)", "[1, 2, 3]"),
        ('split("a.b", ".")', '["a", "b"]'),
        ("type_name([])", '"array"'),
    ],
)
def test_builtins_answer_as_the_language_says(
    engine: EmbeddedEngine, expression: str, value: str
) -> None:
    judged = deciding(
        f'deny contains {{"code": "test.equal", "message": "m"}} if {expression} == {value}\n'
    )
    assert codes(verdict_of(engine, judged)) == ["test.equal"]
