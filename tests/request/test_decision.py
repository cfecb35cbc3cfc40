"""Decisions as JSON: the documented fields, and numbers that every reader can hold."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy.canonical import canonical_bytes
from sytff_policy.decision import (
    BudgetView,
    Cost,
    CounterProposal,
    Decision,
    Outcome,
    Reason,
    json_number,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("8"), "8"),
        (Decimal("0.00001"), "1e-05"),
        (Decimal("7994.673798559"), "7994.673798559"),
        (Decimal("-0.0"), "0"),
        (Decimal(2**53 - 1), "9007199254740991"),
        (Decimal(2**53), "9007199254740992.0"),
        (Decimal("1e300"), "1e+300"),
        (Decimal("1e400"), "null"),
        (Decimal("1e999999"), "null"),
        (Decimal("NaN"), "null"),
        (Decimal("-Infinity"), "null"),
        (math.inf, "null"),
        (math.nan, "null"),
        (2**70, "1.1805916207174113e+21"),
        (10**400, "null"),
        (True, "true"),
        ("8", '"8"'),
        (None, "null"),
        ([Decimal("0.5"), "a", (1,)], '[0.5, "a", [1]]'),
    ],
    ids=range(19),
)
def test_an_exact_number_is_a_json_number(value: Any, expected: str) -> None:
    assert json.dumps(json_number(value)) == expected


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.floats() | st.integers())
def test_every_number_has_a_canonical_form(value: Any) -> None:
    number = json_number(value)
    canonical_bytes({"value": number})
    json.dumps(number, allow_nan=False)


@given(st.decimals(min_value=0, max_value=10**6, places=9))
def test_a_budget_quantity_is_the_same_text_as_json(value: Decimal) -> None:
    assert Decimal(json.dumps(json_number(value))) == value


def test_a_decision_has_the_documented_fields() -> None:
    reason = Reason("c", "s", "m", field="rounds", limit=Decimal("1.5"), actual=3)
    decision = Decision(
        outcome=Outcome.DENY,
        decision_id="dec-1",
        reasons=(reason,),
        cost=Cost(None, None, Decimal("1e-5")),
        budget=BudgetView(Decimal(8), Decimal("1e-5"), Decimal(2), Decimal(1), Decimal(5)),
        dataset="registry",
        request_digest="sha256:0",
        warnings=(Reason("w", "s", "m"),),
        counter_proposals=(
            CounterProposal(
                {"rounds": 1}, {"rounds": {"from": 3, "to": 1}}, Decimal(1), Decimal(2)
            ),
        ),
        engine="e",
        accountant="a",
        bundles={"node": "sha256:1"},
    )
    assert not decision.allowed
    assert decision.to_json() == {
        "decision": "deny",
        "decision_id": "dec-1",
        "dataset": "registry",
        "request_digest": "sha256:0",
        "reasons": [
            {"code": "c", "source": "s", "field": "rounds", "limit": 1.5, "actual": 3,
             "message": "m"}
        ],
        "warnings": [
            {"code": "w", "source": "s", "field": "", "limit": None, "actual": None,
             "message": "m"}
        ],
        "counter_proposals": [
            {
                "request": {"rounds": 1},
                "changes": {"rounds": {"from": 3, "to": 1}},
                "cost": {"epsilon": 1, "charge": 2},
            }
        ],
        "cost": {"epsilon": None, "charge": None, "delta": 1e-05},
        "budget": {"epsilon": 8, "delta": 1e-05, "spent": 2, "reserved": 1, "remaining": 5},
        "engine": "e",
        "accountant": "a",
        "bundles": {"node": "sha256:1"},
    }  # fmt: skip
