"""The planner finds the choice that the expected workload needs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sytff_policy.privacy import InvalidFilter, RunMechanism, make_filter, plan

BUDGET = Decimal(2), Decimal("1e-5")
ROUND = RunMechanism(1, 1, 100, Decimal(1))


def test_the_right_order_admits_hundreds_of_rounds_where_a_naive_one_admits_almost_none() -> None:
    made = plan(*BUDGET, [ROUND])
    assert made.best.filter.kind == "rdp"
    assert made.best.rounds[0] == 879
    naive = next(c for c in made.choices if c.filter.parameters() == {"order": 12})
    assert naive.rounds[0] <= 2
    unsampled = made.best_of("zcdp")
    assert unsampled is not None
    assert unsampled.rounds[0] == 0


def test_what_a_choice_says_it_admits_is_what_its_filter_admits() -> None:
    run = RunMechanism(50, 60, 6000, Decimal(1), Decimal(5))
    for choice in plan(*BUDGET, [run]).choices[:5]:
        total = choice.filter.zero
        for _ in range(choice.admitted[0]):
            total = total + choice.filter.charge(run.event())
        assert choice.filter.admits(total)
        assert not choice.filter.admits(total + choice.filter.charge(run.event()))


def test_no_expected_workload_is_starved() -> None:
    wide = RunMechanism(1, 100, 100, Decimal(8))
    narrow = RunMechanism(1, 1, 100, Decimal(1))
    best = plan(*BUDGET, [wide, narrow]).best
    assert min(best.rounds) > 0
    alone = plan(*BUDGET, [wide]).best
    assert best.rounds[0] <= alone.rounds[0]


def test_a_budget_that_admits_nothing_is_said_to() -> None:
    with pytest.raises(InvalidFilter):
        plan(Decimal("0.000000001"), Decimal("1e-29"), [ROUND], sum_requests=0)


def test_the_recommendation_can_be_made_into_the_same_filter() -> None:
    chosen = plan(*BUDGET, [ROUND]).best.filter
    again = make_filter(chosen.kind, *BUDGET, **chosen.parameters())
    assert again.to_json() == chosen.to_json()
