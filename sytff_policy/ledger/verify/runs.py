"""Entries about requests: decisions, reviews, reservations, progress, settlements, releases."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sytff_policy.ledger.verify.accounting import check_admitted, check_charge
from sytff_policy.ledger.verify.canonical import Decoder
from sytff_policy.ledger.verify.events import (
    digest,
    integer,
    keys,
    mechanism_of_event,
    mechanism_of_request,
    numbers,
    text,
)
from sytff_policy.ledger.verify.report import Wrong
from sytff_policy.ledger.verify.state import (
    BudgetState,
    DatasetState,
    DecisionState,
    Part,
    ReviewState,
    RunState,
    Share,
    State,
)

_RESERVED_STATE = frozenset({"charge", "spent", "reserved_before", "reserved_after"})
_SETTLED_STATE = frozenset(
    {
        "charge",
        "reserved_charge",
        "spent_before",
        "spent_after",
        "reserved_before",
        "reserved_after",
    }
)
_RESERVATION = _RESERVED_STATE | {"run_id", "decision_id", "dataset", "event", "mechanism_digest"}
_SETTLEMENT = _SETTLED_STATE | {"run_id", "dataset", "status", "code", "event"}
_SHARED = frozenset({"budget", "also"})
_REVIEWED = frozenset({"decision_id", "dataset", "outcome", "by"})
_STATUSES = ("completed", "failed", "cancelled")


class RunSteps:
    """What these entries do to the state.

    Args:
      state: The state that they change.
      decoder: What decoded the entry at hand.
      keep_events: Whether to keep what was executed.
    """

    def __init__(self, state: State, decoder: Decoder, *, keep_events: bool) -> None:
        self._state = state
        self._decoder = decoder
        self._keep_events = keep_events

    def kinds(self) -> dict[str, Callable[[dict[str, Any]], None]]:
        """The check of every kind of entry."""
        return {
            "decision": self._decision,
            "review.resolved": self._reviewed,
            "reservation": self._reservation,
            "progress": self._progress,
            "settlement": self._settlement,
            "release": self._release,
            "fault": self._fault,
        }

    def _decision(self, body: dict[str, Any]) -> None:
        state = self._state
        name, identity = body["dataset"], text(body["decision_id"])
        dataset = self._dataset(name)
        if identity in state.decisions:
            raise Wrong("verify.decision_twice", f"{identity} is decided twice")
        state.decisions.add(identity)
        outcome, request = body["decision"], body["request"]
        if outcome not in ("allow", "deny", "review"):
            raise Wrong("verify.decision", f"unknown decision {outcome!r}")
        asked_by = body["researcher"]
        organization = asked_by.get("organization", "")
        if outcome == "allow":
            mechanism = mechanism_of_request(request, dataset.population)
            state.pending = DecisionState(
                identity, name, mechanism, text(asked_by["id"]), organization
            )
        elif outcome == "review":
            state.reviews[identity] = ReviewState(
                name, body["request_digest"], text(asked_by["id"]), "waits"
            )
        if (outcome == "allow") == bool(body["reasons"]):
            raise Wrong("verify.decision", "only what is not allowed has reasons")
        self._check_binding(body, dataset, outcome)
        if "review" in body:
            self._check_approved(body)

    def _check_binding(self, body: dict[str, Any], dataset: DatasetState, outcome: str) -> None:
        asked = self._decoder.text(body["request"]).encode()
        if "sha256:" + hashlib.sha256(asked).hexdigest() != body["request_digest"]:
            raise Wrong("verify.request_digest", "the request is not the one that was decided")
        bundles = body["bundles"]
        if bundles.get("dataset") != dataset.bundle:
            raise Wrong("verify.policy", "it was decided under a policy that was not active")
        node = digest(bundles["node"])
        # Logs that began before the operator's policy was recorded name it in decisions alone.
        if self._state.node_bundle is not None and node != self._state.node_bundle:
            raise Wrong("verify.policy", "it was decided under another policy than the operator's")
        if outcome == "allow" and dataset.bundle is None:
            raise Wrong("verify.policy", "it was allowed without a policy of the dataset")

    def _check_approved(self, body: dict[str, Any]) -> None:
        review = self._state.reviews.get(body["review"])
        asked = (body["dataset"], body["request_digest"], body["researcher"]["id"], "approved")
        if review is None or tuple(review) != asked:
            raise Wrong("verify.review", f"{body['review']!r} did not approve this request")

    def _reviewed(self, body: dict[str, Any]) -> None:
        keys(body, _REVIEWED)
        identity, outcome = body["decision_id"], body["outcome"]
        review = self._state.reviews.get(identity)
        if review is None or review.status != "waits" or review.dataset != body["dataset"]:
            raise Wrong("verify.review", f"{identity!r} waits for no review")
        if outcome not in ("approved", "refused"):
            raise Wrong("verify.review", f"unknown outcome {outcome!r}")
        self._state.reviews[identity] = review._replace(status=outcome)

    def _reservation(self, body: dict[str, Any]) -> None:
        state = self._state
        decision, state.pending = state.pending, None
        keys(body, _RESERVATION, _SHARED)
        name, run_id = body["dataset"], text(body["run_id"])
        dataset = self._dataset(name)
        if run_id in state.open or run_id in state.closed:
            raise Wrong("verify.reserved_twice", f"{run_id} is reserved twice")
        if decision is None or (decision.identity, decision.dataset) != (body["decision_id"], name):
            raise Wrong("verify.unallowed", f"{run_id} is reserved without an allowing decision")
        mechanism = mechanism_of_event(body["event"])
        run = RunState(name, mechanism, {}, decision.researcher, decision.organization)
        state.open[run_id] = run
        state.requests[name, decision.researcher] += 1
        complaints = [
            complaint
            for budget_name, stated in self._by_budget(body, dataset, _RESERVED_STATE)
            if (complaint := self._hold(run, budget_name, stated)) is not None
        ]
        if mechanism[0].population != dataset.population:
            raise Wrong("verify.event", "the event is not one of this dataset's population")
        if mechanism != decision.mechanism:
            raise Wrong("verify.mechanism", "what is reserved is not what was decided")
        if not all(part.times for part in mechanism):
            raise Wrong("verify.event", "nothing is reserved")
        if body["mechanism_digest"] != self._digest(body["event"]):
            raise Wrong("verify.mechanism_digest", "the digest is not that of the event")
        for complaint in complaints:
            raise complaint

    def _hold(self, run: RunState, name: str, stated: dict[str, Any]) -> Wrong | None:
        """Moves one budget by a reservation; what is wrong is returned, and the others moved."""
        budget = self._state.budgets[name]
        units = len(budget.spent)
        charge = numbers(stated["charge"], units)
        before, after = (
            numbers(stated["reserved_before"], units),
            numbers(stated["reserved_after"], units),
        )
        replayed = _sum(budget.reserved, charge)
        matches = before == budget.reserved and after == replayed
        matches = matches and numbers(stated["spent"], units) == budget.spent
        budget.reserved, run.charges[name] = replayed, charge
        for scope, subject in _subjects(run):
            share = self._share(name, scope, subject, budget)
            share[1][:] = _sum(share[1], charge)
        if not matches:
            return Wrong("verify.state", "the budget before and after is not the replayed one")
        try:
            check_charge(budget.filter, run.mechanism, charge)
            check_admitted(budget.filter, _sum(budget.spent, budget.reserved), f"budget {name!r}")
            for scope, subject in _subjects(run):
                self._check_cap(budget, name, scope, subject)
        except Wrong as wrong:
            return wrong
        return None

    def _check_cap(self, budget: BudgetState, name: str, scope: str, subject: str) -> None:
        caps = self._state.caps
        cap = caps.get((name, scope, subject), caps.get((name, scope, "*"))) if caps else None
        if cap is not None:
            spent, reserved = self._share(name, scope, subject, budget)
            limit = budget.filter._replace(epsilon=cap)
            check_admitted(limit, _sum(spent, reserved), f"the cap of {scope} {subject!r}")

    def _progress(self, body: dict[str, Any]) -> None:
        keys(body, frozenset({"run_id", "rounds_started", "evaluation_started"}))
        run = self._run(body["run_id"])
        started, evaluated = integer(body["rounds_started"], 0), body["evaluation_started"]
        if type(evaluated) is not bool:
            raise Wrong("verify.malformed", "evaluation_started is true or false")
        fits = run.started <= started <= run.rounds and run.evaluated <= evaluated
        fits = fits and evaluated <= run.evaluation
        run.started, run.evaluated = started, evaluated
        if not fits:
            raise Wrong("verify.progress", "progress goes back or beyond the reservation")

    def _settlement(self, body: dict[str, Any]) -> None:
        keys(body, _SETTLEMENT, _SHARED)
        run_id, status = body["run_id"], body["status"]
        run = self._run(run_id)
        if body["dataset"] != run.dataset:
            raise Wrong("verify.settlement", f"{run_id} is of another dataset")
        if status not in _STATUSES:
            raise Wrong("verify.status", f"unknown status {status!r}")
        del self._state.open[run_id]
        self._state.closed[run_id] = status
        executed = mechanism_of_event(body["event"])
        dataset = self._dataset(run.dataset)
        complaints = [
            complaint
            for name, stated in self._by_budget(body, dataset, _SETTLED_STATE)
            if (complaint := self._spend(run, executed, name, stated)) is not None
        ]
        if (executed[0].times, len(executed) == 2) != (run.started, run.evaluated):
            raise Wrong("verify.settlement", "what is settled is not what was started")
        pairs = zip(executed, run.mechanism, strict=False)
        if any(done[1:] != reserved[1:] for done, reserved in pairs):
            raise Wrong("verify.settlement", "what is settled is not what was reserved")
        whole = (run.started, run.evaluated) == (run.rounds, run.evaluation)
        if status == "completed" and not whole:
            raise Wrong("verify.settlement", "a completed run has not run its rounds")
        if status == "completed" and body["code"] != "":
            raise Wrong("verify.status", "a completed run has no code of a failure")
        if status == "completed" and run.faulty:
            raise Wrong("verify.status", "a run with a fault is completed")
        for complaint in complaints:
            raise complaint

    def _spend(
        self, run: RunState, executed: tuple[Part, ...], name: str, stated: dict[str, Any]
    ) -> Wrong | None:
        """Moves one budget by a settlement; what is wrong is returned, and the others moved."""
        budget = self._state.budgets[name]
        units = len(budget.spent)
        charge, held = numbers(stated["charge"], units), run.charges[name]
        spent = _sum(budget.spent, charge)
        reserved = [a - b for a, b in zip(budget.reserved, held, strict=True)]
        matches = (
            numbers(stated["spent_before"], units) == budget.spent
            and numbers(stated["spent_after"], units) == spent
            and numbers(stated["reserved_before"], units) == budget.reserved
            and numbers(stated["reserved_after"], units) == reserved
            and numbers(stated["reserved_charge"], units) == held
        )
        budget.spent, budget.reserved = spent, reserved
        for scope, subject in _subjects(run):
            share = self._share(name, scope, subject, budget)
            share[0][:] = _sum(share[0], charge)
            share[1][:] = [a - b for a, b in zip(share[1], held, strict=True)]
        if self._keep_events:
            for part in executed:
                budget.executed[part._replace(times=1)] += part.times
        if not matches:
            return Wrong("verify.state", "the budget before and after is not the replayed one")
        if any(a > b for a, b in zip(charge, held, strict=True)):
            return Wrong("verify.overspent", "more is settled than was reserved")
        try:
            check_charge(budget.filter, executed, charge)
        except Wrong as wrong:
            return wrong
        return None

    def _release(self, body: dict[str, Any]) -> None:
        keys(body, frozenset({"run_id", "dataset", "results"}))
        status = self._state.closed.get(body["run_id"])
        if status != "completed":
            raise Wrong("verify.release", f"a run is released that is {status or 'not settled'}")
        self._state.closed[body["run_id"]] = "released"
        if not body["results"]:
            raise Wrong("verify.release", "nothing is released")
        for result in body["results"].values():
            digest(result)

    def _fault(self, body: dict[str, Any]) -> None:
        keys(body, frozenset({"run_id", "dataset", "code"}))
        run_id = body["run_id"]
        if run_id in self._state.open:
            self._state.open[run_id].faulty = True
        elif self._state.closed.get(run_id) == "completed":
            self._state.closed[run_id] = "faulty"
        elif run_id not in self._state.closed:
            raise Wrong("verify.fault", "a fault of an unknown run")

    def _by_budget(
        self, body: dict[str, Any], dataset: DatasetState, names: frozenset[str]
    ) -> list[tuple[str, dict[str, Any]]]:
        """The stated state of every budget that the dataset is charged to, and of no other."""
        own = body["dataset"]
        found = [(body.get("budget", own), {key: body[key] for key in names})]
        for other in body.get("also", ()):
            keys(other, names | {"budget"})
            found.append((other["budget"], other))
        if tuple(name for name, _ in found) != dataset.budgets:
            raise Wrong("verify.budgets", "it is not charged to the budgets of its dataset")
        return found

    def _share(
        self, name: str, scope: str, subject: str, budget: BudgetState
    ) -> tuple[list[Decimal], list[Decimal]]:
        key: Share = (name, scope, subject)
        found = self._state.shares.get(key)
        if found is None:
            found = self._state.shares[key] = (budget.filter.zero, budget.filter.zero)
        return found

    def _run(self, run_id: Any) -> RunState:
        run = self._state.open.get(run_id)
        if run is None:
            closed = self._state.closed.get(run_id)
            what = f"is {closed} already" if closed else "was never reserved"
            raise Wrong("verify.unknown_run", f"{run_id} {what}")
        return run

    def _dataset(self, name: Any) -> DatasetState:
        dataset = self._state.datasets.get(name)
        if dataset is None:
            raise Wrong("verify.unknown_dataset", f"there is no dataset {name!r}")
        return dataset

    def _digest(self, document: Any) -> str:
        return "sha256:" + hashlib.sha256(self._decoder.text(document).encode()).hexdigest()


def _subjects(run: RunState) -> list[tuple[str, str]]:
    pairs = [("researcher", run.researcher)]
    if run.organization:
        pairs.append(("organization", run.organization))
    return pairs


def _sum(first: list[Decimal], second: list[Decimal]) -> list[Decimal]:
    return [a + b for a, b in zip(first, second, strict=True)]
