"""The input document: what the schema promises is what policies get."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy._model import parse
from sytff_policy.decision import BudgetView, Cost
from sytff_policy.errors import InvalidInputs
from sytff_policy.policy import DatasetFacts, Usage, build_input, input_schema
from sytff_policy.policy.document import PolicyInput
from sytff_policy.policy.example import example_input
from sytff_policy.policy.input_fields import unknown_field
from sytff_policy.request import Researcher, TrainRequest

YEAR_2200_NS = 7_258_118_400 * 10**9
MODEL = {
    "inputs": [{"name": "features", "shape": [6]}],
    "layers": [{"type": "Dense", "name": "out", "inputs": ["features"], "units": 3}],
    "output": "out",
}

positive = st.floats(min_value=1e-6, max_value=100.0)
amounts = st.decimals(min_value=0, max_value=1000, places=12)
words = st.text(st.characters(codec="utf-8", categories=["L", "N", "Zs"]), min_size=1, max_size=20)
requests = st.fixed_dictionaries(
    {
        "train_data_id": words,
        "label_data_id": words,
        "rounds": st.integers(1, 10**6),
        "clients_per_round": st.integers(1, 10**9),
        "noise_multiplier": st.floats(0.0, 1e6),
    },
    optional={
        "no_clients": st.none() | st.integers(1, 10**9),
        "clipping": st.fixed_dictionaries({"kind": st.just("fixed"), "norm": positive})
        | st.fixed_dictionaries(
            {"kind": st.just("adaptive")},
            optional={"clipped_count_stddev": st.none() | positive, "initial_norm": positive},
        ),
        "client_optimizer": st.fixed_dictionaries({"learning_rate": positive}),
        "server_optimizer": st.fixed_dictionaries({"name": st.sampled_from(["sgd", "adam"])}),
        "batch_size": st.integers(1, 4096),
        "local_epochs": st.integers(1, 100),
        "loss": st.sampled_from([None, "huber", "binary_crossentropy"]),
        "model": st.sampled_from([None, MODEL]),
        "evaluation": st.none() | st.fixed_dictionaries({"noise_multiplier": st.floats(0, 100)}),
        "purpose": words,
        "idempotency_key": st.none() | words,
    },
)


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    spent, reserved, remaining = draw(amounts), draw(amounts), draw(amounts)
    delta = draw(st.sampled_from([Decimal("1e-5"), Decimal("0.5"), Decimal("1e-12")]))
    charge = draw(st.none() | amounts)
    return build_input(
        parse(TrainRequest, draw(requests)),
        Researcher(
            id=draw(words),
            roles=tuple(draw(st.lists(words, max_size=3))),
            organization=draw(st.just("") | words),
        ),
        DatasetFacts(
            name=draw(words),
            version=draw(words),
            population=draw(st.integers(1, 10**9)),
            tags=tuple(draw(st.lists(words, max_size=3))),
            budget=BudgetView(spent + reserved + remaining, delta, spent, reserved, remaining),
        ),
        Cost(None if charge is None else draw(amounts), charge, delta),
        Usage(draw(st.integers(0, 99)), draw(amounts), draw(st.integers(0, 99)), draw(amounts)),
        draw(st.integers(0, YEAR_2200_NS)),
    )


@given(inputs())
def test_every_input_is_of_the_schema(document: dict[str, Any]) -> None:
    parse(PolicyInput, document)


@given(inputs())
def test_every_input_survives_json_unchanged(document: dict[str, Any]) -> None:
    assert json.loads(json.dumps(document, allow_nan=False)) == document


@given(inputs())
def test_every_field_of_every_input_may_be_read(document: dict[str, Any]) -> None:
    pending: list[tuple[tuple[str, ...], Any]] = [((), document)]
    while pending:
        path, value = pending.pop()
        assert unknown_field(path) is None
        if isinstance(value, dict):
            pending.extend(((*path, name), item) for name, item in value.items())
        elif isinstance(value, list):
            pending.extend(((*path, "*"), item) for item in value)


@given(inputs())
def test_the_derived_fields_are_what_they_say(document: dict[str, Any]) -> None:
    request, dataset, time = document["request"], document["dataset"], document["time"]
    assert request["sampling_rate"] == request["clients_per_round"] / dataset["population"]
    assert "idempotency_key" not in request
    cost = document["cost"]
    assert (cost["charge"] is None) == (cost["remaining_after"] is None)
    if cost["charge"] is not None:
        after = dataset["budget"]["remaining"] - cost["charge"]
        assert cost["remaining_after"] == pytest.approx(after, abs=1e-9)
    moment = datetime.datetime.fromtimestamp(time["ns"] // 10**9, datetime.timezone.utc)
    assert time["date"] == moment.date().isoformat()
    assert (time["hour"], time["minute"]) == (moment.hour, moment.minute)
    assert time["weekday"] == moment.strftime("%A").lower()


def test_the_example_is_exactly_this() -> None:
    assert example_input() == {
        "request": {
            "train_data_id": "registry-features",
            "label_data_id": "registry-label",
            "rounds": 100,
            "clients_per_round": 50,
            "noise_multiplier": 1.0,
            "no_clients": None,
            "sampling_rate": 0.05,
            "clipping": {"kind": "fixed", "norm": 1.0},
            "client_optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0},
            "server_optimizer": {
                "name": "sgd",
                "learning_rate": 1.0,
                "momentum": 0.0,
                "beta_1": 0.9,
                "beta_2": 0.99,
                "epsilon": 0.001,
            },
            "batch_size": 32,
            "local_epochs": 1,
            "loss": None,
            "model": {
                "parameters": 7,
                "largest_layer": {"name": "out", "parameters": 7},
                "layers": ["Dense"],
            },
            "evaluation": {"noise_multiplier": 5.0, "holdout": 0.2},
            "purpose": "research",
        },
        "researcher": {
            "id": "alice",
            "roles": ["researcher"],
            "organization": "University of Example",
            "affiliations": [],
        },
        "dataset": {
            "name": "registry",
            "version": "sha256:" + 64 * "0",
            "population": 1000,
            "tags": ["health"],
            "budget": {
                "granted": 8,
                "delta": 0.00001,
                "spent": 1.5,
                "reserved": 0.5,
                "remaining": 6,
            },
        },
        "cost": {"epsilon": 1.25, "charge": 1.5, "remaining_after": 4.5},
        "usage": {
            "today": {"requests": 1, "epsilon": 0.5},
            "all": {"requests": 4, "epsilon": 2},
        },
        "time": {
            "ns": 1767614400000000000,
            "year": 2026,
            "month": 1,
            "day": 5,
            "hour": 12,
            "minute": 0,
            "weekday": "monday",
            "date": "2026-01-05",
        },
    }


@pytest.mark.parametrize(
    ("ns", "date", "hour", "weekday"),
    [
        (0, "1970-01-01", 0, "thursday"),
        (1_709_251_199_999_999_999, "2024-02-29", 23, "thursday"),
        (1_709_251_200_000_000_000, "2024-03-01", 0, "friday"),
    ],
)
def test_the_calendar_is_that_of_utc(ns: int, date: str, hour: int, weekday: str) -> None:
    request = parse(
        TrainRequest,
        {
            "train_data_id": "a",
            "label_data_id": "b",
            "rounds": 1,
            "clients_per_round": 1,
            "noise_multiplier": 1,
        },
    )
    zero = Decimal(0)
    budget = BudgetView(zero, Decimal("1e-5"), zero, zero, zero)
    time = build_input(
        request,
        Researcher(id="a"),
        DatasetFacts("d", "v", 1, (), budget),
        Cost(None, None, Decimal("1e-5")),
        Usage(0, zero, 0, zero),
        ns,
    )["time"]
    assert (time["ns"], time["date"], time["hour"], time["weekday"]) == (ns, date, hour, weekday)


def test_an_unbounded_cost_is_null_and_never_a_number() -> None:
    request = parse(
        TrainRequest,
        {
            "train_data_id": "a",
            "label_data_id": "b",
            "rounds": 1,
            "clients_per_round": 1,
            "noise_multiplier": 0,
        },
    )
    zero = Decimal(0)
    document = build_input(
        request,
        Researcher(id="a"),
        DatasetFacts("d", "v", 1, (), BudgetView(zero, Decimal("1e-5"), zero, zero, zero)),
        Cost(None, None, Decimal("1e-5")),
        Usage(0, zero, 0, zero),
        0,
    )
    assert document["cost"] == {"epsilon": None, "charge": None, "remaining_after": None}


@pytest.mark.parametrize("path", ["request.more", "researcher.email", "dataset.rows", "more"])
def test_the_schema_knows_no_other_field(path: str) -> None:
    document = example_input()
    *parents, last = path.split(".")
    place = document
    for part in parents:
        place = place[part]
    place[last] = 1
    with pytest.raises(InvalidInputs, match=last):
        parse(PolicyInput, document)


def test_the_schema_is_json_and_describes_every_object_completely() -> None:
    schema = json.loads(json.dumps(input_schema()))
    objects = [schema, *schema["$defs"].values()]
    for item in objects:
        assert item["additionalProperties"] is False
        assert item["properties"]
    assert set(schema["properties"]) == {
        "request",
        "researcher",
        "dataset",
        "cost",
        "usage",
        "time",
    }
