"""The book held against the state that the entries make.

Whoever edits the book and leaves the log alone would spend twice, or start a run's rounds again:
the node decides by the book. So every row of it that a decision reads must follow from the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sytff_policy.errors import SytffError
from sytff_policy.ledger import book, budgets, datasets
from sytff_policy.ledger.columns import check_columns
from sytff_policy.ledger.records import RunRecord
from sytff_policy.ledger.schema import caps, node, runs, usage
from sytff_policy.ledger.schema import versions as version_table
from sytff_policy.ledger.verify import Fault, Report
from sytff_policy.ledger.verify.state import RunState, State


def compare(connection: Connection, report: Report) -> Iterator[Fault]:
    """Everything in the book that is not what the entries make."""
    for part in (_datasets, _budgets, _runs, _usage):
        try:
            messages = list(part(connection, report.state))
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, SytffError):
            messages = ["the book beside the entries cannot be read"]
        for message in messages:
            yield Fault(-1, "verify.book", message)
    yield from check_columns(connection)


def _datasets(connection: Connection, state: State) -> Iterator[str]:
    found = {record.name: record for record in datasets.find_all(connection)}
    if found.keys() != state.datasets.keys():
        yield "the book has other datasets than the entries"
    for name, record in found.items():
        replayed = state.datasets.get(name)
        stated = (
            record.version,
            record.population,
            tuple(budget.name for budget in record.budgets),
            record.bundle,
        )
        if replayed is not None and stated != (
            replayed.version,
            replayed.population,
            replayed.budgets,
            replayed.bundle,
        ):
            yield f"dataset {name!r} is not what the entries make"
    if set(connection.execute(sa.select(version_table.c.version)).scalars()) != state.versions:
        yield "the book has other versions than the entries"
    if connection.execute(sa.select(node.c.bundle)).scalar_one() != state.node_bundle:
        yield "the operator's policy is not the one of the entries"


def _budgets(connection: Connection, state: State) -> Iterator[str]:
    found = {record.name: record for record in budgets.find_all(connection)}
    if found.keys() != state.budgets.keys():
        yield "the book has other budgets than the entries"
    for name, record in found.items():
        replayed = state.budgets.get(name)
        if replayed is not None and (
            (record.filter.kind, record.filter.epsilon, record.filter.delta)
            != (replayed.filter.kind, replayed.filter.epsilon, replayed.filter.delta)
            or getattr(record.filter, "order", getattr(record.filter, "requests", 0))
            != replayed.filter.parameter
            or list(record.spent.values) != replayed.spent
            or list(record.reserved.values) != replayed.reserved
        ):
            yield f"the book of {name!r} is not what the entries make"
    set_caps = {
        (row.budget, row.scope, row.subject): Decimal(row.epsilon)
        for row in connection.execute(sa.select(caps))
    }
    if set_caps != state.caps:
        yield "the book has other caps than the entries"
    shares = {
        key: tuple([Decimal(value) for value in side] for side in sides)
        for key, sides in budgets.all_shares(connection).items()
    }
    if shares != state.shares:
        yield "researchers or organizations have used something else than the entries say"


def _runs(connection: Connection, state: State) -> Iterator[str]:
    opened = {run.run_id: run for run in book.open_runs(connection)}
    if opened.keys() != state.open.keys():
        yield "other runs are open than the entries say"
    for run_id, run in opened.items():
        replayed = state.open.get(run_id)
        if replayed is not None and not _same_run(run, replayed):
            yield f"run {run_id} is not what the entries make"
    by_state = sa.select(runs.c.state, sa.func.count()).group_by(runs.c.state)
    counted: Counter[str] = Counter({row[0]: row[1] for row in connection.execute(by_state)})
    replayed_states = Counter(
        book.RELEASED if status == "released" else book.SETTLED for status in state.closed.values()
    )
    if any(counted[name] != replayed_states[name] for name in (book.SETTLED, book.RELEASED)):
        yield "other runs are settled or released than the entries say"


def _same_run(run: RunRecord, replayed: RunState) -> bool:
    mechanism = run.mechanism
    noises = [Decimal(part.noise) for part in replayed.mechanism]
    evaluation = [] if mechanism.evaluation_noise is None else [mechanism.evaluation_noise]
    charges = {name: [Decimal(value) for value in held] for name, held in run.charges.items()}
    return (
        (run.dataset, run.researcher, run.organization)
        == (replayed.dataset, replayed.researcher, replayed.organization)
        and (mechanism.rounds, mechanism.clients_per_round, mechanism.population)
        == replayed.mechanism[0][:3]
        and [mechanism.noise_multiplier, *evaluation] == noises
        and charges == replayed.charges
        and (run.rounds_started, run.evaluation_started) == (replayed.started, replayed.evaluated)
    )


def _usage(connection: Connection, state: State) -> Iterator[str]:
    rows = connection.execute(
        sa.select(usage.c.dataset, usage.c.researcher, sa.func.sum(usage.c.requests)).group_by(
            usage.c.dataset, usage.c.researcher
        )
    ).all()
    if {(row[0], row[1]): int(row[2]) for row in rows} != dict(state.requests):
        yield "the book counts other requests than the entries"
