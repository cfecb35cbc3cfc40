"""Checking a ledger with code of its own.

Reads nothing but entries. Shares no accounting, hashing or state code with what wrote them:
charges are recomputed with mpmath from the recorded events, and the state of every budget and run
is replayed from the first entry. The steps, for every entry in order:

 1. the leaf is JSON in its one canonical spelling;
 2. its hash is its hash;
 3. its number follows, its `prev` is the previous hash, its time does not go back;
 4. its kind is known and its body has what the kind needs;
 5. decisions: known dataset, an outcome, and no reservation without an allowing decision;
 6. reservations: the event is within the dataset's population, the charge is the event's charge,
    rounded up, the state before is the replayed state, and the filter admits the state after;
 7. progress: forwards, never beyond the reservation;
 8. settlements: what was started is what is charged, the rest of the reservation is freed;
 9. releases: only of completed runs, once.

An empty ledger does not verify.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import mpmath

_ZERO_HASH = "sha256:" + "0" * 64
_STEP = Decimal("1e-9")
_LARGEST = Decimal(1_000_000)


@dataclass(frozen=True)
class Fault:
    """Something wrong with one entry.

    Attributes:
      seq: Number of the entry by its position, from 0; -1 for the log as a whole.
      code: Stable code, such as `verify.hash`.
      message: What is wrong.
    """

    seq: int
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "code": self.code, "message": self.message}


@dataclass
class Report:
    """The outcome of a verification.

    Attributes:
      entries: How many entries were read.
      faults: All faults, in order.
      head: Hash of the last entry.
      budgets: For every dataset the replayed spending, in its filter's units.
    """

    entries: int = 0
    faults: list[Fault] = field(default_factory=list)
    head: str = _ZERO_HASH
    budgets: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.entries > 0 and not self.faults

    def to_json(self) -> dict[str, Any]:
        return {
            "verified": self.ok,
            "entries": self.entries,
            "head": self.head,
            "faults": [fault.to_json() for fault in self.faults],
            "budgets": self.budgets,
        }


def verify_export(lines: Iterable[bytes]) -> Report:
    """Verifies an export: one `{"hash", "leaf"}` object a line."""
    return verify_entries(_from_export(line) for line in lines)


def verify_entries(pairs: Iterable[tuple[str | None, str | None]]) -> Report:
    """Verifies (hash, leaf text) pairs in order; None where one could not be read."""
    replay = _Replay()
    for stated, leaf in pairs:
        replay.entry(stated, leaf)
    report = replay.report
    if not report.entries:
        report.faults.append(Fault(-1, "verify.empty", "there are no entries"))
    report.budgets = {name: state.summary() for name, state in replay.datasets.items()}
    return report


def _from_export(line: bytes) -> tuple[str | None, str | None]:
    try:
        document = json.loads(line, object_pairs_hook=_no_duplicates)
        if set(document) != {"hash", "leaf"}:
            return None, None
        # An export is canonical as a whole, so the leaf's bytes stand in it as they were hashed.
        return document["hash"], _canonical(document["leaf"])
    except (ValueError, TypeError, RecursionError):
        return None, None


@dataclass
class _Dataset:
    population: int
    kind: str
    epsilon: Decimal
    delta: Decimal
    parameter: int
    spent: list[Decimal]
    reserved: list[Decimal]
    bundle: str | None = None

    def summary(self) -> dict[str, Any]:
        return {
            "filter": self.kind,
            "epsilon": str(self.epsilon),
            "spent": [str(value) for value in self.spent],
            "reserved": [str(value) for value in self.reserved],
        }


@dataclass
class _Run:
    dataset: str
    event: dict[str, Any]
    charge: list[Decimal]
    rounds: int
    evaluation: bool
    started: int = 0
    evaluated: bool = False
    status: str = "reserved"


class _Wrong(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Replay:
    """The state that the entries so far make."""

    def __init__(self) -> None:
        self.report = Report()
        self.datasets: dict[str, _Dataset] = {}
        self._runs: dict[str, _Run] = {}
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
            document = json.loads(leaf, object_pairs_hook=_no_duplicates)
            canonical = _canonical(document) == leaf
        except (ValueError, TypeError, RecursionError):
            self._say(seq, "verify.unreadable", "the entry is not JSON")
            self.report.head = stated
            return
        if not canonical:
            self._say(seq, "verify.canonical", "the entry is not in canonical form")
        for step in (self._chain, self._body):
            try:
                step(seq, document)
            except _Wrong as wrong:
                self._say(seq, wrong.code, str(wrong))
            except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
                self._say(seq, "verify.malformed", f"the entry lacks or garbles {error!r}")
        self.report.head = stated

    def _say(self, seq: int, code: str, message: str) -> None:
        self.report.faults.append(Fault(seq, code, message))

    def _chain(self, seq: int, document: dict[str, Any]) -> None:
        if document["seq"] != seq:
            raise _Wrong("verify.order", f"entry {document['seq']} stands at place {seq}")
        if document["prev"] != self.report.head:
            raise _Wrong("verify.chain", "it does not continue the entry before it")
        time = int(document["time_ns"])
        if time < self._time or str(time) != document["time_ns"]:
            raise _Wrong("verify.time", "its time is before the entry before it")
        self._time = time

    def _body(self, seq: int, document: dict[str, Any]) -> None:
        if document["v"] != 1 or set(document) != {"v", "seq", "time_ns", "prev", "kind", "body"}:
            raise _Wrong("verify.format", "the entry is of an unknown format")
        check = self._kinds.get(document["kind"])
        if check is None:
            raise _Wrong("verify.kind", f"unknown kind {document['kind']!r}")
        if (document["kind"] == "genesis") != (seq == 0):
            raise _Wrong("verify.genesis", "the log begins with its genesis entry, and only so")
        check(document["body"])

    def _genesis(self, body: dict[str, Any]) -> None:
        if body["format"] != 1:
            raise _Wrong("verify.format", "the log is of an unknown format")

    def _registered(self, body: dict[str, Any]) -> None:
        name = body["dataset"]
        if name in self.datasets:
            raise _Wrong("verify.registered_twice", f"{name!r} is registered twice")
        made = _dataset(body)
        self.datasets[name] = made
        if not _capacity(made)[0] > 0:
            raise _Wrong("verify.filter", f"the filter of {name!r} admits nothing")

    def _granted(self, body: dict[str, Any]) -> None:
        state = self.datasets[body["dataset"]]
        amount = _number(body["amount"])
        before, after = body["before"], body["after"]
        same = {key: value for key, value in before.items() if key != "epsilon"} == {
            key: value for key, value in after.items() if key != "epsilon"
        }
        sums = _number(before["epsilon"]) == state.epsilon
        sums = sums and _number(after["epsilon"]) == state.epsilon + amount
        state.epsilon += amount
        if not (amount > 0 and same and sums):
            raise _Wrong("verify.grant", "the grant does not add to the budget")

    def _activated(self, body: dict[str, Any]) -> None:
        state = self.datasets[body["dataset"]]
        previous, state.bundle = state.bundle, body["bundle"]
        if body["previous"] != previous or not str(body["bundle"]).startswith("sha256:"):
            raise _Wrong("verify.activation", "it does not follow the active policy")

    def _decision(self, body: dict[str, Any]) -> None:
        name, identity = body["dataset"], body["decision_id"]
        state = self.datasets[name]
        if identity in self._decisions:
            raise _Wrong("verify.decision_twice", f"{identity} is decided twice")
        self._decisions[identity] = (name, body["decision"])
        if body["decision"] not in ("allow", "deny", "review"):
            raise _Wrong("verify.decision", f"unknown decision {body['decision']!r}")
        if (body["decision"] == "allow") == bool(body["reasons"]):
            raise _Wrong("verify.decision", "only what is not allowed has reasons")
        digest = "sha256:" + hashlib.sha256(_canonical(body["request"]).encode()).hexdigest()
        if digest != body["request_digest"]:
            raise _Wrong("verify.request_digest", "the request is not the one that was decided")
        if body["bundles"].get("dataset") != state.bundle:
            raise _Wrong("verify.policy", "it was decided under a policy that was not active")

    def _reservation(self, body: dict[str, Any]) -> None:
        name, identity, run_id = body["dataset"], body["decision_id"], body["run_id"]
        state = self.datasets[name]
        if self._decisions.get(identity) != (name, "allow") or identity in self._reserved_for:
            raise _Wrong("verify.unallowed", f"{run_id} is reserved without an allowing decision")
        self._reserved_for.add(identity)
        charge = _numbers(body["charge"])
        before, after = _numbers(body["reserved_before"]), _numbers(body["reserved_after"])
        rounds, evaluation = _shape(body["event"], state.population)
        replayed = [a + b for a, b in zip(state.reserved, charge, strict=True)]
        states = before == state.reserved and after == replayed
        states = states and _numbers(body["spent"]) == state.spent
        state.reserved = replayed
        self._runs[run_id] = _Run(name, body["event"], charge, rounds, evaluation)
        if not states:
            raise _Wrong("verify.state", "the budget before and after is not the replayed one")
        _check_charge(state, body["event"], charge)
        _check_admitted(state)

    def _progress(self, body: dict[str, Any]) -> None:
        run = self._runs[body["run_id"]]
        started, evaluated = body["rounds_started"], body["evaluation_started"]
        fits = run.started <= started <= run.rounds and run.evaluated <= evaluated
        fits = fits and evaluated <= run.evaluation and run.status == "reserved"
        run.started, run.evaluated = started, evaluated
        if not fits:
            raise _Wrong("verify.progress", "progress goes back or beyond the reservation")

    def _settlement(self, body: dict[str, Any]) -> None:
        run = self._runs[body["run_id"]]
        state = self.datasets[run.dataset]
        if run.status != "reserved" or body["dataset"] != run.dataset:
            raise _Wrong("verify.settled_twice", f"{body['run_id']} is settled twice")
        run.status = body["status"]
        charge = _numbers(body["charge"])
        spent = [a + b for a, b in zip(state.spent, charge, strict=True)]
        reserved = [a - b for a, b in zip(state.reserved, run.charge, strict=True)]
        stated = (
            _numbers(body["spent_before"]) == state.spent
            and _numbers(body["spent_after"]) == spent
            and _numbers(body["reserved_before"]) == state.reserved
            and _numbers(body["reserved_after"]) == reserved
            and _numbers(body["reserved_charge"]) == run.charge
        )
        state.spent, state.reserved = spent, reserved
        if not stated:
            raise _Wrong("verify.state", "the budget before and after is not the replayed one")
        if _shape(body["event"], state.population) != (run.started, run.evaluated):
            raise _Wrong("verify.settlement", "what is settled is not what was started")
        if not _same_mechanism(body["event"], run.event):
            raise _Wrong("verify.settlement", "what is settled is not what was reserved")
        if any(a > b for a, b in zip(charge, run.charge, strict=True)):
            raise _Wrong("verify.overspent", "more is settled than was reserved")
        if run.status not in ("completed", "failed", "cancelled"):
            raise _Wrong("verify.status", f"unknown status {run.status!r}")
        if run.status == "completed" and (run.started, run.evaluated) != (
            run.rounds,
            run.evaluation,
        ):
            raise _Wrong("verify.settlement", "a completed run has not run its rounds")
        _check_charge(state, body["event"], charge)

    def _release(self, body: dict[str, Any]) -> None:
        run = self._runs[body["run_id"]]
        if run.status != "completed":
            raise _Wrong("verify.release", f"a {run.status} run is released")
        run.status = "released"
        if not body["results"]:
            raise _Wrong("verify.release", "nothing is released")

    def _fault(self, body: dict[str, Any]) -> None:
        if body["run_id"] not in self._runs:
            raise _Wrong("verify.fault", "a fault of an unknown run")


def _dataset(body: dict[str, Any]) -> _Dataset:
    stated = body["filter"]
    kind = stated["kind"]
    parameter = {"rdp": "order", "sum": "requests", "zcdp": None}[kind]
    if set(stated) != {"kind", "epsilon", "delta"} | ({parameter} if parameter else set()):
        raise _Wrong("verify.filter", "the filter has other parameters than its kind")
    units = 2 if kind == "sum" else 1
    return _Dataset(
        population=int(body["population"]),
        kind=kind,
        epsilon=_number(stated["epsilon"]),
        delta=_number(stated["delta"]),
        parameter=int(stated[parameter]) if parameter else 0,
        spent=[Decimal(0)] * units,
        reserved=[Decimal(0)] * units,
    )


def _capacity(state: _Dataset) -> list[Decimal]:
    """An upper bound on what the filter may hold, a hair above the exact one."""
    if state.kind == "sum":
        return [state.epsilon, Decimal(state.parameter)]
    if state.kind == "rdp":
        value = mpmath.mpf(str(state.epsilon)) - _conversion(state.parameter, state.delta)
        return [_decimal(value)]
    best = max(
        (mpmath.mpf(str(state.epsilon)) - _conversion(order, state.delta)) / order
        for order in _zcdp_orders()
    )
    return [_decimal(best)]


def _check_admitted(state: _Dataset) -> None:
    total = [a + b for a, b in zip(state.spent, state.reserved, strict=True)]
    if any(value > limit for value, limit in zip(total, _capacity(state), strict=True)):
        raise _Wrong("verify.overspent", "the filter cannot have admitted this")


def _check_charge(state: _Dataset, event: dict[str, Any], charge: list[Decimal]) -> None:
    for stated, exact in zip(charge, _charge(state, event), strict=True):
        # Rounded up to the grid: never below the exact value, never a whole step above it.
        if not exact <= stated <= exact + 2 * _STEP:
            raise _Wrong("verify.charge", f"the event costs {exact:.12f}, not {stated}")


def _charge(state: _Dataset, event: dict[str, Any]) -> list[Decimal]:
    parts = [part for part in event["of"] if part["count"]]
    if not parts:
        return [Decimal(0)] * len(state.spent)
    if state.kind == "zcdp":
        return [_decimal(sum(part["count"] / (2 * _noise(part) ** 2) for part in parts))]
    if state.kind == "rdp":
        return [_decimal(_rdp(parts, state.parameter))]
    share = Decimal(state.delta) / state.parameter
    best = min(_rdp(parts, order) + _conversion(order, share) for order in _sum_orders())
    return [_decimal(max(best, mpmath.mpf(0))), Decimal(1)]


def _rdp(parts: list[dict[str, Any]], order: int) -> Any:
    return sum(part["count"] * _round_rdp(part["of"], order) for part in parts)


def _round_rdp(event: dict[str, Any], order: int) -> Any:
    """Mironov, Talwar, Zhang 2019, section 3.3, as an expectation over binomial counts."""
    with mpmath.workdps(50):
        if event["event"] == "gaussian":
            return order / (2 * mpmath.mpf(event["noise_multiplier"]) ** 2)
        noise = mpmath.mpf(event["of"]["noise_multiplier"])
        if event["clients"] == event["population"] or noise < mpmath.mpf("0.01"):
            return order / (2 * noise**2)
        q = mpmath.mpf(event["clients"]) / event["population"]
        terms = (
            mpmath.binomial(order, k)
            * mpmath.power(1 - q, order - k)
            * mpmath.power(q, k)
            * mpmath.exp(mpmath.mpf(k * k - k) / (2 * noise**2))
            for k in range(order + 1)
        )
        return mpmath.log(mpmath.fsum(terms)) / (order - 1)


def _noise(part: dict[str, Any]) -> Any:
    inner = part["of"]
    inner = inner["of"] if inner["event"] == "poisson_sampled" else inner
    return mpmath.mpf(inner["noise_multiplier"])


def _conversion(order: Any, delta: Decimal) -> Any:
    """Canonne, Kamath, Steinke 2020, Proposition 12."""
    with mpmath.workdps(50):
        a, d = mpmath.mpf(order), mpmath.mpf(str(delta))
        return mpmath.log1p(-1 / a) - mpmath.log(d * a) / (a - 1)


def _sum_orders() -> list[int]:
    return [*range(2, 33), 40, 48, 64, 96, 128, 192, 256]


def _zcdp_orders() -> list[Any]:
    with mpmath.workdps(60):
        return [1 + mpmath.mpf("0.01") * mpmath.mpf("1.06") ** k for k in range(230)]


def _shape(event: dict[str, Any], population: int) -> tuple[int, bool]:
    """(rounds, evaluated) of a run's event, after checking that it is one."""
    if event["event"] != "composed" or not 1 <= len(event["of"]) <= 2:
        raise _Wrong("verify.event", "the event is not a run's")
    rounds = event["of"][0]
    inner = rounds["of"]
    sound = (
        all(part["event"] == "repeated" for part in event["of"])
        and inner["event"] == "poisson_sampled"
        and inner["population"] == population
        and 1 <= inner["clients"] <= population
        and inner["of"]["event"] == "gaussian"
        and _number(inner["of"]["noise_multiplier"]) > 0
        and isinstance(rounds["count"], int)
        and rounds["count"] >= 0
    )
    if len(event["of"]) == 2:
        last = event["of"][1]
        sound = sound and last["count"] == 1 and last["of"]["event"] == "gaussian"
        sound = sound and _number(last["of"]["noise_multiplier"]) > 0
    if not sound:
        raise _Wrong("verify.event", "the event is not one of this dataset's population")
    return rounds["count"], len(event["of"]) == 2


def _same_mechanism(done: dict[str, Any], reserved: dict[str, Any]) -> bool:
    pairs = zip(done["of"], reserved["of"], strict=False)
    return all(a["of"] == b["of"] for a, b in pairs) and len(done["of"]) <= len(reserved["of"])


def _numbers(values: list[str]) -> list[Decimal]:
    return [_number(value) for value in values]


def _number(text: Any) -> Decimal:
    value = Decimal(text) if isinstance(text, str) else None
    if value is None or not (value.is_finite() and 0 <= value <= _LARGEST):
        raise _Wrong("verify.number", f"{text!r} is not an exact number in range")
    return value


def _decimal(value: Any) -> Decimal:
    return Decimal(mpmath.nstr(value, 40, min_fixed=-mpmath.inf, max_fixed=mpmath.inf))


def _canonical(document: Any) -> str:
    """RFC 8785 for what entries hold: sorted keys by UTF-16, shortest numbers, no spaces."""
    if isinstance(document, dict):
        items = sorted(document.items(), key=lambda item: item[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_string(k)}:{_canonical(v)}" for k, v in items) + "}"
    if isinstance(document, list):
        return "[" + ",".join(_canonical(item) for item in document) + "]"
    if isinstance(document, str):
        return _string(document)
    if isinstance(document, float):
        return _float(document)
    return json.dumps(document)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _float(value: float) -> str:
    """ECMAScript's Number::toString, which RFC 8785 prescribes."""
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("not a finite number")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    _, digits, exponent = Decimal(repr(abs(value))).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    if len(text) <= point <= 21:
        return sign + text + "0" * (point - len(text))
    if 0 < point <= 21:
        return f"{sign}{text[:point]}.{text[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{text}"
    power = point - 1
    mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
    return f"{sign}{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document
