"""Counter-proposals: near, complete, and allowed when they are sent back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sytff_policy.home import Home, parse_request
from sytff_policy.proposals import MAX_JUDGEMENTS, changes
from tests.support import ALICE, GUEST, ask, make_home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = make_home(tmp_path_factory.mktemp("proposals"), people=1000)
    yield made
    made.close()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = make_home(
        tmp_path_factory.mktemp("strict"), people=1000, policy="health_registry", epsilon="8"
    )
    yield made
    made.close()


requests = st.fixed_dictionaries(
    {
        "rounds": st.integers(1, 20_000),
        "clients_per_round": st.integers(1, 1200),
        "noise_multiplier": st.floats(0.02, 4).map(lambda value: round(value, 3)),
    },
    optional={
        "clipping": st.just({"kind": "adaptive"}),
        "evaluation": st.sampled_from([None, {"noise_multiplier": 3.0}]),
        "no_clients": st.integers(1, 3000),
    },
)
modest = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@modest
@given(fields=requests)
def test_every_counter_proposal_is_allowed_when_resubmitted(home: Home, fields: dict) -> None:
    _resubmit_all(home, fields)


@modest
@given(fields=requests)
def test_also_under_a_strict_policy_with_reviews(strict: Home, fields: dict) -> None:
    _resubmit_all(strict, fields)


def _resubmit_all(home: Home, fields: dict) -> None:
    asked = ask(home, **fields)
    decision = home.gate.check(asked, "registry", ALICE)
    if decision.allowed:
        assert decision.counter_proposals == ()
    for proposal in decision.counter_proposals:
        again = parse_request(home, proposal.request)
        answer = home.gate.check(again, "registry", ALICE)
        assert answer.allowed, (fields, proposal.changes, answer.reasons)
        assert proposal.changes == changes(asked, again)
        assert answer.cost.charge == proposal.charge
        assert answer.cost.epsilon == proposal.epsilon


def test_each_single_change_that_is_enough_is_offered_at_its_best_value(home: Home) -> None:
    asked = ask(home, rounds=200, clients_per_round=100, noise_multiplier=0.7)
    decision = home.gate.check(asked, "registry", ALICE)
    offered = {tuple(p.changes): p for p in decision.counter_proposals}
    assert set(offered) == {("rounds",), ("noise_multiplier",), ("clients_per_round",)}
    rounds = offered["rounds",].request["rounds"]
    more = ask(home, rounds=rounds + 1, clients_per_round=100, noise_multiplier=0.7)
    assert not home.gate.check(more, "registry", ALICE).allowed
    clients = offered["clients_per_round",].request["clients_per_round"]
    more = ask(home, rounds=200, clients_per_round=clients + 1, noise_multiplier=0.7)
    assert not home.gate.check(more, "registry", ALICE).allowed
    noise = offered["noise_multiplier",].request["noise_multiplier"]
    less = ask(home, rounds=200, clients_per_round=100, noise_multiplier=noise * 0.98)
    assert not home.gate.check(less, "registry", ALICE).allowed


def test_two_changes_are_offered_when_no_single_one_is_enough(strict: Home) -> None:
    asked = ask(strict, rounds=10, clients_per_round=667, noise_multiplier=0.05)
    decision = strict.gate.check(asked, "registry", ALICE)
    assert decision.counter_proposals
    assert all(len(p.changes) == 2 for p in decision.counter_proposals)


def test_nothing_is_offered_where_no_parameter_helps(home: Home) -> None:
    decision = home.gate.check(ask(home), "registry", GUEST)
    assert decision.counter_proposals == ()


@pytest.mark.parametrize(
    "fields", [{"evaluation": {"noise_multiplier": 0}}, {"noise_multiplier": 0}], ids=str
)
def test_no_noise_gets_a_proposal_with_noise(home: Home, fields: dict) -> None:
    decision = home.gate.check(ask(home, **fields), "registry", ALICE)
    assert not decision.allowed
    changed = [next(iter(p.changes)) for p in decision.counter_proposals if len(p.changes) == 1]
    assert changed[0].endswith("noise_multiplier")
    _resubmit_all(home, fields)


def test_the_announcements_parameters_get_counter_proposals(home: Home) -> None:
    asked = ask(home, rounds=10, clients_per_round=667, noise_multiplier=0.05)
    decision = home.gate.check(asked, "registry", ALICE)
    assert not decision.allowed
    assert decision.cost.epsilon is not None
    assert 2200 < decision.cost.epsilon < 2400
    assert decision.counter_proposals


def test_the_search_is_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = home.engine.evaluate
    calls = []
    monkeypatch.setattr(home.engine, "evaluate", lambda *args: calls.append(1) or evaluate(*args))
    for fields in (
        {"rounds": 20_000, "clients_per_round": 1200, "noise_multiplier": 0.02},
        {"rounds": 5000, "noise_multiplier": 0.5, "clipping": {"kind": "adaptive"}},
    ):
        calls.clear()
        home.gate.check(ask(home, **fields), "registry", ALICE)
        assert len(calls) <= MAX_JUDGEMENTS + 1
