"""The book's rows as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy.engine import Row

from sytff_policy.canonical import canonical_bytes
from sytff_policy.decision import BudgetView
from sytff_policy.privacy import Loss, PrivacyFilter, RunMechanism, exact, filter_from_json
from sytff_policy.privacy.exact import precise

Scope = Literal["researcher", "organization"]
SCOPES: tuple[Scope, ...] = ("researcher", "organization")
EVERYONE = "*"
"""Subject of a cap that holds for each one who has no cap of their own."""


@dataclass(frozen=True)
class BudgetRecord:
    """One budget: a filter, and what is spent and reserved of it.

    Attributes:
      name: Name of the dataset that it was made for.
      filter: Its filter, fixed but for the epsilon, to which grants add.
      spent: Loss of everything that may have been executed.
      reserved: Loss of everything that may still be executed.
      revision: Counts its changes.
    """

    name: str
    filter: PrivacyFilter
    spent: Loss
    reserved: Loss
    revision: int

    @property
    def used(self) -> Loss:
        return self.spent + self.reserved

    def view(self) -> BudgetView:
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
class DatasetRecord:
    """A registered dataset and the state of the budgets that its requests are charged to.

    Attributes:
      budgets: One or more. The first is the one that `filter`, `budget()` and policies speak of:
        the dataset's own, or the first that it shares.
      revision: Counts the changes of the dataset itself.
    """

    name: str
    version: str
    population: int
    owner: str
    description: dict[str, Any]
    bundle: str | None
    budgets: tuple[BudgetRecord, ...]
    revision: int

    @property
    def filter(self) -> PrivacyFilter:
        return self.budgets[0].filter

    @property
    def spent(self) -> Loss:
        return self.budgets[0].spent

    @property
    def reserved(self) -> Loss:
        return self.budgets[0].reserved

    @property
    def used(self) -> Loss:
        return self.budgets[0].used

    @property
    def moment(self) -> tuple[int, ...]:
        """Equal only if neither the dataset nor any of its budgets changed in between."""
        return (self.revision, *(budget.revision for budget in self.budgets))

    def budget(self) -> BudgetView:
        """The first budget in epsilon."""
        return self.budgets[0].view()

    def charge_epsilon(self, charge: Loss) -> Decimal:
        """What a charge takes from the first budget's `remaining`, in epsilon."""
        return self.budgets[0].charge_epsilon(charge)


@dataclass(frozen=True)
class Limit:
    """A cap inside a budget, as it stands for one researcher or organization.

    The cap is a filter of the budget's kind with an epsilon of its own: what this subject learns,
    taken alone, is (epsilon, delta)-private.

    Attributes:
      budget: Name of the budget.
      scope: Whether it caps a researcher or an organization.
      subject: Who is capped.
      filter: The cap.
      used: What the subject has spent and reserved of the budget.
    """

    budget: str
    scope: Scope
    subject: str
    filter: PrivacyFilter
    used: Loss

    def admits(self, charge: Loss) -> bool:
        """Whether the subject may be charged this much more."""
        return self.filter.admits(self.used + charge)

    def view(self) -> BudgetView:
        """The cap in epsilon; spent and reserved together."""
        used = self.filter.epsilon_of(self.used)
        with precise():
            left = max(self.filter.epsilon - used, Decimal(0))
        return BudgetView(self.filter.epsilon, self.filter.delta, used, Decimal(0), left)


@dataclass(frozen=True)
class RunRecord:
    """A run's row: its reservation and how far it may have got.

    Attributes:
      charges: What is reserved in each budget, by its name.
    """

    run_id: str
    decision_id: str
    dataset: str
    researcher: str
    organization: str
    state: str
    mechanism: RunMechanism
    charges: Mapping[str, list[str]]
    rounds_started: int
    evaluation_started: bool


@dataclass(frozen=True)
class UsageRecord:
    """Allowed requests of one researcher on one dataset, and the epsilon charged for them."""

    requests: int
    epsilon: Decimal


@dataclass(frozen=True)
class Standing:
    """All that the book says about one researcher's request on one dataset, at one moment.

    Attributes:
      record: The dataset and its budgets.
      today, in_all: The researcher's usage of the dataset.
      limits: The caps that hold for the researcher, in all of the dataset's budgets.
    """

    record: DatasetRecord
    today: UsageRecord
    in_all: UsageRecord
    limits: tuple[Limit, ...] = ()


def budget_of(row: Row[Any]) -> BudgetRecord:
    made = parsed_filter(row.filter)
    return BudgetRecord(
        name=row.name,
        filter=made,
        spent=made.parse_loss(json.loads(row.spent)),
        reserved=made.parse_loss(json.loads(row.reserved)),
        revision=row.revision,
    )


def dataset_of(row: Row[Any], budgets: tuple[BudgetRecord, ...]) -> DatasetRecord:
    return DatasetRecord(
        name=row.name,
        version=row.version,
        population=row.population,
        owner=row.owner,
        description=json.loads(row.description),
        bundle=row.bundle,
        budgets=budgets,
        revision=row.revision,
    )


def run_of(row: Row[Any]) -> RunRecord:
    mechanism = json.loads(row.mechanism)
    noise = mechanism["evaluation_noise"]
    return RunRecord(
        run_id=row.run_id,
        decision_id=row.decision_id,
        dataset=row.dataset,
        researcher=row.researcher,
        organization=row.organization,
        state=row.state,
        mechanism=RunMechanism(
            rounds=mechanism["rounds"],
            clients_per_round=mechanism["clients_per_round"],
            population=mechanism["population"],
            noise_multiplier=exact(mechanism["noise_multiplier"]),
            evaluation_noise=None if noise is None else exact(noise),
        ),
        charges=json.loads(row.charges),
        rounds_started=row.rounds_started,
        evaluation_started=bool(row.evaluation_started),
    )


def mechanism_text(mechanism: RunMechanism) -> str:
    return text(
        {
            "rounds": mechanism.rounds,
            "clients_per_round": mechanism.clients_per_round,
            "population": mechanism.population,
            "noise_multiplier": mechanism.noise_multiplier,
            "evaluation_noise": mechanism.evaluation_noise,
        }
    )


def text(document: Any) -> str:
    """A document as a column keeps it."""
    return canonical_bytes(document).decode()


@lru_cache(maxsize=256)
def parsed_filter(document: str) -> PrivacyFilter:
    """A filter from its column."""
    return filter_from_json(json.loads(document))
