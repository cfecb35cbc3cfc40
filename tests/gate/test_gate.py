"""The pipeline up to the reservation: who is refused, why, and that nothing is read or spent."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from sytff_policy.decision import Outcome
from sytff_policy.home import Home
from sytff_policy.ledger import IdempotencyConflict
from sytff_policy.privacy import make_filter
from tests.support import ALICE, ALLOW_ALL, BOB, GUEST, ask, make_home, rego


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = make_home(tmp_path)
    yield made
    made.close()


def codes(decision: object) -> set[str]:
    return {reason.code for reason in decision.reasons}  # type: ignore[attr-defined]


def test_a_plain_request_is_allowed_and_reserves_its_worst_case(home: Home) -> None:
    admission = home.gate.admit(ask(home), "registry", ALICE)
    assert admission.decision.outcome is Outcome.ALLOW
    assert admission.decision.reasons == ()
    budget = home.ledger.dataset("registry").budget()
    assert budget.reserved == admission.decision.cost.charge
    assert budget.spent == 0
    assert home.ledger.verify().ok


def test_a_check_spends_reserves_and_records_nothing(home: Home) -> None:
    before = [entry.hash for entry in home.ledger.entries()]
    decision = home.gate.check(ask(home), "registry", ALICE)
    assert decision.allowed
    assert [entry.hash for entry in home.ledger.entries()] == before


def test_all_reasons_of_policies_and_accountant_come_at_once(home: Home) -> None:
    request = ask(home, rounds=20_000, noise_multiplier=0.1, clients_per_round=301, no_clients=400)
    decision = home.gate.check(request, "registry", GUEST)
    assert codes(decision) == {
        "node.researcher_role",
        "node.sampling_rate",
        "node.no_clients",
        "dataset.rounds",
        "dataset.noise",
        "dataset.sampling_rate",
        "accountant.sampling_rate",
    }
    by_code = {reason.code: reason for reason in decision.reasons}
    assert by_code["dataset.rounds"].limit == 10_000
    assert by_code["dataset.rounds"].actual == 20_000
    assert by_code["dataset.rounds"].source == "data.sytff.dataset"
    assert by_code["accountant.sampling_rate"].source == "accountant"


def test_a_denial_is_recorded_with_its_request(home: Home) -> None:
    request = ask(home, noise_multiplier=0.1)
    decision = home.gate.admit(request, "registry", ALICE).decision
    entry = list(home.ledger.entries(kind="decision"))[-1]
    assert entry.body["decision_id"] == decision.decision_id
    assert entry.body["decision"] == "deny"
    assert entry.body["request"] == request.to_json()
    assert home.ledger.dataset("registry").budget().remaining == 8
    assert home.ledger.verify().ok


def test_noise_zero_is_said_to_be_unbounded(home: Home) -> None:
    decision = home.gate.check(ask(home, noise_multiplier=0), "registry", ALICE)
    assert "accountant.unbounded_loss" in codes(decision)
    assert decision.cost.epsilon is None
    assert decision.to_json()["cost"]["epsilon"] is None


def test_a_loss_beyond_counting_is_not_taken_for_one_without_noise(home: Home) -> None:
    request = ask(home, rounds=100_000, clients_per_round=300, noise_multiplier=0.3)
    [reason] = [
        reason
        for reason in home.gate.check(request, "registry", ALICE).reasons
        if reason.code == "accountant.unbounded_loss"
    ]
    assert "1000000" in reason.message
    assert "fewer rounds" in reason.message


def test_exact_metrics_are_denied(home: Home) -> None:
    request = ask(home, evaluation={"noise_multiplier": 0})
    decision = home.gate.check(request, "registry", ALICE)
    assert codes(decision) == {"node.evaluation_noise", "accountant.unbounded_loss"}


def test_review_waits_and_reserves_nothing(tmp_path: Path) -> None:
    module = (
        ALLOW_ALL
        + """
review contains {"code": "test.review", "message": "please wait"} if input.request.rounds > 5
"""
    )
    with make_home(tmp_path, policy=rego(module)) as home:
        admission = home.gate.admit(ask(home), "registry", ALICE)
        assert admission.decision.outcome is Outcome.REVIEW
        assert admission.run_id is None
        assert home.ledger.dataset("registry").budget().remaining == 8


def test_a_dataset_without_a_policy_denies_everything(tmp_path: Path) -> None:
    with make_home(tmp_path, policy=None) as home:
        decision = home.gate.check(ask(home), "registry", ALICE)
        assert codes(decision) == {"policy.undefined"}
        assert decision.counter_proposals == ()


@pytest.mark.parametrize("harm", ["alter", "remove", "break"])
def test_a_stored_policy_that_is_not_what_was_activated_denies(home: Home, harm: str) -> None:
    record = home.ledger.dataset("registry")
    assert record.bundle is not None
    folder = home.folder / "bundles" / record.bundle.removeprefix("sha256:")
    if harm == "remove":
        shutil.rmtree(folder)
    else:
        content = ALLOW_ALL.encode() if harm == "alter" else b"\xff"
        (folder / "policy.rego").write_bytes(content)
    decision = home.gate.admit(ask(home), "registry", ALICE).decision
    assert codes(decision) == {"policy.bundle_unusable", "policy.undefined"}
    assert decision.bundles["dataset"] == record.bundle
    assert decision.counter_proposals == ()
    assert home.ledger.verify().ok


def test_the_same_idempotency_key_reserves_once(home: Home) -> None:
    request = ask(home, idempotency_key="monday")
    first = home.gate.admit(request, "registry", ALICE)
    with pytest.raises(IdempotencyConflict) as caught:
        home.gate.admit(request, "registry", ALICE)
    assert caught.value.run_id == first.run_id
    assert home.gate.admit(request, "registry", BOB).run_id != first.run_id


def test_usage_reaches_the_policy(tmp_path: Path) -> None:
    module = """package sytff.dataset

deny contains {"code": "test.once", "message": "once a day"} if input.usage.today.requests >= 1
"""
    test = """package sytff.dataset_test

test_denies if {
	count(data.sytff.dataset.deny) == 1 with input as {"usage": {"today": {"requests": 1}}}
}
"""
    with make_home(tmp_path, policy=rego(module, test)) as home:
        assert home.gate.admit(ask(home), "registry", ALICE).decision.allowed
        assert codes(home.gate.admit(ask(home), "registry", ALICE).decision) == {"test.once"}
        assert home.gate.admit(ask(home), "registry", BOB).decision.allowed


@pytest.mark.slow
def test_requests_at_once_get_an_answer_each_and_never_overspend(tmp_path: Path) -> None:
    chosen = make_filter("rdp", Decimal(4), Decimal("1e-5"), order=4)
    with make_home(tmp_path, privacy_filter=chosen) as home:
        outcomes: list[Outcome] = []

        def submit(number: int) -> None:
            for _ in range(4):
                answer = home.gate.admit(ask(home, rounds=5 + number), "registry", ALICE)
                outcomes.append(answer.decision.outcome)

        threads = [threading.Thread(target=submit, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcomes) == 24
        record = home.ledger.dataset("registry")
        assert record.filter.admits(record.used)
        assert Outcome.ALLOW in outcomes
        assert home.ledger.verify().ok
