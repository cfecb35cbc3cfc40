"""The gate: the only place where the order of the pipeline is written.

    request -> policy and accountant -> ledger.reserve -> training -> ledger.settle -> release

A denial ends it at the first arrow's target, with every reason and with what would be accepted;
not one byte of data has been read then.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sytff_policy.decision import CounterProposal, Decision, Outcome, Reason
from sytff_policy.errors import SytffError
from sytff_policy.judge import Judgement, Situation, describe_accountant, judge, now_ns
from sytff_policy.ledger import BudgetChanged, BudgetExceeded, Ledger, Turn
from sytff_policy.policy import DATASET_PACKAGE, Bundle, PolicyEngine
from sytff_policy.privacy import RunMechanism
from sytff_policy.proposals import propose
from sytff_policy.request import Researcher, TrainRequest

OPTIMISTIC_ATTEMPTS = 3

LoadBundle = Callable[[str], Bundle]


@dataclass(frozen=True)
class Admission:
    """A decision, and the reservation that an allowing one made.

    Attributes:
      decision: The whole answer.
      run_id: The run that may start; None unless allowed.
      mechanism: What is reserved for it; None unless allowed.
    """

    decision: Decision
    run_id: str | None = None
    mechanism: RunMechanism | None = None


def new_run_id() -> str:
    """An id that no other run has."""
    return f"run-{secrets.token_hex(8)}"


class Gate:
    """Decides requests.

    Args:
      ledger: The book that requests are judged against, and where decisions are recorded.
      engine: Evaluates policies.
      node_bundle: The operator's policies, always on.
      load_bundle: Fetches an owner's bundle by digest.
    """

    def __init__(
        self, ledger: Ledger, engine: PolicyEngine, node_bundle: Bundle, load_bundle: LoadBundle
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._node_bundle = node_bundle
        self._load_bundle = load_bundle

    def check(self, request: TrainRequest, dataset: str, researcher: Researcher) -> Decision:
        """What the answer would be now. Nothing is reserved, spent or recorded."""
        situation = self._situation(dataset, researcher)
        return self._decide(request, situation, judge(request, situation, self._engine))

    def admit(
        self,
        request: TrainRequest,
        dataset: str,
        researcher: Researcher,
        *,
        run_id: str | None = None,
    ) -> Admission:
        """Decides a request, and records the decision; reserves the worst case if it is allowed.

        Judging and reserving are optimistic: if the budget moves in between, the request is
        judged again on what is left. On a busy budget it is judged at last while nobody else can
        write, so that every request gets its answer.

        Args:
          request: The request.
          dataset: Name of the dataset it is about.
          researcher: Who asks, as authenticated.
          run_id: Id of the run that a reservation is for; a new one if not given.

        Raises:
          IdempotencyConflict: If the request's key already started a run.
        """
        if request.idempotency_key is not None:
            self._ledger.check_key(researcher.id, request.idempotency_key, request.digest)
        run_id = run_id or new_run_id()
        for _ in range(OPTIMISTIC_ATTEMPTS):
            situation = self._situation(dataset, researcher)
            judgement = judge(request, situation, self._engine)
            if judgement.outcome is not Outcome.ALLOW:
                return self._refuse(request, situation, judgement)
            try:
                with self._ledger.turn() as turn:
                    return self._reserve(turn, request, situation, judgement, run_id)
            except (BudgetChanged, BudgetExceeded):
                continue
        with self._ledger.turn() as turn:
            situation = self._situation(dataset, researcher, turn)
            judgement = judge(request, situation, self._engine)
            if judgement.outcome is Outcome.ALLOW:
                return self._reserve(turn, request, situation, judgement, run_id)
        return self._refuse(request, situation, judgement)

    def _refuse(
        self, request: TrainRequest, situation: Situation, judgement: Judgement
    ) -> Admission:
        decision = self._decide(request, situation, judgement)
        self._ledger.record_decision(
            decision.decision_id,
            situation.record.name,
            situation.researcher.id,
            _entry(decision, request, situation.researcher),
        )
        return Admission(decision)

    def _reserve(
        self,
        turn: Turn,
        request: TrainRequest,
        situation: Situation,
        judgement: Judgement,
        run_id: str,
    ) -> Admission:
        if judgement.mechanism is None:
            raise AssertionError("allowed without a mechanism")
        decision = self._decide(request, situation, judgement)
        turn.reserve(
            situation.record,
            run_id=run_id,
            decision_id=decision.decision_id,
            researcher=situation.researcher.id,
            mechanism=judgement.mechanism,
            request_digest=request.digest,
            idempotency_key=request.idempotency_key,
            decision=_entry(decision, request, situation.researcher),
            organization=situation.researcher.organization,
        )
        return Admission(decision, run_id, judgement.mechanism)

    def _situation(
        self, dataset: str, researcher: Researcher, turn: Turn | None = None
    ) -> Situation:
        book = turn or self._ledger
        standing = book.standing(dataset, researcher.id, researcher.organization)
        record = standing.record
        bundles, faults = [self._node_bundle], []
        if record.bundle is not None:
            try:
                bundles.append(self._load_bundle(record.bundle))
            except SytffError as error:
                faults.append(_unusable(record.bundle, error))
        return Situation(
            record,
            researcher,
            standing.today,
            standing.in_all,
            tuple(bundles),
            now_ns(),
            tuple(faults),
            standing.limits,
        )

    def _decide(
        self, request: TrainRequest, situation: Situation, judgement: Judgement
    ) -> Decision:
        proposals: tuple[CounterProposal, ...] = ()
        if judgement.outcome is Outcome.DENY:
            proposals = propose(
                request, judgement, situation, lambda r: judge(r, situation, self._engine)
            )
        bundles = {"node": self._node_bundle.digest}
        if situation.record.bundle is not None:
            bundles["dataset"] = situation.record.bundle
        return Decision(
            outcome=judgement.outcome,
            decision_id=f"dec-{secrets.token_hex(8)}",
            reasons=judgement.reasons,
            warnings=judgement.warnings,
            cost=judgement.cost,
            budget=situation.record.budget(),
            dataset=situation.record.name,
            request_digest=request.digest,
            counter_proposals=proposals,
            engine=self._engine.name,
            accountant=describe_accountant(situation.record),
            bundles=bundles,
        )


def _unusable(bundle: str, error: SytffError) -> Reason:
    return Reason(
        code="policy.bundle_unusable",
        source=f"data.{DATASET_PACKAGE}",
        message=f"the dataset's policy {bundle} is not what was activated, so every request is "
        f"denied until its owner activates one again: {error}",
    )


def _entry(decision: Decision, request: TrainRequest, researcher: Researcher) -> dict[str, object]:
    """The decision as the ledger keeps it: with the request, without the proposals' bodies."""
    body = decision.to_json()
    body["counter_proposals"] = [proposal.changes for proposal in decision.counter_proposals]
    body["request"] = request.to_json()
    body["researcher"] = researcher.model_dump(mode="json")
    return body
