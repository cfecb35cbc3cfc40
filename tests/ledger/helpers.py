"""Reserving without a gate, for tests of the ledger alone."""

from __future__ import annotations

import itertools
import os
from decimal import Decimal
from typing import Any

from sytff_policy.canonical import digest
from sytff_policy.ledger import DatasetRecord, Ledger, Turn
from sytff_policy.privacy import RunMechanism

_counter = itertools.count()

NODE_POLICY = "sha256:" + "a" * 64
RUN = RunMechanism(20, 50, 1000, Decimal(1), Decimal(5))


def request_for(mechanism: RunMechanism, number: int) -> dict[str, Any]:
    """The part of a request that says what may run, and a number that makes it unique."""
    noise = mechanism.evaluation_noise
    return {
        "number": number,
        "rounds": mechanism.rounds,
        "clients_per_round": mechanism.clients_per_round,
        "noise_multiplier": float(mechanism.noise_multiplier),
        "evaluation": None if noise is None else {"noise_multiplier": float(noise)},
    }


def reserve(
    ledger: Ledger | Turn,
    mechanism: RunMechanism = RUN,
    *,
    researcher: str = "alice",
    key: str | None = None,
    dataset: str = "registry",
    organization: str = "",
    record: DatasetRecord | None = None,
) -> str:
    """Reserves a run; returns its id. In a turn, `record` is what the turn has read."""
    # Of this process: others may reserve in the same ledger.
    number = os.getpid() * 100_000 + next(_counter)
    if record is None:
        assert isinstance(ledger, Ledger)
        record = ledger.dataset(dataset)
    request = request_for(mechanism, number)
    body = {
        "decision": "allow",
        "decision_id": f"dec-{number}",
        "dataset": dataset,
        "reasons": [],
        "request": request,
        "request_digest": digest(request),
        "bundles": {"node": NODE_POLICY, "dataset": record.bundle},
        "researcher": {"id": researcher, "organization": organization},
    }
    ledger.reserve(
        record,
        run_id=f"run-{number}",
        decision_id=f"dec-{number}",
        researcher=researcher,
        mechanism=mechanism,
        request_digest=digest(request) if key is None else "sha256:same",
        organization=organization,
        idempotency_key=key,
        decision=body,
    )
    return f"run-{number}"


def finish(ledger: Ledger, run_id: str, *, rounds: int = 20, status: str = "completed") -> None:
    """Runs a run's rounds on paper, and settles it."""
    evaluated = status == "completed"
    ledger.progress(run_id, rounds_started=rounds, evaluation_started=evaluated)
    ledger.settle(run_id, status=status)
