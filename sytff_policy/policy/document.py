"""The input document that policies judge, and its JSON Schema."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import Field

from sytff_policy._model import Document
from sytff_policy.decision import BudgetView, Cost, json_number
from sytff_policy.request import (
    ClientOptimizer,
    Clipping,
    Evaluation,
    Researcher,
    ServerOptimizer,
    TrainRequest,
)

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class DatasetFacts:
    """Public facts of a dataset and its budget."""

    name: str
    version: str
    population: int
    tags: tuple[str, ...]
    budget: BudgetView


@dataclass(frozen=True)
class Usage:
    """Allowed requests of this researcher on this dataset, and what was charged for them."""

    today_requests: int
    today_epsilon: Decimal
    all_requests: int
    all_epsilon: Decimal


class ModelInput(Document):
    """A summary of the model."""

    parameters: int = Field(description="Trainable parameters.")
    layers: tuple[str, ...] = Field(description="Layer types in order.")


class RequestInput(Document):
    """The request, with the sampling rate it implies."""

    train_data_id: str
    label_data_id: str
    rounds: int
    clients_per_round: int
    noise_multiplier: float
    no_clients: int | None
    sampling_rate: float = Field(description="clients_per_round / population; may exceed 1.")
    clipping: Clipping
    client_optimizer: ClientOptimizer
    server_optimizer: ServerOptimizer
    batch_size: int
    local_epochs: int
    loss: str | None
    evaluation: Evaluation | None
    purpose: str
    model: ModelInput | None = Field(description="null when only a budget is checked.")


class BudgetInput(Document):
    """The dataset's budget, in epsilon at delta; spent + reserved + remaining = granted."""

    granted: float
    delta: float
    spent: float
    reserved: float
    remaining: float


class DatasetInput(Document):
    """The dataset's public facts."""

    name: str
    version: str
    population: int
    tags: tuple[str, ...]
    budget: BudgetInput


class CostInput(Document):
    """What the request costs; null means unbounded."""

    epsilon: float | None = Field(description="Epsilon of this request on its own.")
    charge: float | None = Field(description="What it takes from the budget.")
    remaining_after: float | None = Field(description="Budget left after it; may be negative.")


class UsageInput(Document):
    """A count of allowed requests and their charges."""

    requests: int
    epsilon: float


class UsagesInput(Document):
    """Usage by this researcher of this dataset."""

    today: UsageInput
    all: UsageInput


class TimeInput(Document):
    """The time of the decision, UTC."""

    ns: int
    year: int
    month: int
    day: int
    hour: int
    minute: int
    weekday: str
    date: str = Field(description="YYYY-MM-DD")


class PolicyInput(Document):
    """The whole input document."""

    request: RequestInput
    researcher: Researcher
    dataset: DatasetInput
    cost: CostInput
    usage: UsagesInput
    time: TimeInput


def input_schema() -> dict[str, Any]:
    """JSON Schema of the input document, for `opa check --schema` and for authors."""
    return PolicyInput.model_json_schema()


def build_input(
    request: TrainRequest,
    researcher: Researcher,
    dataset: DatasetFacts,
    cost: Cost,
    usage: Usage,
    now_ns: int,
) -> dict[str, Any]:
    """The input document for one judgement; numbers are exact decimals spelled as JSON numbers."""
    asked = request.to_json()
    model = request.model
    asked["model"] = (
        None
        if model is None
        else {"parameters": model.parameter_count, "layers": list(model.layer_types)}
    )
    asked["sampling_rate"] = request.clients_per_round / dataset.population
    del asked["idempotency_key"]
    after = None if cost.charge is None else dataset.budget.remaining - cost.charge
    budget = dataset.budget.to_json()
    budget["granted"] = budget.pop("epsilon")
    return {
        "request": asked,
        "researcher": researcher.model_dump(mode="json"),
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "population": dataset.population,
            "tags": list(dataset.tags),
            "budget": budget,
        },
        "cost": {
            "epsilon": json_number(cost.epsilon),
            "charge": json_number(cost.charge),
            "remaining_after": json_number(after),
        },
        "usage": {
            "today": {
                "requests": usage.today_requests,
                "epsilon": json_number(usage.today_epsilon),
            },
            "all": {"requests": usage.all_requests, "epsilon": json_number(usage.all_epsilon)},
        },
        "time": _time(now_ns),
    }


def _time(now_ns: int) -> dict[str, Any]:
    now = datetime.datetime.fromtimestamp(now_ns // 10**9, datetime.timezone.utc)
    return {
        "ns": now_ns,
        "year": now.year,
        "month": now.month,
        "day": now.day,
        "hour": now.hour,
        "minute": now.minute,
        "weekday": _WEEKDAYS[now.weekday()],
        "date": now.strftime("%Y-%m-%d"),
    }
