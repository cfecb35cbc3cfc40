"""The budget book: what is granted, spent and reserved, moved only together with a log entry.

Every function here runs inside one write transaction that appends the entry and moves the book, so
that either both happen or neither does. The filter runs in that same transaction.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from sytff_policy.canonical import canonical_bytes, decimal_text, digest
from sytff_policy.decision import BudgetView
from sytff_policy.errors import InvalidInput, NotFound, SytffError
from sytff_policy.ledger import log
from sytff_policy.ledger.schema import datasets, idempotency, runs, usage
from sytff_policy.privacy import Loss, PrivacyFilter, RunMechanism, exact, filter_from_json
from sytff_policy.privacy.exact import precise

RESERVED = "reserved"
SETTLED = "settled"
RELEASED = "released"


class BudgetChanged(SytffError):
    """The book moved since the request was judged; judge it again."""

    code = "ledger.budget_changed"


class BudgetExceeded(SytffError):
    """The filter refuses the charge. Nothing was reserved."""

    code = "ledger.budget_exceeded"


class LedgerFault(SytffError):
    """A state transition that must never happen was asked for. Nothing was changed."""

    code = "ledger.fault"


class IdempotencyConflict(SytffError):
    """The idempotency key was used before."""

    code = "request.idempotency_key_used"

    def __init__(self, key: str, run_id: str, *, same_request: bool) -> None:
        self.run_id = run_id
        self.same_request = same_request
        what = "this very request" if same_request else "another request"
        super().__init__(
            f"idempotency_key {key!r} was already used for {what} (run {run_id}); "
            "nothing new was started. Use a new key to start another run"
        )


@dataclass(frozen=True)
class DatasetRecord:
    """A registered dataset and the state of its budget."""

    name: str
    version: str
    population: int
    owner: str
    description: dict[str, Any]
    bundle: str | None
    filter: PrivacyFilter
    spent: Loss
    reserved: Loss
    revision: int

    @property
    def used(self) -> Loss:
        return self.spent + self.reserved

    def budget(self) -> BudgetView:
        """The budget in epsilon: spent + reserved + remaining == epsilon, exactly."""
        spent = self.filter.epsilon_of(self.spent)
        used = self.filter.epsilon_of(self.used)
        with precise():
            return BudgetView(
                epsilon=self.filter.epsilon,
                delta=self.filter.delta,
                spent=spent,
                reserved=used - spent,
                remaining=self.filter.epsilon - used,
            )

    def charge_epsilon(self, charge: Loss) -> Decimal:
        """What a charge takes from `remaining`, in epsilon."""
        with precise():
            after = self.filter.epsilon_of(self.used + charge)
            return after - self.filter.epsilon_of(self.used)


@dataclass(frozen=True)
class RunRecord:
    """A run's row: its reservation and how far it may have got."""

    run_id: str
    decision_id: str
    dataset: str
    researcher: str
    state: str
    mechanism: RunMechanism
    charge: tuple[str, ...]
    rounds_started: int
    evaluation_started: bool


@dataclass(frozen=True)
class UsageRecord:
    """Allowed requests of one researcher on one dataset, and the epsilon charged for them."""

    requests: int
    epsilon: Decimal


def find(connection: Connection, name: str) -> DatasetRecord:
    """The dataset called `name`.

    Raises:
      NotFound: If there is none; the error lists those that exist.
    """
    row = connection.execute(sa.select(datasets).where(datasets.c.name == name)).one_or_none()
    if row is None:
        names = connection.execute(sa.select(datasets.c.name)).scalars().all()
        raise NotFound("dataset", name, list(names))
    return _record(row)


def find_all(connection: Connection) -> list[DatasetRecord]:
    """All datasets, by name."""
    rows = connection.execute(sa.select(datasets).order_by(datasets.c.name)).all()
    return [_record(row) for row in rows]


def find_run(connection: Connection, run_id: str) -> RunRecord:
    """The run `run_id`."""
    row = connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).one_or_none()
    if row is None:
        raise NotFound("run", run_id)
    return _run(row)


def open_runs(connection: Connection) -> list[RunRecord]:
    """Runs whose reservation is not settled."""
    rows = connection.execute(sa.select(runs).where(runs.c.state == RESERVED)).all()
    return [_run(row) for row in rows]


def register(
    connection: Connection,
    *,
    name: str,
    version: str,
    population: int,
    owner: str,
    description: dict[str, Any],
    privacy_filter: PrivacyFilter,
) -> log.Entry:
    """Registers a dataset version with its budget and filter, both fixed for good."""
    taken = connection.execute(
        sa.select(datasets.c.name).where(
            (datasets.c.name == name) | (datasets.c.version == version)
        )
    ).scalar()
    if taken is not None:
        problem = "a dataset of this name exists" if taken == name else "this data is registered"
        raise InvalidInput(
            "NAME",
            f"{problem} as {taken!r}: its people's budget cannot be started again",
            value=name,
            remedy="Grant the existing dataset more budget, or register data that is new.",
            code="dataset.exists",
        )
    entry = log.append(
        connection,
        "dataset.registered",
        {
            "dataset": name,
            "version": version,
            "population": population,
            "owner": owner,
            "description": description,
            "filter": privacy_filter.to_json(),
        },
        dataset=name,
    )
    connection.execute(
        datasets.insert().values(
            name=name,
            version=version,
            population=population,
            owner=owner,
            description=_text(description),
            filter=_text(privacy_filter.to_json()),
            spent=_text(privacy_filter.zero.to_json()),
            reserved=_text(privacy_filter.zero.to_json()),
            revision=0,
        )
    )
    return entry


def grant(connection: Connection, name: str, amount: Decimal, *, by: str) -> log.Entry:
    """Adds `amount` (> 0) to a dataset's epsilon. Budgets are never taken back."""
    record = find(connection, name)
    with precise():
        after = record.filter.with_epsilon(record.filter.epsilon + amount)
    entry = log.append(
        connection,
        "budget.granted",
        {
            "dataset": name,
            "amount": amount,
            "by": by,
            "before": record.filter.to_json(),
            "after": after.to_json(),
        },
        dataset=name,
    )
    _move(connection, record, filter=_text(after.to_json()))
    return entry


def activate(
    connection: Connection, name: str, bundle: str, *, revision: str, by: str
) -> log.Entry:
    """Makes `bundle` (a digest) the dataset's policy."""
    record = find(connection, name)
    entry = log.append(
        connection,
        "policy.activated",
        {
            "dataset": name,
            "bundle": bundle,
            "revision": revision,
            "previous": record.bundle,
            "by": by,
        },
        dataset=name,
    )
    _move(connection, record, bundle=bundle)
    return entry


def reserve(
    connection: Connection,
    record: DatasetRecord,
    *,
    run_id: str,
    decision_id: str,
    researcher: str,
    mechanism: RunMechanism,
    request_digest: str,
    idempotency_key: str | None,
) -> log.Entry:
    """Reserves a run's worst case, if the filter admits it on top of all that is used.

    Args:
      connection: A connection that holds the write lock.
      record: The dataset as the request was judged against it.
      run_id: Id of the run that the reservation is for.
      decision_id: The decision that allows it.
      researcher: Who asked.
      mechanism: What the run may execute at most.
      request_digest: Digest of the request.
      idempotency_key: The request's key, if it has one.

    Raises:
      BudgetChanged: If the book moved since `record` was read.
      BudgetExceeded: If the filter refuses.
      IdempotencyConflict: If the key was used before.
    """
    current = find(connection, record.name)
    if current.revision != record.revision:
        raise BudgetChanged(f"the budget of {record.name!r} moved while the request was judged")
    event = mechanism.event()
    charge = current.filter.charge(event)
    after = current.reserved + charge
    if not current.filter.admits(current.spent + after):
        raise BudgetExceeded(f"the filter of {record.name!r} refuses this charge")
    if idempotency_key is not None:
        _claim(connection, researcher, idempotency_key, request_digest, run_id)
    entry = log.append(
        connection,
        "reservation",
        {
            "run_id": run_id,
            "decision_id": decision_id,
            "dataset": record.name,
            "event": event.to_json(),
            "mechanism_digest": digest(event.to_json()),
            "charge": charge.to_json(),
            "spent": current.spent.to_json(),
            "reserved_before": current.reserved.to_json(),
            "reserved_after": after.to_json(),
        },
        dataset=record.name,
        researcher=researcher,
        subject=run_id,
    )
    connection.execute(
        runs.insert().values(
            run_id=run_id,
            decision_id=decision_id,
            dataset=record.name,
            researcher=researcher,
            state=RESERVED,
            mechanism=_text(_mechanism_json(mechanism)),
            charge=_text(charge.to_json()),
            rounds_started=0,
            evaluation_started=0,
        )
    )
    _count_usage(connection, current, researcher, current.charge_epsilon(charge))
    _move(connection, current, reserved=_text(after.to_json()))
    return entry


def progress(
    connection: Connection, run_id: str, *, rounds_started: int, evaluation_started: bool
) -> log.Entry:
    """Records, before they begin, that a run may draw noise for more rounds.

    Raises:
      LedgerFault: If the run is settled, goes backwards or past its reservation.
    """
    run = find_run(connection, run_id)
    forwards = run.rounds_started <= rounds_started <= run.mechanism.rounds
    if run.state != RESERVED or not forwards or (run.evaluation_started > evaluation_started):
        raise LedgerFault(f"run {run_id} ({run.state}) cannot move to round {rounds_started}")
    if evaluation_started and run.mechanism.evaluation_noise is None:
        raise LedgerFault(f"run {run_id} reserved no evaluation")
    entry = log.append(
        connection,
        "progress",
        {
            "run_id": run_id,
            "rounds_started": rounds_started,
            "evaluation_started": evaluation_started,
        },
        dataset=run.dataset,
        researcher=run.researcher,
        subject=run_id,
    )
    connection.execute(
        runs.update()
        .where(runs.c.run_id == run_id)
        .values(rounds_started=rounds_started, evaluation_started=int(evaluation_started))
    )
    return entry


def settle(connection: Connection, run_id: str, *, status: str, code: str = "") -> log.Entry:
    """Turns a reservation into spending for what may have been executed; the rest is released.

    Args:
      connection: A connection that holds the write lock.
      run_id: The run.
      status: `completed`, `failed` or `cancelled`.
      code: Fixed code of the failure; never a text that could hold data.
    """
    run = find_run(connection, run_id)
    if run.state != RESERVED:
        raise LedgerFault(f"run {run_id} is {run.state} already")
    record = find(connection, run.dataset)
    executed = run.mechanism.executed(run.rounds_started, evaluated=run.evaluation_started)
    charge = record.filter.charge(executed)
    held = record.filter.parse_loss(list(run.charge))
    if not charge.fits(held):
        raise LedgerFault(f"run {run_id} executed more than it reserved")
    spent, reserved = record.spent + charge, record.reserved - held
    entry = log.append(
        connection,
        "settlement",
        {
            "run_id": run_id,
            "dataset": run.dataset,
            "status": status,
            "code": code,
            "event": executed.to_json(),
            "charge": charge.to_json(),
            "reserved_charge": held.to_json(),
            "spent_before": record.spent.to_json(),
            "spent_after": spent.to_json(),
            "reserved_before": record.reserved.to_json(),
            "reserved_after": reserved.to_json(),
        },
        dataset=run.dataset,
        researcher=run.researcher,
        subject=run_id,
    )
    connection.execute(runs.update().where(runs.c.run_id == run_id).values(state=SETTLED))
    _move(connection, record, spent=_text(spent.to_json()), reserved=_text(reserved.to_json()))
    return entry


def release(connection: Connection, run_id: str, results: dict[str, str]) -> log.Entry:
    """Records that a completed run's results (name -> digest) may leave the node."""
    run = find_run(connection, run_id)
    settlement = next(log.read(connection, kind="settlement", subject=run_id), None)
    if run.state != SETTLED or settlement is None or settlement.body["status"] != "completed":
        raise LedgerFault(f"run {run_id} ({run.state}) is not completed: nothing is released")
    entry = log.append(
        connection,
        "release",
        {"run_id": run_id, "dataset": run.dataset, "results": results},
        dataset=run.dataset,
        researcher=run.researcher,
        subject=run_id,
    )
    connection.execute(runs.update().where(runs.c.run_id == run_id).values(state=RELEASED))
    return entry


def used_by(connection: Connection, dataset: str, researcher: str, day: str | None) -> UsageRecord:
    """Usage of a dataset by a researcher, on `day` (UTC, YYYY-MM-DD) or in all."""
    query = sa.select(usage.c.requests, usage.c.epsilon).where(
        (usage.c.dataset == dataset) & (usage.c.researcher == researcher)
    )
    if day is not None:
        query = query.where(usage.c.day == day)
    rows = connection.execute(query).all()
    with precise():
        return UsageRecord(
            sum(row.requests for row in rows), sum((Decimal(r.epsilon) for r in rows), Decimal(0))
        )


def today() -> str:
    """The current UTC day."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def _count_usage(
    connection: Connection, record: DatasetRecord, researcher: str, epsilon: Decimal
) -> None:
    day = today()
    before = used_by(connection, record.name, researcher, day)
    key = {"dataset": record.name, "researcher": researcher, "day": day}
    with precise():
        values = {
            "requests": before.requests + 1,
            "epsilon": decimal_text(before.epsilon + epsilon),
        }
    if before.requests:
        condition = sa.and_(*(usage.c[name] == value for name, value in key.items()))
        connection.execute(usage.update().where(condition).values(**values))
    else:
        connection.execute(usage.insert().values(**key, **values))


def _claim(
    connection: Connection, researcher: str, key: str, request_digest: str, run_id: str
) -> None:
    check_key(connection, researcher, key, request_digest)
    connection.execute(
        idempotency.insert().values(
            researcher=researcher, key=key, request_digest=request_digest, run_id=run_id
        )
    )


def check_key(connection: Connection, researcher: str, key: str, request_digest: str) -> None:
    """Refuses an idempotency key that this researcher has used.

    Raises:
      IdempotencyConflict: Naming the run that the key started.
    """
    row = connection.execute(
        sa.select(idempotency).where(
            (idempotency.c.researcher == researcher) & (idempotency.c.key == key)
        )
    ).one_or_none()
    if row is not None:
        same = row.request_digest == request_digest
        raise IdempotencyConflict(key, row.run_id, same_request=same)


def _move(connection: Connection, record: DatasetRecord, **values: Any) -> None:
    result = connection.execute(
        datasets.update()
        .where((datasets.c.name == record.name) & (datasets.c.revision == record.revision))
        .values(revision=record.revision + 1, **values)
    )
    if result.rowcount != 1:
        raise BudgetChanged(f"the budget of {record.name!r} moved during the transaction")


def _record(row: Row[Any]) -> DatasetRecord:
    made = filter_from_json(json.loads(row.filter))
    return DatasetRecord(
        name=row.name,
        version=row.version,
        population=row.population,
        owner=row.owner,
        description=json.loads(row.description),
        bundle=row.bundle,
        filter=made,
        spent=made.parse_loss(json.loads(row.spent)),
        reserved=made.parse_loss(json.loads(row.reserved)),
        revision=row.revision,
    )


def _run(row: Row[Any]) -> RunRecord:
    mechanism = json.loads(row.mechanism)
    noise = mechanism["evaluation_noise"]
    return RunRecord(
        run_id=row.run_id,
        decision_id=row.decision_id,
        dataset=row.dataset,
        researcher=row.researcher,
        state=row.state,
        mechanism=RunMechanism(
            rounds=mechanism["rounds"],
            clients_per_round=mechanism["clients_per_round"],
            population=mechanism["population"],
            noise_multiplier=exact(mechanism["noise_multiplier"]),
            evaluation_noise=None if noise is None else exact(noise),
        ),
        charge=tuple(json.loads(row.charge)),
        rounds_started=row.rounds_started,
        evaluation_started=bool(row.evaluation_started),
    )


def _mechanism_json(mechanism: RunMechanism) -> dict[str, Any]:
    return {
        "rounds": mechanism.rounds,
        "clients_per_round": mechanism.clients_per_round,
        "population": mechanism.population,
        "noise_multiplier": mechanism.noise_multiplier,
        "evaluation_noise": mechanism.evaluation_noise,
    }


def _text(document: Any) -> str:
    return canonical_bytes(document).decode()
