"""The audit: an honest engine stays under its claim, and each planted fault is caught.

An honest engine fails one of these with probability 1e-4 at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.tff, pytest.mark.slow, pytest.mark.usefixtures("tff_runtime")]

ERROR = 1e-4
CANARIES = 1200


def test_the_honest_engine_stays_under_its_claims_and_the_attack_is_no_sham() -> None:
    from sytff_policy.training.audit import audit

    findings = audit(CANARIES, ERROR)
    assert [finding.experiment for finding in findings] == ["full", "sampled", "evaluation"]
    assert not [finding for finding in findings if finding.refuted]
    full, sampled, evaluation = findings
    # Where the attack is the best there is, it shows a good part of the claim.
    assert full.bound > full.claim / 3
    assert evaluation.bound > evaluation.claim / 5
    assert sampled.claim > 0


def test_halved_noise_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below what the aggregator reports: the reported event still says the full noise."""
    from sytff_policy.training import aggregation
    from sytff_policy.training.audit import audit_full

    add = aggregation.SecretNoise.add_to
    monkeypatch.setattr(
        aggregation.SecretNoise,
        "add_to",
        lambda self, tensor, stddev: add(self, tensor, stddev / 2.0),
    )
    assert audit_full(CANARIES, ERROR).refuted


def test_clipping_that_is_off_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from sytff_policy.training import aggregation
    from sytff_policy.training.audit import audit_full

    monkeypatch.setattr(
        aggregation.SecretGaussianSumQuery, "preprocess_record", lambda self, params, record: record
    )
    assert audit_full(CANARIES, ERROR).refuted


def test_sampling_that_is_stuck_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cohort every round: nothing is amplified for whoever is in it."""
    from sytff_policy.training import trainer
    from sytff_policy.training.audit import audit_sampled

    drawn: dict[str, Any] = {}
    draw = trainer.draw_cohort

    def stuck(clients: int, population: int, eligible: np.ndarray) -> np.ndarray:
        return drawn.setdefault("cohort", draw(clients, population, eligible))

    monkeypatch.setattr(trainer, "draw_cohort", stuck)
    assert audit_sampled(6000, ERROR).refuted


def test_exact_metrics_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from sytff_policy.training import evaluation
    from sytff_policy.training.audit import audit_evaluation

    monkeypatch.setattr(evaluation, "noised_sum", lambda exact, sensitivity, noise: (exact, noise))
    assert audit_evaluation(ERROR).refuted
