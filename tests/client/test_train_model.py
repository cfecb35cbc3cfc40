"""`sy.tff.train_model` up to the training: parameters as people write them, models as they come."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import sytff_policy as sy
from sytff_policy.client.tff import build_request
from sytff_policy.errors import InvalidInput, InvalidInputs, NotFound
from tests.client.digits import params


def classifier(**output: Any) -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((8, 8), name="images"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(**{"units": 1, "activation": "sigmoid", "name": "out", **output}),
        ]
    )


def never() -> Any:
    raise AssertionError("the model is not built for a call that cannot be right")


def build(domain: sy.Domain, **changes: Any) -> sy.TrainRequest:
    return build_request(classifier(), params(domain.datasets[0], **changes), domain)


def test_the_parameters_that_pysytff_users_know_are_a_request(domain: sy.Domain) -> None:
    request = build(domain)
    assert (request.rounds, request.no_clients, request.clients_per_round) == (5, 10, 6)
    assert request.model is not None
    assert request.model.output == "out"
    assert request == build(domain)


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": np.int64(5), "no_clients": np.int32(10)},
        {"noise_multiplier": np.float64(1.0)},
        {"noise_multiplier": np.array(1.0)},
        {"noise_multiplier": 1},
        {"noise_multiplier": Decimal(1)},
        {"clipping": {"kind": "fixed", "norm": np.float32(1.0)}},
    ],
    ids=range(6),
)
def test_numpys_numbers_and_whole_numbers_are_the_same_request(
    domain: sy.Domain, changes: dict[str, Any]
) -> None:
    assert build(domain, **changes).digest == build(domain).digest


def test_handles_and_ids_stand_for_their_text(domain: sy.Domain) -> None:
    images, stroke = domain.datasets[0]
    for ids in (
        {"train_data_id": images, "label_data_id": stroke},
        {"train_data_id": images.id_at_location, "label_data_id": stroke.id_at_location},
    ):
        assert build(domain, **ids).digest == build(domain).digest


def test_a_dataset_stands_for_its_two_assets(domain: sy.Domain) -> None:
    plain = params(domain.datasets[0])
    without = {key: value for key, value in plain.items() if not key.endswith("_id")}
    for dataset in ("strokes", domain.datasets[0]):
        made = build_request(classifier(), {**without, "dataset": dataset}, domain)
        assert made.digest == build(domain).digest


def test_what_is_wrong_with_parameters_is_said_at_once(domain: sy.Domain) -> None:
    with pytest.raises(InvalidInputs) as caught:
        build(domain, rounds=0, clients_per_rounds=3, noise_multiplier="1", batch_size=True)
    fields = [error.field for error in caught.value.errors]
    assert fields == [
        "params: rounds",
        "params: noise_multiplier",
        "params: batch_size",
        "params: clients_per_rounds",
    ]
    assert "Did you mean clients_per_round?" in str(caught.value)


def test_missing_parameters_are_named(domain: sy.Domain) -> None:
    with pytest.raises(InvalidInputs) as caught:
        build_request(classifier(), {"rounds": 3}, domain)
    assert str(caught.value).splitlines() == [
        f"params: {name}: required field is missing. Add it."
        for name in ("train_data_id", "label_data_id", "clients_per_round", "noise_multiplier")
    ]


@pytest.mark.parametrize("given", [None, [], "rounds=3", {("rounds", 3)}])
def test_parameters_are_a_mapping(domain: sy.Domain, given: Any) -> None:
    with pytest.raises(InvalidInput, match="params: is not a mapping"):
        sy.tff.train_model(never, given, domain)


def test_the_model_is_what_model_fn_returns(domain: sy.Domain) -> None:
    with pytest.raises(InvalidInput, match="params: model: is given twice"):
        sy.tff.train_model(never, params(domain.datasets[0], model=classifier()), domain)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "60", None, True])
def test_a_timeout_is_a_number_of_seconds(domain: sy.Domain, timeout: Any) -> None:
    with pytest.raises(InvalidInput, match="timeout: is no time limit"):
        sy.tff.train_model(never, params(domain.datasets[0]), domain, timeout=timeout)


def test_a_model_in_place_of_a_function_is_refused(domain: sy.Domain) -> None:
    for thing in (classifier(), None, "model.py"):
        with pytest.raises(InvalidInput, match="model_fn: is not a function that returns"):
            sy.tff.train_model(thing, params(domain.datasets[0]), domain)


def test_a_function_that_fails_is_said_with_its_reason(domain: sy.Domain) -> None:
    def model_fn() -> Any:
        raise KeyError("units")

    with pytest.raises(InvalidInput, match=r"model_fn: fails: KeyError\('units'\)") as caught:
        sy.tff.train_model(model_fn, params(domain.datasets[0]), domain)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("made", [None, 3, ("model", "x")])
def test_a_function_that_returns_no_model_is_said(domain: sy.Domain, made: Any) -> None:
    with pytest.raises(InvalidInputs, match="model: is not a sequential or functional Keras"):
        sy.tff.train_model(lambda: made, params(domain.datasets[0]), domain)


def test_ids_of_other_places_are_not_found(domain: sy.Domain) -> None:
    with pytest.raises(NotFound, match="no asset named 'elsewhere'"):
        domain.check(build(domain, train_data_id="elsewhere"))
    with pytest.raises(InvalidInput, match="label_data_id: is not the label of dataset 'strokes'"):
        domain.check(build(domain, label_data_id="elsewhere"))


@pytest.mark.tff
@pytest.mark.parametrize("compiled", [False, True])
def test_a_denial_is_raised_with_the_whole_decision(domain: sy.Domain, compiled: bool) -> None:
    def model_fn() -> Any:
        model = classifier()
        if compiled:
            model.compile("sgd", "binary_crossentropy")
        return model

    asked = params(domain.datasets[0], noise_multiplier=0.05, no_clients=1000)
    with pytest.raises(sy.RequestDenied) as caught:
        sy.tff.train_model(model_fn, asked, domain, timeout=60)
    decision = caught.value.decision
    codes = {reason.code for reason in decision.reasons}
    assert {"node.no_clients", "dataset.noise", "accountant.budget_exceeded"} <= codes
    assert decision.counter_proposals
    text = str(caught.value)
    assert text.startswith("Denied: epsilon ")
    assert all(code in text for code in codes)
    assert "Would be allowed now" in text
    assert caught.value.to_json()["decision"] == "deny"
    assert domain.datasets[0].budget.remaining == 8


@pytest.mark.tff
def test_a_model_that_could_not_take_its_weights_costs_nothing(
    domain: sy.Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = classifier()
    monkeypatch.setattr(type(model.get_layer("out")), "weights", [])
    with pytest.raises(InvalidInput, match="layer 'out': has other weights"):
        sy.tff.train_model(lambda: model, params(domain.datasets[0]), domain)
    assert domain.datasets[0].budget.remaining == 8
