"""Judging one request: policy and accountant side by side, without side effects.

A judgement reads public metadata and the book's state, never a row of data, and spends nothing.
The gate reserves on its strength; the search for counter-proposals asks for many.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal

from sytff_policy.decision import Cost, Outcome, Reason
from sytff_policy.ledger import DatasetRecord, UsageRecord
from sytff_policy.policy import (
    Bound,
    Bundle,
    DatasetFacts,
    PolicyEngine,
    Usage,
    Verdict,
    build_input,
)
from sytff_policy.privacy import (
    ACCOUNTANT,
    LARGEST,
    Loss,
    RunMechanism,
    UnboundedLoss,
    exact,
    stated_epsilon,
)
from sytff_policy.rendering import short
from sytff_policy.request import Researcher, TrainRequest

ACCOUNTANT_SOURCE = "accountant"


@dataclass(frozen=True)
class Situation:
    """Everything a judgement depends on besides the request.

    Attributes:
      record: The dataset and its budget at one moment.
      researcher: Who asks, as authenticated.
      today, in_all: The researcher's usage of the dataset.
      bundles: Node bundle first, then the dataset's active bundle if it has one.
      now_ns: Time of the judgement, nanoseconds since 1970 (UTC).
      faults: What already denies every request, such as a stored policy that was altered.
    """

    record: DatasetRecord
    researcher: Researcher
    today: UsageRecord
    in_all: UsageRecord
    bundles: tuple[Bundle, ...]
    now_ns: int
    faults: tuple[Reason, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self.record.description.get("tags", ()))


@dataclass(frozen=True)
class Judgement:
    """The verdict on one request.

    Attributes:
      outcome: Deny beats review beats allow.
      reasons: Every reason for the outcome.
      warnings: What the policies warn of.
      cost: What the request costs.
      charge: The filter's charge; None when there is none to pay.
      mechanism: What would be reserved; None when the request describes no mechanism.
      bounds: Bounds that the policies publish, by field.
    """

    outcome: Outcome
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    cost: Cost
    charge: Loss | None
    mechanism: RunMechanism | None
    bounds: dict[str, Bound]

    @property
    def allowed(self) -> bool:
        return self.outcome is Outcome.ALLOW


def mechanism_of(request: TrainRequest, population: int) -> RunMechanism | None:
    """The mechanism a request describes on a population; None if it asks for more than everyone."""
    if request.clients_per_round > population:
        return None
    evaluation = request.evaluation
    return RunMechanism(
        rounds=request.rounds,
        clients_per_round=request.clients_per_round,
        population=population,
        noise_multiplier=exact(request.noise_multiplier),
        evaluation_noise=exact(evaluation.noise_multiplier) if evaluation else None,
    )


def affordable(request: TrainRequest, record: DatasetRecord) -> bool:
    """Whether the filter admits the request now; exact, and fast enough to search with."""
    mechanism = mechanism_of(request, record.population)
    if mechanism is None:
        return False
    try:
        charge = record.filter.charge(mechanism.event())
    except UnboundedLoss:
        return False
    return record.filter.admits(record.used + charge)


def judge(request: TrainRequest, situation: Situation, engine: PolicyEngine) -> Judgement:
    """Judges `request`: all reasons of both packages and of the accountant, at once."""
    record = situation.record
    mechanism = mechanism_of(request, record.population)
    charge, cost, accounting = _account(record, mechanism, request)
    verdict = _ask_policies(request, situation, engine, cost)
    denials = (*situation.faults, *verdict.deny, *accounting)
    if denials:
        outcome, reasons = Outcome.DENY, denials
    elif verdict.review:
        outcome, reasons = Outcome.REVIEW, tuple(verdict.review)
    else:
        outcome, reasons = Outcome.ALLOW, ()
    if outcome is not Outcome.DENY and (charge is None or mechanism is None):
        raise AssertionError("a request without a charge was not denied")
    return Judgement(
        outcome, reasons, tuple(verdict.warn), cost, charge, mechanism, dict(verdict.bounds)
    )


def now_ns() -> int:
    """The time that judgements are made at."""
    return time.time_ns()


def _account(
    record: DatasetRecord, mechanism: RunMechanism | None, request: TrainRequest
) -> tuple[Loss | None, Cost, tuple[Reason, ...]]:
    delta = record.filter.delta
    unknown = Cost(None, None, delta)
    if mechanism is None:
        reason = Reason(
            code="accountant.sampling_rate",
            source=ACCOUNTANT_SOURCE,
            field="clients_per_round",
            limit=record.population,
            actual=request.clients_per_round,
            message=f"clients_per_round {request.clients_per_round} is more than the "
            f"{record.population} people of the dataset",
        )
        return None, unknown, (reason,)
    event = mechanism.event()
    try:
        charge = record.filter.charge(event)
        charge_epsilon = record.charge_epsilon(charge)
    except UnboundedLoss:
        return None, unknown, (_unbounded(request),)
    cost = Cost(stated_epsilon(event, delta), charge_epsilon, delta)
    if record.filter.admits(record.used + charge):
        return charge, cost, ()
    return charge, cost, (_exceeded(record, cost, charge_epsilon),)


def _unbounded(request: TrainRequest) -> Reason:
    evaluation = request.evaluation
    noises = {"noise_multiplier": request.noise_multiplier}
    if evaluation is not None:
        noises["evaluation.noise_multiplier"] = evaluation.noise_multiplier
    field = min(noises, key=lambda name: noises[name])
    value = noises[field]
    message = (
        f"{field} {value} gives no bound on what is learned about a person; add noise"
        if not value > 0
        else f"so little noise in so many rounds has no epsilon below {LARGEST}; add noise to "
        f"{field} {value}, or ask for fewer rounds"
    )
    return Reason(
        code="accountant.unbounded_loss",
        source=ACCOUNTANT_SOURCE,
        field=field,
        actual=exact(value),
        message=message,
    )


def _exceeded(record: DatasetRecord, cost: Cost, charge: Decimal) -> Reason:
    budget = record.budget()
    alone = "no finite epsilon" if cost.epsilon is None else f"epsilon {short(cost.epsilon)} alone"
    return Reason(
        code="accountant.budget_exceeded",
        source=ACCOUNTANT_SOURCE,
        field="budget.remaining",
        limit=budget.remaining,
        actual=charge,
        message=f"this request would take {short(charge)} of the budget ({alone}, at delta "
        f"{budget.delta:g}); {short(budget.remaining)} of {short(budget.epsilon)} remains",
    )


def _ask_policies(
    request: TrainRequest, situation: Situation, engine: PolicyEngine, cost: Cost
) -> Verdict:
    record = situation.record
    document = build_input(
        request,
        situation.researcher,
        DatasetFacts(
            name=record.name,
            version=record.version,
            population=record.population,
            tags=situation.tags,
            budget=record.budget(),
        ),
        cost,
        Usage(
            today_requests=situation.today.requests,
            today_epsilon=situation.today.epsilon,
            all_requests=situation.in_all.requests,
            all_epsilon=situation.in_all.epsilon,
        ),
        situation.now_ns,
    )
    return engine.evaluate(list(situation.bundles), document)


def describe_accountant(record: DatasetRecord) -> str:
    """Which accounting decided, for the decision and the ledger."""
    parameters = ", ".join(f"{key} {value}" for key, value in record.filter.parameters().items())
    kind = f"{record.filter.kind} ({parameters})" if parameters else record.filter.kind
    return f"filter {kind}; stated by {ACCOUNTANT}"
