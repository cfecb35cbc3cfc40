"""The contract of a policy's answer: malformed is denied, joining only tightens."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy.canonical import canonical_bytes
from sytff_policy.decision import Reason
from sytff_policy.policy import Bound, Verdict
from sytff_policy.policy.verdict import MAX_BOUNDS, MAX_REASONS, MAX_TEXT, MAX_VALUES, parse_package

SOURCE = "data.sytff.dataset"
REASON = {"code": "a.b", "message": "c"}

numbers = st.one_of(
    st.integers(),
    st.integers(min_value=-(10**500), max_value=10**500),
    st.floats(),
    st.decimals(),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda d: d.scaleb(300)),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text())
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("code"), inner),
    max_leaves=8,
)
reasons = st.fixed_dictionaries(
    {"code": st.just("a.b") | anything, "message": st.just("c") | anything},
    optional={"field": anything, "limit": anything, "actual": anything, "more": anything},
)
packages = st.fixed_dictionaries(
    {"deny": st.lists(reasons) | anything},
    optional={
        "review": st.lists(reasons) | anything,
        "warn": st.lists(reasons) | anything,
        "bounds": st.dictionaries(
            st.text(), st.dictionaries(st.sampled_from(["min", "max", "allowed", "x"]), anything)
        )
        | anything,
    },
)
plain_numbers = st.one_of(
    st.integers(min_value=-(2**60), max_value=2**60),
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1e9, max_value=1e9),
)
bounds = st.builds(
    Bound,
    st.none() | plain_numbers.map(Decimal),
    st.none() | plain_numbers.map(Decimal),
    st.none() | st.lists(st.sampled_from([0, 1, True, False, "a", "b", None])).map(tuple),
)


def codes(document: Any) -> list[str]:
    return [reason.code for reason in parse_package(SOURCE, document).deny]


@given(anything | packages)
def test_nothing_raises_and_whatever_comes_out_can_be_recorded(document: Any) -> None:
    verdict = parse_package(SOURCE, document)
    for reason in (*verdict.deny, *verdict.review, *verdict.warn):
        assert reason.source == SOURCE
        canonical_bytes(reason.to_json())
        json.dumps(reason.to_json(), allow_nan=False).encode()
    for name, bound in verdict.bounds.items():
        name.encode()
        for number in (bound.min, bound.max):
            assert number is None or number.is_finite()


@given(anything | packages)
def test_only_a_well_formed_document_without_reasons_lets_a_request_pass(document: Any) -> None:
    verdict = parse_package(SOURCE, document)
    if not verdict.deny:
        assert isinstance(document, dict)
        assert document["deny"] == []
        for name in ("review", "warn"):
            assert isinstance(document.get(name, []), list)
            assert len(getattr(verdict, name)) == len(document.get(name, []))
        assert set(verdict.bounds) == set(document.get("bounds", {}))


@pytest.mark.parametrize("document", [None, {}, {"review": []}, [], [REASON], "deny", 0, True])
def test_without_deny_everything_is_denied(document: Any) -> None:
    assert codes(document) == ["policy.undefined"]


@pytest.mark.parametrize("name", ["deny", "review", "warn"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        1,
        Decimal("0.5"),
        "",
        "no",
        {},
        {"a.b": "c"},
        REASON,
        [None],
        [True],
        [1],
        ["no"],
        [[]],
        [{}],
        [[REASON]],
        [REASON, 1],
        [{"code": "a.b"}],
        [{"message": "c"}],
        [{**REASON, "more": 1}],
        [{**REASON, "code": None}],
        [{**REASON, "code": ""}],
        [{**REASON, "code": "a b"}],
        [{**REASON, "code": "A.b"}],
        [{**REASON, "code": ".a"}],
        [{**REASON, "code": "a."}],
        [{**REASON, "code": "a..b"}],
        [{**REASON, "code": "a.b\n"}],
        [{**REASON, "code": "1a"}],
        [{**REASON, "code": "\u0430.b"}],  # a Cyrillic letter
        [{**REASON, "code": "a" * 101}],
        [{**REASON, "message": None}],
        [{**REASON, "message": 1}],
        [{**REASON, "message": ["c"]}],
        [{**REASON, "message": "c" * (MAX_TEXT + 1)}],
        [{**REASON, "message": "\x1b[2J"}],
        [{**REASON, "message": "a\x00"}],
        [{**REASON, "message": "a\r"}],
        [{**REASON, "message": "\u202eevil"}],
        [{**REASON, "message": "\ud800"}],
        [{**REASON, "field": 1}],
        [{**REASON, "field": ["rounds"]}],
        [{**REASON, "field": "x" * 201}],
        [{**REASON, "field": "a\nb\x07"}],
        [{**REASON, "limit": {}}],
        [{**REASON, "limit": [[1]]}],
        [{**REASON, "limit": [1] * (MAX_VALUES + 1)}],
        [{**REASON, "limit": "x" * (MAX_TEXT + 1)}],
        [{**REASON, "limit": 10**500}],
        [{**REASON, "limit": Decimal("1e1000000000")}],
        [{**REASON, "limit": Decimal("NaN")}],
        [{**REASON, "actual": float("inf")}],
        [{**REASON, "actual": {"a": 1}}],
        [REASON] * (MAX_REASONS + 1),
    ],
    ids=str,
)
def test_what_is_not_a_set_of_reasons_denies(name: str, value: Any) -> None:
    assert codes({"deny": [], name: value}) == ["policy.malformed"]


def test_a_malformed_warning_denies_and_hides_no_reason_of_another_package() -> None:
    other = parse_package("data.sytff.node", {"deny": [REASON]})
    joined = other.joined(parse_package(SOURCE, {"deny": [], "warn": "careful"}))
    assert [(r.source, r.code) for r in joined.deny] == [
        ("data.sytff.node", "a.b"),
        (SOURCE, "policy.malformed"),
    ]


def test_a_reason_keeps_its_parts() -> None:
    item = {**REASON, "field": "rounds", "limit": 5, "actual": Decimal("7.5")}
    (reason,) = parse_package(SOURCE, {"deny": [item]}).deny
    assert reason.to_json() == {
        "code": "a.b",
        "source": SOURCE,
        "field": "rounds",
        "limit": 5,
        "actual": 7.5,
        "message": "c",
    }


def test_a_policy_cannot_speak_for_another() -> None:
    (reason,) = parse_package(SOURCE, {"deny": [{**REASON, "source": "accountant"}]}).deny
    assert reason.source == SOURCE


@pytest.mark.parametrize("field", [None, "", "rounds", "clipping.norm", "x[0]"])
def test_a_field_may_be_absent(field: str | None) -> None:
    (reason,) = parse_package(SOURCE, {"deny": [{**REASON, "field": field}]}).deny
    assert reason.field == (field or "")


@pytest.mark.parametrize(
    ("value", "stated"),
    [
        (2**53 - 1, 2**53 - 1),
        (2**53 + 1, "9007199254740993"),
        (-(2**63), "-9223372036854775808"),
        (Decimal("1e20"), "100000000000000000000"),
        (Decimal("0.1"), 0.1),
        (Decimal("0.12345678901234567890"), "0.12345678901234567890"),
        (Decimal("1E-9"), 1e-9),
        (Decimal("7.0"), 7),
        (Decimal("-0"), 0),
        (True, True),
        ("text", "text"),
        ([1, "a", None, Decimal("0.5")], [1, "a", None, 0.5]),
    ],
)
def test_a_number_that_a_double_would_alter_is_stated_as_text(value: Any, stated: Any) -> None:
    (reason,) = parse_package(SOURCE, {"deny": [{**REASON, "limit": value}]}).deny
    written = json.loads(json.dumps(reason.to_json()["limit"]))
    assert written == stated
    assert type(written) is type(stated)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "",
        1,
        {"rounds": None},
        {"rounds": 5},
        {"rounds": []},
        {"rounds": {"most": 5}},
        {"rounds": {"max": "5"}},
        {"rounds": {"max": "NaN"}},
        {"rounds": {"max": float("nan")}},
        {"rounds": {"max": Decimal("Infinity")}},
        {"rounds": {"max": True}},
        {"rounds": {"min": False}},
        {"rounds": {"max": [5]}},
        {"rounds": {"max": {}}},
        {"rounds": {"max": 10**500}},
        {"rounds": {"allowed": 5}},
        {"rounds": {"allowed": {}}},
        {"rounds": {"allowed": [[5]]}},
        {"rounds": {"allowed": [1] * (MAX_VALUES + 1)}},
        {"": {"max": 5}},
        {"x" * 201: {"max": 5}},
        {"rounds\x1b": {"max": 5}},
        {f"field{number}": {} for number in range(MAX_BOUNDS + 1)},
    ],
    ids=range(25),
)
def test_bounds_that_are_nonsense_deny(value: Any) -> None:
    assert codes({"deny": [], "bounds": value}) == ["policy.malformed"]


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        ({}, Bound()),
        ({"min": None, "max": None}, Bound()),
        ({"min": 1, "max": Decimal("2.5")}, Bound(Decimal(1), Decimal("2.5"))),
        # Nothing satisfies it; that is for the one who asks to be told, not a fault.
        ({"min": 2, "max": 1}, Bound(Decimal(2), Decimal(1))),
        ({"allowed": []}, Bound(allowed=())),
        ({"allowed": ["a", 1, None, True]}, Bound(allowed=("a", 1, None, True))),
    ],
)
def test_bounds_are_read_exactly(value: Any, bound: Bound) -> None:
    verdict = parse_package(SOURCE, {"deny": [], "bounds": {"anything.at.all": value}})
    assert verdict.deny == ()
    assert verdict.bounds == {"anything.at.all": bound}


def accepts(bound: Bound, value: Decimal) -> bool:
    return (bound.min is None or bound.min <= value) and (bound.max is None or value <= bound.max)


def allows(bound: Bound, value: object) -> bool:
    allowed = bound.allowed
    return allowed is None or any(value == a and type(value) is type(a) for a in allowed)


@given(bounds, bounds, plain_numbers.map(Decimal), st.sampled_from([0, 1, True, False, "a", None]))
def test_a_narrowed_bound_accepts_exactly_what_both_accept(
    first: Bound, second: Bound, number: Decimal, value: object
) -> None:
    both = first.narrowed(second)
    assert accepts(both, number) == (accepts(first, number) and accepts(second, number))
    assert allows(both, value) == (allows(first, value) and allows(second, value))


names = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3)
some_reasons = names.map(lambda found: tuple(Reason(name, SOURCE, "message") for name in found))
verdicts = st.builds(
    Verdict,
    some_reasons,
    some_reasons,
    some_reasons,
    st.dictionaries(st.sampled_from(["rounds", "noise_multiplier", "x"]), bounds),
)


@given(verdicts, verdicts)
def test_joining_keeps_every_reason_and_loosens_no_bound(first: Verdict, second: Verdict) -> None:
    for joined in (first.joined(second), second.joined(first)):
        for name in ("deny", "review", "warn"):
            parts = [*getattr(first, name), *getattr(second, name)]
            assert sorted(map(repr, getattr(joined, name))) == sorted(map(repr, parts))
        for part in (first, second):
            for name, bound in part.bounds.items():
                assert joined.bounds[name].narrowed(bound) == joined.bounds[name]


@given(verdicts, verdicts)
def test_a_denial_stands_whatever_is_joined(first: Verdict, second: Verdict) -> None:
    if first.deny:
        assert first.joined(second).deny
        assert second.joined(first).deny
