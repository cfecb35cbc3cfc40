"""Judging one request: policy and accountant side by side, without side effects.

A judgement reads public metadata and the book's state, never a row of data, and spends nothing.
The gate reserves on its strength; the search for counter-proposals asks for many.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sytff_policy.decision import Cost, Outcome, Reason
from sytff_policy.ledger import BudgetRecord, DatasetRecord, Limit, UsageRecord
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
from sytff_policy.privacy.exact import precise
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
      limits: The caps that hold for the researcher inside the dataset's budgets.
    """

    record: DatasetRecord
    researcher: Researcher
    today: UsageRecord
    in_all: UsageRecord
    bundles: tuple[Bundle, ...]
    now_ns: int
    faults: tuple[Reason, ...] = ()
    limits: tuple[Limit, ...] = ()

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


def affordable(request: TrainRequest, situation: Situation) -> bool:
    """Whether all budgets and caps surely admit the request now; fast enough to search by."""
    mechanism = mechanism_of(request, situation.record.population)
    if mechanism is None:
        return False
    try:
        event, budgets = mechanism.event(), situation.record.budgets
        # Where certificates take longer, a bound on them guides the search.
        charges = {budget.name: budget.filter.quick_charge(event) for budget in budgets}
        return not _refusals(situation, charges)
    except UnboundedLoss:
        return False


def judge(request: TrainRequest, situation: Situation, engine: PolicyEngine) -> Judgement:
    """Judges `request`: all reasons of both packages and of the accountant, at once."""
    record = situation.record
    mechanism = mechanism_of(request, record.population)
    charge, cost, accounting = _account(situation, mechanism, request)
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
    situation: Situation, mechanism: RunMechanism | None, request: TrainRequest
) -> tuple[Loss | None, Cost, tuple[Reason, ...]]:
    record = situation.record
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
    try:
        charges = _charges(record, mechanism)
        charge = charges[record.budgets[0].name]
        charge_epsilon = record.charge_epsilon(charge)
        refusals = _refusals(situation, charges)
        cost = Cost(stated_epsilon(mechanism.event(), delta), charge_epsilon, delta)
        reasons = (
            _exceeded(record, refusal, cost, charges)
            if isinstance(refusal, BudgetRecord)
            else _capped(record, refusal, charges)
            for refusal in refusals
        )
        return charge, cost, tuple(reasons)
    except UnboundedLoss:
        return None, unknown, (_unbounded(request),)


def _charges(record: DatasetRecord, mechanism: RunMechanism) -> dict[str, Loss]:
    """What every budget of the dataset would be charged."""
    event = mechanism.event()
    return {budget.name: budget.filter.charge(event) for budget in record.budgets}


def _refusals(situation: Situation, charges: dict[str, Loss]) -> list[BudgetRecord | Limit]:
    """The budgets and the caps that do not admit their charge."""
    full = [
        budget
        for budget in situation.record.budgets
        if not budget.filter.admits(budget.used + charges[budget.name])
    ]
    capped = [limit for limit in situation.limits if not limit.admits(charges[limit.budget])]
    return [*full, *capped]


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


def _exceeded(
    record: DatasetRecord, refusing: BudgetRecord, cost: Cost, charges: dict[str, Loss]
) -> Reason:
    budget = refusing.view()
    charge = refusing.charge_epsilon(charges[refusing.name])
    alone = "no finite epsilon" if cost.epsilon is None else f"epsilon {short(cost.epsilon)} alone"
    of = "the budget" if refusing.name == record.name else f"the shared budget {refusing.name!r}"
    return Reason(
        code="accountant.budget_exceeded",
        source=ACCOUNTANT_SOURCE,
        field="budget.remaining",
        limit=budget.remaining,
        actual=charge,
        message=f"this request would take {short(charge)} of {of} ({alone}, at delta "
        f"{budget.delta:g}); {short(budget.remaining)} of {short(budget.epsilon)} remains",
    )


def _capped(record: DatasetRecord, limit: Limit, charges: dict[str, Loss]) -> Reason:
    cap = limit.view()
    after = limit.filter.epsilon_of(limit.used + charges[limit.budget])
    with precise():
        charge = after - cap.spent
    of = "the budget" if limit.budget == record.name else f"the shared budget {limit.budget!r}"
    return Reason(
        code=f"accountant.{limit.scope}_cap",
        source=ACCOUNTANT_SOURCE,
        field="budget.remaining",
        limit=cap.remaining,
        actual=charge,
        message=f"{limit.scope} {limit.subject!r} may use epsilon {short(cap.epsilon)} of {of}; "
        f"this request would take {short(charge)}, and {short(cap.remaining)} remains",
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
