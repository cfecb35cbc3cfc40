"""The state machine: every entry in order against the state that the entries before it make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from sytff_policy.ledger.verify.accounting import (
    capacity,
    check_admitted,
    check_charge,
    number,
    numbers,
    same_mechanism,
    shape,
)
from sytff_policy.ledger.verify.canonical import canonical_text, no_duplicates
from sytff_policy.ledger.verify.report import Fault, Report, Wrong
from sytff_policy.ledger.verify.state import DatasetState, RunState


class Replay:
    """The state that the entries so far make."""

    def __init__(self) -> None:
        self.report = Report()
        self.datasets: dict[str, DatasetState] = {}
        self._runs: dict[str, RunState] = {}
        self._decisions: dict[str, tuple[str, str]] = {}
        self._reserved_for: set[str] = set()
        self._time = 0
        self._kinds: dict[str, Callable[[dict[str, Any]], None]] = {
            "genesis": self._genesis,
            "dataset.registered": self._registered,
            "budget.granted": self._granted,
            "policy.activated": self._activated,
            "decision": self._decision,
            "reservation": self._reservation,
            "progress": self._progress,
            "settlement": self._settlement,
            "release": self._release,
            "fault": self._fault,
        }

    def entry(self, stated: str | None, leaf: str | None) -> None:
        """Checks one entry and moves the state."""
        seq = self.report.entries
        self.report.entries += 1
        if not isinstance(stated, str) or not isinstance(leaf, str):
            self._say(seq, "verify.unreadable", "the entry cannot be read")
            return
        actual = "sha256:" + hashlib.sha256(b"\x00" + leaf.encode()).hexdigest()
        if actual != stated:
            self._say(seq, "verify.hash", f"the entry hashes to {actual}, not to {stated}")
        try:
            document = json.loads(leaf, object_pairs_hook=no_duplicates)
            canonical = canonical_text(document) == leaf
        except (ValueError, TypeError, RecursionError):
            self._say(seq, "verify.unreadable", "the entry is not JSON")
            self.report.head = stated
            return
        if not canonical:
            self._say(seq, "verify.canonical", "the entry is not in canonical form")
        for step in (self._chain, self._body):
            try:
                step(seq, document)
            except Wrong as wrong:
                self._say(seq, wrong.code, str(wrong))
            except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
                self._say(seq, "verify.malformed", f"the entry lacks or garbles {error!r}")
        self.report.head = stated

    def _say(self, seq: int, code: str, message: str) -> None:
        self.report.faults.append(Fault(seq, code, message))

    def _chain(self, seq: int, document: dict[str, Any]) -> None:
        if document["seq"] != seq:
            raise Wrong("verify.order", f"entry {document['seq']} stands at place {seq}")
        if document["prev"] != self.report.head:
            raise Wrong("verify.chain", "it does not continue the entry before it")
        time = int(document["time_ns"])
        if time < self._time or str(time) != document["time_ns"]:
            raise Wrong("verify.time", "its time is before the entry before it")
        self._time = time

    def _body(self, seq: int, document: dict[str, Any]) -> None:
        if document["v"] != 1 or set(document) != {"v", "seq", "time_ns", "prev", "kind", "body"}:
            raise Wrong("verify.format", "the entry is of an unknown format")
        check = self._kinds.get(document["kind"])
        if check is None:
            raise Wrong("verify.kind", f"unknown kind {document['kind']!r}")
        if (document["kind"] == "genesis") != (seq == 0):
            raise Wrong("verify.genesis", "the log begins with its genesis entry, and only so")
        check(document["body"])

    def _genesis(self, body: dict[str, Any]) -> None:
        if body["format"] != 1:
            raise Wrong("verify.format", "the log is of an unknown format")

    def _registered(self, body: dict[str, Any]) -> None:
        name = body["dataset"]
        if name in self.datasets:
            raise Wrong("verify.registered_twice", f"{name!r} is registered twice")
        made = _dataset(body)
        self.datasets[name] = made
        if not capacity(made)[0] > 0:
            raise Wrong("verify.filter", f"the filter of {name!r} admits nothing")

    def _granted(self, body: dict[str, Any]) -> None:
        state = self.datasets[body["dataset"]]
        amount = number(body["amount"])
        before, after = body["before"], body["after"]
        same = {key: value for key, value in before.items() if key != "epsilon"} == {
            key: value for key, value in after.items() if key != "epsilon"
        }
        sums = number(before["epsilon"]) == state.epsilon
        sums = sums and number(after["epsilon"]) == state.epsilon + amount
        state.epsilon += amount
        if not (amount > 0 and same and sums):
            raise Wrong("verify.grant", "the grant does not add to the budget")

    def _activated(self, body: dict[str, Any]) -> None:
        state = self.datasets[body["dataset"]]
        previous, state.bundle = state.bundle, body["bundle"]
        if body["previous"] != previous or not str(body["bundle"]).startswith("sha256:"):
            raise Wrong("verify.activation", "it does not follow the active policy")

    def _decision(self, body: dict[str, Any]) -> None:
        name, identity = body["dataset"], body["decision_id"]
        state = self.datasets[name]
        if identity in self._decisions:
            raise Wrong("verify.decision_twice", f"{identity} is decided twice")
        self._decisions[identity] = (name, body["decision"])
        if body["decision"] not in ("allow", "deny", "review"):
            raise Wrong("verify.decision", f"unknown decision {body['decision']!r}")
        if (body["decision"] == "allow") == bool(body["reasons"]):
            raise Wrong("verify.decision", "only what is not allowed has reasons")
        digest = "sha256:" + hashlib.sha256(canonical_text(body["request"]).encode()).hexdigest()
        if digest != body["request_digest"]:
            raise Wrong("verify.request_digest", "the request is not the one that was decided")
        if body["bundles"].get("dataset") != state.bundle:
            raise Wrong("verify.policy", "it was decided under a policy that was not active")

    def _reservation(self, body: dict[str, Any]) -> None:
        name, identity, run_id = body["dataset"], body["decision_id"], body["run_id"]
        state = self.datasets[name]
        if self._decisions.get(identity) != (name, "allow") or identity in self._reserved_for:
            raise Wrong("verify.unallowed", f"{run_id} is reserved without an allowing decision")
        self._reserved_for.add(identity)
        charge = numbers(body["charge"])
        before, after = numbers(body["reserved_before"]), numbers(body["reserved_after"])
        rounds, evaluation = shape(body["event"], state.population)
        replayed = [a + b for a, b in zip(state.reserved, charge, strict=True)]
        states = before == state.reserved and after == replayed
        states = states and numbers(body["spent"]) == state.spent
        state.reserved = replayed
        self._runs[run_id] = RunState(name, body["event"], charge, rounds, evaluation)
        if not states:
            raise Wrong("verify.state", "the budget before and after is not the replayed one")
        check_charge(state, body["event"], charge)
        check_admitted(state)

    def _progress(self, body: dict[str, Any]) -> None:
        run = self._runs[body["run_id"]]
        started, evaluated = body["rounds_started"], body["evaluation_started"]
        fits = run.started <= started <= run.rounds and run.evaluated <= evaluated
        fits = fits and evaluated <= run.evaluation and run.status == "reserved"
        run.started, run.evaluated = started, evaluated
        if not fits:
            raise Wrong("verify.progress", "progress goes back or beyond the reservation")

    def _settlement(self, body: dict[str, Any]) -> None:
        run = self._runs[body["run_id"]]
        state = self.datasets[run.dataset]
        if run.status != "reserved" or body["dataset"] != run.dataset:
            raise Wrong("verify.settled_twice", f"{body['run_id']} is settled twice")
        run.status = body["status"]
        charge = numbers(body["charge"])
        spent = [a + b for a, b in zip(state.spent, charge, strict=True)]
        reserved = [a - b for a, b in zip(state.reserved, run.charge, strict=True)]
        stated = (
            numbers(body["spent_before"]) == state.spent
            and numbers(body["spent_after"]) == spent
            and numbers(body["reserved_before"]) == state.reserved
            and numbers(body["reserved_after"]) == reserved
            and numbers(body["reserved_charge"]) == run.charge
        )
        state.spent, state.reserved = spent, reserved
        if not stated:
            raise Wrong("verify.state", "the budget before and after is not the replayed one")
        if shape(body["event"], state.population) != (run.started, run.evaluated):
            raise Wrong("verify.settlement", "what is settled is not what was started")
        if not same_mechanism(body["event"], run.event):
            raise Wrong("verify.settlement", "what is settled is not what was reserved")
        if any(a > b for a, b in zip(charge, run.charge, strict=True)):
            raise Wrong("verify.overspent", "more is settled than was reserved")
        if run.status not in ("completed", "failed", "cancelled"):
            raise Wrong("verify.status", f"unknown status {run.status!r}")
        if run.status == "completed" and (run.started, run.evaluated) != (
            run.rounds,
            run.evaluation,
        ):
            raise Wrong("verify.settlement", "a completed run has not run its rounds")
        check_charge(state, body["event"], charge)

    def _release(self, body: dict[str, Any]) -> None:
        run = self._runs[body["run_id"]]
        if run.status != "completed":
            raise Wrong("verify.release", f"a {run.status} run is released")
        run.status = "released"
        if not body["results"]:
            raise Wrong("verify.release", "nothing is released")

    def _fault(self, body: dict[str, Any]) -> None:
        if body["run_id"] not in self._runs:
            raise Wrong("verify.fault", "a fault of an unknown run")


def _dataset(body: dict[str, Any]) -> DatasetState:
    stated = body["filter"]
    kind = stated["kind"]
    parameter = {"rdp": "order", "sum": "requests", "zcdp": None}[kind]
    if set(stated) != {"kind", "epsilon", "delta"} | ({parameter} if parameter else set()):
        raise Wrong("verify.filter", "the filter has other parameters than its kind")
    units = 2 if kind == "sum" else 1
    return DatasetState(
        population=int(body["population"]),
        kind=kind,
        epsilon=number(stated["epsilon"]),
        delta=number(stated["delta"]),
        parameter=int(stated[parameter]) if parameter else 0,
        spent=[Decimal(0)] * units,
        reserved=[Decimal(0)] * units,
    )
