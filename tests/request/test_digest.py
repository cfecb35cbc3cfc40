"""The digest of a request: one for each meaning, on every Python, for ever."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy._model import parse
from sytff_policy.canonical import canonical_bytes, decimal_text, digest
from sytff_policy.request import TrainRequest
from tests.request.documents import MODEL, document, request

FULL: dict[str, Any] = document(
    no_clients=300,
    clipping={"kind": "adaptive", "initial_norm": 0.3, "clipped_count_stddev": 2.5},
    client_optimizer={"learning_rate": 0.05, "momentum": 0.9},
    server_optimizer={"name": "adam", "learning_rate": 0.01, "epsilon": 1e-7},
    batch_size=8,
    local_epochs=2,
    loss="binary_crossentropy",
    model=MODEL,
    evaluation={"noise_multiplier": 20.0, "holdout": 0.0},
    purpose="größe & 数",
    idempotency_key="k-1",
)
GOLDEN = {
    "small": (
        document(),
        "sha256:2e669e069ddef618865d99235e34f45f910e3ca1527a28317c89a0b116b25885",
    ),
    "full": (FULL, "sha256:b2596d5bd1f0bd9976296d812296d584025414bae0b10061e0b3e902f928af4a"),
    "without metrics": (
        document(evaluation=None),
        "sha256:7e72dd4071adb8f0a38a7f6651648bb12a461785c226923d555a5292989252a5",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_digests_of_known_requests_do_not_change(case: str) -> None:
    made, expected = GOLDEN[case]
    assert parse(TrainRequest, made).digest == expected


def test_the_canonical_bytes_of_a_small_request_are_these() -> None:
    assert canonical_bytes(request().to_json()) == (
        b'{"batch_size":32,"client_optimizer":{"learning_rate":0.1,"momentum":0,"name":"sgd"},'
        b'"clients_per_round":20,"clipping":{"kind":"fixed","norm":1},'
        b'"evaluation":{"holdout":0.2,"noise_multiplier":5},"idempotency_key":null,'
        b'"label_data_id":"labels-id","local_epochs":1,"loss":null,"model":null,'
        b'"no_clients":null,"noise_multiplier":1,"purpose":"","rounds":10,'
        b'"server_optimizer":{"beta_1":0.9,"beta_2":0.99,"epsilon":0.001,"learning_rate":1,'
        b'"momentum":0,"name":"sgd"},"train_data_id":"features-id"}'
    )


def test_defaults_given_or_left_out_are_the_same_request() -> None:
    assert parse(TrainRequest, request().to_json()).digest == request().digest
    assert request(evaluation={}).digest == request().digest
    assert request(clipping={"kind": "fixed"}).digest == request().digest
    assert request(evaluation=None).digest != request().digest


def test_the_order_of_fields_does_not_matter() -> None:
    turned = dict(reversed(list(FULL.items())))
    assert parse(TrainRequest, turned).digest == parse(TrainRequest, FULL).digest


@pytest.mark.parametrize(
    ("path", "whole", "spelled"),
    [
        ("noise_multiplier", 1, 1.0),
        ("noise_multiplier", 0, -0.0),
        ("client_optimizer.learning_rate", 2, 2.0),
        ("evaluation.noise_multiplier", 7, 7.0),
    ],
)
def test_a_whole_number_is_a_number(path: str, whole: int, spelled: float) -> None:
    assert request(path, whole).digest == request(path, spelled).digest
    text = json.dumps(document(path, whole))
    assert parse(TrainRequest, json.loads(text)).digest == request(path, spelled).digest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rounds", 11),
        ("noise_multiplier", 1.0000000000000002),
        ("clipping", {"kind": "adaptive"}),
        ("no_clients", 3),
        ("purpose", " "),
        ("idempotency_key", "k"),
        ("model", MODEL),
        ("loss", "huber"),
        ("server_optimizer.momentum", 0.1),
    ],
)
def test_any_change_of_meaning_changes_the_digest(path: str, value: Any) -> None:
    assert request(path, value).digest != request().digest


FLOAT = st.floats(min_value=5e-324, max_value=0.5)
REQUESTS = st.fixed_dictionaries(
    {
        "train_data_id": st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20),
        "label_data_id": st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20),
        "rounds": st.integers(1, 10**6),
        "clients_per_round": st.integers(1, 10**9),
        "noise_multiplier": st.floats(0, 1e6) | st.integers(0, 10**6),
    },
    optional={
        "no_clients": st.none() | st.integers(1, 10**9),
        "clipping": st.fixed_dictionaries({"kind": st.just("fixed"), "norm": FLOAT})
        | st.fixed_dictionaries({"kind": st.just("adaptive")}, optional={"target_quantile": FLOAT}),
        "client_optimizer": st.fixed_dictionaries({}, optional={"momentum": FLOAT}),
        "server_optimizer": st.fixed_dictionaries(
            {"name": st.sampled_from(["adam", "yogi"])}, optional={"beta_1": FLOAT}
        ),
        "evaluation": st.none() | st.fixed_dictionaries({}, optional={"holdout": FLOAT}),
        "purpose": st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40),
        "model": st.none() | st.just(MODEL),
    },
)


@given(REQUESTS)
def test_requests_survive_json_unchanged(made: dict[str, Any]) -> None:
    first = parse(TrainRequest, made)
    text = json.dumps(first.to_json())
    again = parse(TrainRequest, json.loads(text))
    assert again == first
    assert again.digest == first.digest
    assert parse(TrainRequest, json.loads(canonical_bytes(first.to_json()))) == first


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"), ("-0", "0"), ("0.000", "0"), ("1e3", "1000"), ("1.50", "1.5"),
        ("1e-9", "0.000000001"), ("-2.0", "-2"), ("123456789012345.678", "123456789012345.678"),
    ],
)  # fmt: skip
def test_a_decimal_has_one_spelling(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_decimal_number_has_no_spelling(value: str) -> None:
    with pytest.raises(ValueError, match="no exact decimal form"):
        decimal_text(Decimal(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {1, 2}, b"x", "\ud800"])
def test_what_has_no_canonical_form_has_no_digest(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        digest({"value": value})


def test_decimals_are_text_and_sequences_are_arrays_in_canonical_json() -> None:
    assert canonical_bytes({"b": (1, Decimal("0.10")), "a": 1e21}) == b'{"a":1e+21,"b":[1,"0.1"]}'
