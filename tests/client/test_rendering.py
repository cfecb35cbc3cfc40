"""Decisions and budgets as text, to the character."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sytff_policy.decision import (
    BudgetView,
    Cost,
    CounterProposal,
    Decision,
    Outcome,
    Reason,
)
from sytff_policy.rendering import bar, budget_text, changes_text, decision_text, exact_text, short


def budget(spent: str = "0", reserved: str = "0", epsilon: str = "8") -> BudgetView:
    whole, gone, held = Decimal(epsilon), Decimal(spent), Decimal(reserved)
    return BudgetView(whole, Decimal("1e-5"), gone, held, whole - gone - held)


def proposal(epsilon: str, charge: str, **changes: tuple[Any, Any]) -> CounterProposal:
    return CounterProposal(
        request={},
        changes={name: {"from": a, "to": b} for name, (a, b) in changes.items()},
        epsilon=Decimal(epsilon),
        charge=Decimal(charge),
    )


DENIED = Decision(
    outcome=Outcome.DENY,
    decision_id="dec-1",
    reasons=(
        Reason(
            code="dataset.noise",
            source="data.sytff.dataset",
            field="noise_multiplier",
            limit=Decimal("0.3"),
            actual=Decimal("0.05"),
            message="noise_multiplier must be at least 0.3",
        ),
        Reason(
            code="accountant.budget_exceeded",
            source="accountant",
            field="budget.remaining",
            limit=Decimal("4.83213837"),
            actual=Decimal("7994.673798559"),
            message="this request would take 7,995 of the budget; 4.832 of 8 remains",
        ),
    ),
    cost=Cost(Decimal("2267.199095700"), Decimal("7994.673798559"), Decimal("1e-5")),
    budget=budget("3.16786163"),
    dataset="registry",
    request_digest="sha256:0",
    counter_proposals=(
        proposal("7.815", "4.818", noise_multiplier=(0.05, 1.57)),
        proposal("6.25", "4.8", rounds=(1000, 20), noise_multiplier=(0.05, 0.3)),
    ),
)


def test_a_denial_says_why_and_what_would_be_accepted() -> None:
    assert (
        decision_text(DENIED)
        == """\
Denied: epsilon 2267.1990957 at delta 0.00001 on 'registry' (dec-1)

Why:
  code                        field             asked           limit
  dataset.noise               noise_multiplier  0.05            0.3
      noise_multiplier must be at least 0.3
  accountant.budget_exceeded  budget.remaining  7994.673798559  4.83213837
      this request would take 7,995 of the budget; 4.832 of 8 remains

Would be allowed now, sent back unchanged:
  1.  noise_multiplier 0.05 -> 1.57                    epsilon 7.815,  4.818 of the budget
  2.  rounds 1000 -> 20, noise_multiplier 0.05 -> 0.3  epsilon 6.25,   4.8 of the budget"""
    )


def test_a_denial_that_nothing_mends_says_so() -> None:
    reason = Reason(code="policy.undefined", source="data.sytff.dataset", message="no policy")
    decision = replace(
        DENIED,
        reasons=(reason,),
        cost=Cost(None, None, Decimal("1e-5")),
        counter_proposals=(),
    )
    assert (
        decision_text(decision)
        == """\
Denied: no finite epsilon on 'registry' (dec-1)

Why:
  policy.undefined
      no policy

No change of rounds, noise or clients would be allowed now."""
    )


def test_an_allowance_says_its_price_and_what_to_note() -> None:
    note = Reason(code="node.no_model", source="data.sytff.node", field="model", message="none yet")
    decision = replace(
        DENIED,
        outcome=Outcome.ALLOW,
        reasons=(),
        warnings=(note,),
        cost=Cost(Decimal("2.7"), Decimal("3.39"), Decimal("1e-5")),
        counter_proposals=(),
    )
    assert (
        decision_text(decision)
        == """\
Allowed: epsilon 2.7 at delta 0.00001, 3.39 of the budget on 'registry' (dec-1)

Note:
  code           field  asked  limit
  node.no_model  model
      none yet"""
    )


def test_a_review_is_no_denial() -> None:
    text = decision_text(replace(DENIED, outcome=Outcome.REVIEW, counter_proposals=()))
    assert text.startswith("Waits for the owner's review: epsilon 2267.1990957 at delta 0.00001, ")
    assert "No change" not in text


@pytest.mark.parametrize(
    ("actual", "limit", "cells"),
    [
        (0, 1.998, "0      1.998"),
        (None, 5, "-      5"),
        ("guest", ["researcher", "owner"], "guest  researcher, owner"),
        ([], ["a"], "none   a"),
        (1, ["purpose-of-some-length"] * 9, "1      purpose-of-some-length, purpose-of-so..."),
        (Decimal("1e9"), Decimal("1.50"), "1000000000  1.5"),
    ],
)
def test_values_are_shown_exactly_and_long_ones_are_cut(
    actual: Any, limit: Any, cells: str
) -> None:
    reason = Reason(code="c", source="s", field="f", limit=limit, actual=actual, message="m")
    lines = decision_text(replace(DENIED, reasons=(reason,))).splitlines()
    assert lines[4] == f"  c     f      {cells}"


def test_a_message_of_several_lines_keeps_its_place() -> None:
    reason = Reason(code="c", source="s", message="one\ntwo")
    lines = decision_text(replace(DENIED, reasons=(reason,))).splitlines()
    assert lines[3:6] == ["  c", "      one", "      two"]


def test_a_decisions_representation_is_a_summary() -> None:
    assert (
        repr(DENIED)
        == """\
<Decision dec-1: deny on 'registry', epsilon 2267.1990957
  dataset.noise: noise_multiplier must be at least 0.3
  accountant.budget_exceeded: this request would take 7,995 of the budget; 4.832 of 8 remains
  counter-proposals: 2>"""
    )
    allowed = replace(DENIED, outcome=Outcome.ALLOW, reasons=(), cost=Cost(None, None, Decimal(1)))
    assert repr(allowed) == "<Decision dec-1: allow on 'registry', epsilon unbounded>"


def test_a_budget_is_a_bar_and_its_numbers() -> None:
    assert budget_text(budget("2", "1")) == (
        "[##########+++++.........................] epsilon 8 at delta 0.00001: "
        "2 spent, 1 reserved, 5 left"
    )


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (budget(), "........"),
        (budget("8"), "########"),
        (budget("0", "8"), "++++++++"),
        (budget("0.1"), "........"),
        (budget("0", "0", "0"), "........"),
    ],
)
def test_a_bar_has_its_width_at_every_level(view: BudgetView, expected: str) -> None:
    assert bar(view, 8) == expected


def test_changes_are_read_from_left_to_right() -> None:
    changes = {
        "rounds": {"from": 100, "to": 20},
        "evaluation": {"from": {"holdout": 0.2}, "to": None},
    }
    assert changes_text(changes) == "rounds 100 -> 20, evaluation {'holdout': 0.2} -> none"


def test_numbers_are_short_or_exact() -> None:
    assert short(Decimal("2267.1990957")) == "2,267"
    assert short(None) == "unbounded"
    assert exact_text(Decimal("1E-9")) == "0.000000001"
    assert exact_text(1e-9) == "1e-09"
    assert exact_text((1, "a")) == "1, a"
