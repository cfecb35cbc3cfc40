"""The budget book: what is spent and reserved, moved only together with a log entry.

Every function here runs inside one write transaction that appends the entry and moves the book, so
that either both happen or neither does. The filters run in that same transaction.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sytff_policy.canonical import decimal_text, digest
from sytff_policy.errors import NotFound
from sytff_policy.ledger import budgets, datasets, log
from sytff_policy.ledger.errors import (
    BudgetChanged,
    BudgetExceeded,
    CapExceeded,
    IdempotencyConflict,
    LedgerFault,
)
from sytff_policy.ledger.records import (
    BudgetRecord,
    DatasetRecord,
    Limit,
    RunRecord,
    Standing,
    UsageRecord,
    mechanism_text,
    run_of,
    text,
)
from sytff_policy.ledger.schema import idempotency, runs, usage
from sytff_policy.privacy import Loss, RunMechanism
from sytff_policy.privacy.exact import precise

_USAGE = sa.select(usage.c.day, usage.c.requests, usage.c.epsilon).where(
    (usage.c.dataset == sa.bindparam("of")) & (usage.c.researcher == sa.bindparam("by"))
)
_USAGE_OF_DAY = _USAGE.where(usage.c.day == sa.bindparam("on"))
_COUNT = (
    usage.update()
    .where(
        (usage.c.dataset == sa.bindparam("of"))
        & (usage.c.researcher == sa.bindparam("by"))
        & (usage.c.day == sa.bindparam("on"))
    )
    .values(requests=sa.bindparam("requests"), epsilon=sa.bindparam("epsilon"))
)

RESERVED = "reserved"
SETTLED = "settled"
RELEASED = "released"


def find_run(connection: Connection, run_id: str) -> RunRecord:
    """The run `run_id`."""
    row = connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).one_or_none()
    if row is None:
        raise NotFound("run", run_id)
    return run_of(row)


def open_runs(connection: Connection) -> list[RunRecord]:
    """Runs whose reservation is not settled."""
    rows = connection.execute(sa.select(runs).where(runs.c.state == RESERVED)).all()
    return [run_of(row) for row in rows]


def standing(
    connection: Connection, dataset: str, researcher: str, organization: str = ""
) -> Standing:
    """What a researcher's request on a dataset is judged against."""
    record = datasets.find(connection, dataset)
    of_today, in_all = used_by(connection, dataset, researcher)
    return Standing(
        record,
        of_today,
        in_all,
        budgets.limits_for(connection, record.budgets, researcher, organization),
    )


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
    organization: str = "",
    current: Standing | None = None,
) -> log.Entry:
    """Reserves a run's worst case, if every budget and every cap admits it on top of what is used.

    Args:
      connection: A connection that holds the write lock.
      record: The dataset as the request was judged against it.
      run_id: Id of the run that the reservation is for.
      decision_id: The decision that allows it.
      researcher: Who asked.
      mechanism: What the run may execute at most.
      request_digest: Digest of the request.
      idempotency_key: The request's key, if it has one.
      organization: The researcher's organization, if there is one.
      current: What this transaction has read, if it has written nothing to the book since.

    Raises:
      BudgetChanged: If the book moved since `record` was read.
      BudgetExceeded: If the filter of a budget refuses; the error names it.
      CapExceeded: If a cap of the researcher or the organization refuses.
      IdempotencyConflict: If the key was used before.
    """
    if current is None:
        current = standing(connection, record.name, researcher, organization)
    now = current.record
    if now.moment != record.moment:
        raise BudgetChanged(f"the budget of {record.name!r} moved while the request was judged")
    event = mechanism.event()
    charges = [(budget, budget.filter.charge(event)) for budget in now.budgets]
    _require_admitted(charges, current.limits)
    if idempotency_key is not None:
        _claim(connection, researcher, idempotency_key, request_digest, run_id)
    states = [
        {
            "budget": budget.name,
            "charge": charge.to_json(),
            "spent": budget.spent.to_json(),
            "reserved_before": budget.reserved.to_json(),
            "reserved_after": (budget.reserved + charge).to_json(),
        }
        for budget, charge in charges
    ]
    body = {
        "run_id": run_id,
        "decision_id": decision_id,
        "dataset": record.name,
        "event": event.to_json(),
        "mechanism_digest": digest(event.to_json()),
        **_by_budget(record.name, states),
    }
    entry = log.append(
        connection,
        "reservation",
        body,
        dataset=record.name,
        researcher=researcher,
        subject=run_id,
    )
    connection.execute(
        runs.insert(),
        {
            "run_id": run_id,
            "decision_id": decision_id,
            "dataset": record.name,
            "researcher": researcher,
            "organization": organization,
            "state": RESERVED,
            "mechanism": mechanism_text(mechanism),
            "charges": text({budget.name: charge.to_json() for budget, charge in charges}),
            "rounds_started": 0,
            "evaluation_started": 0,
        },
    )
    _count_usage(connection, record.name, researcher, now.charge_epsilon(charges[0][1]))
    for budget, charge in charges:
        budgets.count_share(connection, budget, researcher, organization, hold=charge)
        budgets.move(connection, budget, reserved=text((budget.reserved + charge).to_json()))
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
    faulty = next(log.read(connection, kind="fault", subject=run_id), None) is not None
    if status == "completed" and faulty:
        raise LedgerFault(f"run {run_id} broke its contract: it is not completed")
    executed = run.mechanism.executed(run.rounds_started, evaluated=run.evaluation_started)
    states = []
    for record in budgets.of_dataset(connection, run.dataset):
        charge = record.filter.charge(executed)
        held = record.filter.parse_loss(list(run.charges[record.name]))
        if not charge.fits(held):
            raise LedgerFault(f"run {run_id} executed more than it reserved")
        spent, reserved = record.spent + charge, record.reserved - held
        states.append(
            {
                "budget": record.name,
                "charge": charge.to_json(),
                "reserved_charge": held.to_json(),
                "spent_before": record.spent.to_json(),
                "spent_after": spent.to_json(),
                "reserved_before": record.reserved.to_json(),
                "reserved_after": reserved.to_json(),
            }
        )
        budgets.count_share(
            connection, record, run.researcher, run.organization, spend=charge, free=held
        )
        moved = {"spent": text(spent.to_json()), "reserved": text(reserved.to_json())}
        budgets.move(connection, record, **moved)
    entry = log.append(
        connection,
        "settlement",
        {
            "run_id": run_id,
            "dataset": run.dataset,
            "status": status,
            "code": code,
            "event": executed.to_json(),
            **_by_budget(run.dataset, states),
        },
        dataset=run.dataset,
        researcher=run.researcher,
        subject=run_id,
    )
    connection.execute(runs.update().where(runs.c.run_id == run_id).values(state=SETTLED))
    return entry


def resolve_review(
    connection: Connection, decision_id: str, *, approved: bool, by: str
) -> log.Entry:
    """Records the owner's answer to a decision that waits for review. Nothing is reserved.

    The allowing decision that follows from an approval names it as `review`.

    Raises:
      LedgerFault: If the decision does not wait.
    """
    found = list(log.read(connection, subject=decision_id))
    decisions = [entry for entry in found if entry.kind == "decision"]
    answered = any(entry.kind == "review.resolved" for entry in found)
    if not decisions or decisions[0].body["decision"] != "review" or answered:
        raise LedgerFault(f"decision {decision_id} waits for no review")
    dataset = decisions[0].body["dataset"]
    return log.append(
        connection,
        "review.resolved",
        {
            "decision_id": decision_id,
            "dataset": dataset,
            "outcome": "approved" if approved else "refused",
            "by": by,
        },
        dataset=dataset,
        subject=decision_id,
    )


def release(connection: Connection, run_id: str, results: dict[str, str]) -> log.Entry:
    """Records that a completed run's results (name -> digest) may leave the node."""
    run = find_run(connection, run_id)
    settlement = next(log.read(connection, kind="settlement", subject=run_id), None)
    if run.state != SETTLED or settlement is None or settlement.body["status"] != "completed":
        raise LedgerFault(f"run {run_id} ({run.state}) is not completed: nothing is released")
    if next(log.read(connection, kind="fault", subject=run_id), None) is not None:
        raise LedgerFault(f"run {run_id} broke its contract: nothing is released")
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


def _by_budget(dataset: str, states: list[dict[str, Any]]) -> dict[str, Any]:
    """The first budget's state flat in the entry, named if it is not the dataset's own; `also`
    holds the others'.
    """
    first, *others = states
    body = {key: value for key, value in first.items() if key != "budget"}
    if first["budget"] != dataset:
        body["budget"] = first["budget"]
    if others:
        body["also"] = others
    return body


def _require_admitted(
    charges: Sequence[tuple[BudgetRecord, Loss]], limits: Iterable[Limit]
) -> None:
    for budget, charge in charges:
        if not budget.filter.admits(budget.used + charge):
            raise BudgetExceeded(f"the filter of {budget.name!r} refuses this charge", budget.name)
    by_name = {budget.name: charge for budget, charge in charges}
    for limit in limits:
        if not limit.admits(by_name[limit.budget]):
            raise CapExceeded(
                f"the cap of {limit.scope} {limit.subject!r} on {limit.budget!r} refuses this "
                "charge",
                limit.budget,
            )


def used_by(
    connection: Connection, dataset: str, researcher: str
) -> tuple[UsageRecord, UsageRecord]:
    """Usage of a dataset by a researcher: today (UTC), and in all."""
    rows = connection.execute(_USAGE, {"of": dataset, "by": researcher}).all()
    day = today()
    with precise():
        of_today, in_all = (
            UsageRecord(
                sum(row.requests for row in some),
                sum((Decimal(row.epsilon) for row in some), Decimal(0)),
            )
            for some in ([row for row in rows if row.day == day], rows)
        )
    return of_today, in_all


def today() -> str:
    """The current UTC day."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def _count_usage(connection: Connection, dataset: str, researcher: str, epsilon: Decimal) -> None:
    key = {"of": dataset, "by": researcher, "on": today()}
    row = connection.execute(_USAGE_OF_DAY, key).one_or_none()
    if row is None:
        first = {"dataset": dataset, "researcher": researcher, "day": key["on"]}
        connection.execute(
            usage.insert(), {**first, "requests": 1, "epsilon": decimal_text(epsilon)}
        )
        return
    with precise():
        total = decimal_text(Decimal(row.epsilon) + epsilon)
    connection.execute(_COUNT, {**key, "requests": row.requests + 1, "epsilon": total})


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
