"""The input document that policies judge, and its JSON Schema."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

from pydantic import Field

from sytff_policy._model import Document
from sytff_policy.decision import BudgetView, Cost, json_number
from sytff_policy.model_spec import ModelSpec
from sytff_policy.request import (
    ClientOptimizer,
    Clipping,
    Evaluation,
    Researcher,
    ServerOptimizer,
    TrainRequest,
)

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEKDAYS = get_args(Weekday)


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


class LayerInput(Document):
    """A layer of the model."""

    name: str = Field(description="The researcher's name of it.")
    parameters: int = Field(ge=0, description="Its trainable parameters.")


class ModelInput(Document):
    """A summary of the model."""

    parameters: int = Field(ge=0, description="Trainable parameters.")
    largest_layer: LayerInput | None = Field(
        description="The layer with most parameters; null if no layer has any."
    )
    layers: tuple[str, ...] = Field(description="Layer types in order, such as `Dense`.")


class RequestInput(Document):
    """The request, with the sampling rate it implies."""

    train_data_id: str = Field(description="Id of the feature asset.")
    label_data_id: str = Field(description="Id of the label asset.")
    rounds: int = Field(ge=1, le=1_000_000, description="Federated rounds.")
    clients_per_round: int = Field(
        ge=1, le=1_000_000_000, description="People drawn in a round, on average."
    )
    noise_multiplier: float = Field(
        ge=0.0, le=1e6, description="Noise stddev over the clip norm, in each round."
    )
    no_clients: int | None = Field(
        ge=1,
        le=1_000_000_000,
        description="PySyTFF's number of clients; informational. null if not given.",
    )
    sampling_rate: float = Field(
        gt=0.0,
        description="Probability of a person to be drawn in a round: clients_per_round / "
        "population. May exceed 1; the node then denies.",
    )
    clipping: Clipping = Field(description="How each person's update is bounded.")
    client_optimizer: ClientOptimizer = Field(description="How a person's rows are trained on.")
    server_optimizer: ServerOptimizer = Field(description="How the noised mean is applied.")
    batch_size: int = Field(ge=1, le=4096, description="Rows per local step.")
    local_epochs: int = Field(ge=1, le=100, description="Passes over a person's rows in a round.")
    loss: str | None = Field(description="Loss function; null leaves it to the node.")
    evaluation: Evaluation | None = Field(
        description="Private evaluation of the final model; null if none is asked for."
    )
    purpose: str = Field(description="What the model is for, as the researcher says.")
    model: ModelInput | None = Field(description="The model; null when only a budget is checked.")


class BudgetInput(Document):
    """The dataset's budget, in epsilon at delta; spent + reserved + remaining = granted."""

    granted: float = Field(ge=0.0, description="The whole budget, in epsilon.")
    delta: float = Field(gt=0.0, lt=1.0, description="The delta that epsilon is stated at.")
    spent: float = Field(ge=0.0, description="Epsilon of runs that ended.")
    reserved: float = Field(ge=0.0, description="Epsilon held for runs that are going on.")
    remaining: float = Field(ge=0.0, description="Epsilon that is left.")


class DatasetInput(Document):
    """The dataset's public facts."""

    name: str = Field(description="Name of the dataset.")
    version: str = Field(description="Digest of its stored rows.")
    population: int = Field(ge=1, description="People (privacy units) in it.")
    tags: tuple[str, ...] = Field(description="Tags that the owner gave it.")
    budget: BudgetInput = Field(description="Its privacy budget, before this request.")


class CostInput(Document):
    """What the request costs; null means unbounded."""

    epsilon: float | None = Field(
        ge=0.0, description="Epsilon of this request on its own; null if it is unbounded."
    )
    charge: float | None = Field(
        ge=0.0, description="Epsilon that it takes from the budget; null if it is unbounded."
    )
    remaining_after: float | None = Field(
        description="Epsilon left after it; may be negative, and is null if charge is."
    )


class UsageInput(Document):
    """A count of allowed requests and their charges."""

    requests: int = Field(ge=0, description="Requests that were allowed.")
    epsilon: float = Field(ge=0.0, description="Epsilon that they took from the budget.")


class UsagesInput(Document):
    """Usage by this researcher of this dataset, before this request."""

    today: UsageInput = Field(description="Since midnight, UTC.")
    all: UsageInput = Field(description="Ever.")


class TimeInput(Document):
    """The time of the decision, UTC."""

    ns: int = Field(ge=0, description="Nanoseconds since 1970-01-01.")
    year: int = Field(description="Year.")
    month: int = Field(ge=1, le=12, description="Month.")
    day: int = Field(ge=1, le=31, description="Day of the month.")
    hour: int = Field(ge=0, le=23, description="Hour.")
    minute: int = Field(ge=0, le=59, description="Minute.")
    weekday: Weekday = Field(description="Day of the week.")
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="Date, as YYYY-MM-DD.")


class PolicyInput(Document):
    """The whole input document."""

    request: RequestInput = Field(description="What is asked.")
    researcher: Researcher = Field(description="Who asks, as the node knows the account.")
    dataset: DatasetInput = Field(description="What it is asked of.")
    cost: CostInput = Field(description="What it would cost.")
    usage: UsagesInput = Field(description="What the researcher used of the dataset before.")
    time: TimeInput = Field(description="When it is asked, UTC.")


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
    asked["model"] = None if request.model is None else _model(request.model)
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


def _model(model: ModelSpec) -> dict[str, Any]:
    largest = model.largest_layer
    return {
        "parameters": model.parameter_count,
        "largest_layer": None
        if largest is None
        else {"name": largest[0], "parameters": largest[1]},
        "layers": list(model.layer_types),
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
        "date": now.date().isoformat(),
    }
