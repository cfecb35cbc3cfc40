"""Every field of a request: what it accepts, up to its limits, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sytff_policy._model import parse
from sytff_policy.errors import InvalidInputs
from sytff_policy.request import Researcher, TrainRequest
from tests.request.documents import MODEL, REQUIRED, document, request

# Field path -> smallest and largest value accepted, smallest refused below and above.
INTEGERS = {
    "rounds": (1, 1_000_000),
    "clients_per_round": (1, 1_000_000_000),
    "no_clients": (1, 1_000_000_000),
    "batch_size": (1, 4096),
    "local_epochs": (1, 100),
}
TINY = 5e-324
FLOATS: dict[str, tuple[float, float, float, float]] = {
    # accepted least, accepted most, refused below, refused above
    "noise_multiplier": (0.0, 1e6, -TINY, math.nextafter(1e6, math.inf)),
    "clipping.norm": (TINY, 1e6, 0.0, math.nextafter(1e6, math.inf)),
    "client_optimizer.learning_rate": (TINY, 1000.0, 0.0, 1000.1),
    "client_optimizer.momentum": (0.0, math.nextafter(1.0, 0.0), -TINY, 1.0),
    "server_optimizer.learning_rate": (TINY, 1000.0, 0.0, 1000.1),
    "server_optimizer.momentum": (0.0, math.nextafter(1.0, 0.0), -TINY, 1.0),
    "evaluation.noise_multiplier": (0.0, 1e6, -TINY, math.nextafter(1e6, math.inf)),
    "evaluation.holdout": (0.0, 0.9, -TINY, math.nextafter(0.9, 1.0)),
}
ADAPTIVE: dict[str, tuple[float, float, float, float]] = {
    "initial_norm": (TINY, 1e6, 0.0, math.nextafter(1e6, math.inf)),
    "target_quantile": (TINY, math.nextafter(1.0, 0.0), 0.0, 1.0),
    "learning_rate": (TINY, 10.0, 0.0, math.nextafter(10.0, math.inf)),
    "clipped_count_stddev": (TINY, 1e9, 0.0, math.nextafter(1e9, math.inf)),
}
ADAM: dict[str, tuple[float, float, float, float]] = {
    "beta_1": (0.0, math.nextafter(1.0, 0.0), -TINY, 1.0),
    "beta_2": (0.0, math.nextafter(1.0, 0.0), -TINY, 1.0),
    "epsilon": (TINY, 1.0, 0.0, math.nextafter(1.0, 2.0)),
}
NO_NUMBER: tuple[Any, ...] = ("1", True, [1], {}, "nan", math.nan, math.inf, -math.inf, 10**400)


def prepared(path: str, value: Any) -> dict[str, Any]:
    made = document(path, value)
    if "clipping" in made:
        made["clipping"]["kind"] = "fixed"
    return made


def adaptive(name: str, value: Any) -> dict[str, Any]:
    return document(clipping={"kind": "adaptive", name: value})


def adam(name: str, value: Any) -> dict[str, Any]:
    return document(server_optimizer={"name": "adam", name: value})


CASES = [
    *((prepared, path, limits) for path, limits in FLOATS.items()),
    *((adaptive, name, limits) for name, limits in ADAPTIVE.items()),
    *((adam, name, limits) for name, limits in ADAM.items()),
]


def refused(made: Any) -> list[Any]:
    with pytest.raises(InvalidInputs) as caught:
        parse(TrainRequest, made)
    return caught.value.errors


@pytest.mark.parametrize(
    ("make", "path", "limits"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_number_is_accepted_up_to_its_limits_and_refused_beyond(
    make: Any, path: str, limits: tuple[float, float, float, float]
) -> None:
    least, most, below, above = limits
    for value in (least, most):
        parse(TrainRequest, make(path, value))
    for value in (below, above, *NO_NUMBER):
        [error] = refused(make(path, value))
        assert error.field.endswith(path)


@pytest.mark.parametrize("path", INTEGERS)
def test_an_integer_is_accepted_up_to_its_limits_and_refused_beyond(path: str) -> None:
    least, most = INTEGERS[path]
    for value in (least, most):
        assert getattr(request(path, value), path) == value
    for value in (least - 1, most + 1, float(least), 10.5, np.int64(5), *NO_NUMBER):
        [error] = refused(document(path, value))
        assert error.field == path


@pytest.mark.parametrize("path", [*REQUIRED, "batch_size", "clipping", "purpose"])
def test_none_is_no_value_where_a_value_is_needed(path: str) -> None:
    [error] = refused(document(path, None))
    assert error.field == path


@pytest.mark.parametrize("path", ["no_clients", "loss", "model", "evaluation", "idempotency_key"])
def test_none_is_the_default_where_one_may_go_without(path: str) -> None:
    assert getattr(request(path, None), path) is None


@pytest.mark.parametrize("path", ["train_data_id", "label_data_id", "idempotency_key"])
def test_identifiers_are_printable_and_not_endless(path: str) -> None:
    for value in ("a", "a" * 200, "größe 数", "a b/c"):
        assert getattr(request(path, value), path) == value
    for value in ("", "a" * 201, "a\nb", "a\x00", "\x7f", "\x9b1m", "\ud800", 3, b"a"):
        [error] = refused(document(path, value))
        assert error.field == path


def test_a_purpose_is_text_for_people() -> None:
    for value in ("", "p" * 500, "two\nlines\tand a tab", "für die Forschung"):
        assert request("purpose", value).purpose == value
    for value in ("p" * 501, "\x1b[2J", "\r", "\x7f", "\x9b", "\ud800", 3):
        [error] = refused(document("purpose", value))
        assert error.field == "purpose"


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        ("loss", ["sparse_categorical_crossentropy", "binary_crossentropy", "mean_squared_error",
                  "mean_absolute_error", "huber"]),
        ("client_optimizer.name", ["sgd"]),
        ("server_optimizer.name", ["sgd", "adam", "adagrad", "yogi"]),
    ],
)  # fmt: skip
def test_choices_are_named_when_another_is_made(path: str, accepted: list[str]) -> None:
    for value in accepted:
        request(path, value)
    [error] = refused(document(path, "os.system"))
    assert error.field == path
    assert all(value in str(error.limit) for value in accepted)


def test_clipping_says_which_kind_it_is() -> None:
    [error] = refused(document(clipping={"norm": 0.5}))
    assert (error.field, error.problem) == ("clipping.kind", "required field is missing")
    [error] = refused(document(clipping={"kind": "none"}))
    assert error.field == "clipping.kind"
    assert "'fixed', 'adaptive'" in str(error)
    [error] = refused(document(clipping={"kind": "fixed", "target_quantile": 0.5}))
    assert error.field == "clipping.target_quantile"
    [error] = refused(document(clipping=0.5))
    assert error.field == "clipping"


@pytest.mark.parametrize(
    ("optimizer", "field"),
    [
        ({"name": "adam", "momentum": 0.9}, "momentum"),
        ({"name": "sgd", "beta_1": 0.5}, "beta_1"),
        ({"name": "adagrad", "beta_2": 0.5}, "beta_2"),
        ({"name": "sgd", "epsilon": 0.5}, "epsilon"),
    ],
)
def test_an_optimizers_argument_that_would_do_nothing_is_refused(
    optimizer: dict[str, Any], field: str
) -> None:
    [error] = refused(document(server_optimizer=optimizer))
    assert error.field == f"server_optimizer.{field}"
    assert f"not of {optimizer['name']}; leave it at" in str(error)


def test_an_unknown_field_is_named_with_the_one_that_was_meant() -> None:
    [error] = refused(document(clients_per_rounds=3))
    assert error.field == "clients_per_rounds"
    assert error.remedy == "Did you mean clients_per_round?"
    [error] = refused(document(evaluation={"holdouts": 0.1}))
    assert error.field == "evaluation.holdouts"
    assert "spelling" in error.remedy
    [error] = refused({**document(), 3: 4})
    assert error.field == "3"


def test_everything_that_is_wrong_is_said_at_once() -> None:
    made = document(
        rounds=0,
        noise_multiplier=math.nan,
        loss="l2",
        clipping={"kind": "fixed", "norm": 0},
        model={**MODEL, "layers": [{**MODEL["layers"][0], "units": -1}]},
        colour="red",
    )
    del made["train_data_id"]
    fields = {error.field for error in refused(made)}
    assert fields == {"rounds", "noise_multiplier", "loss", "clipping.norm", "colour",
                      "train_data_id", "model.layers.0.units"}  # fmt: skip


def test_messages_say_what_was_seen_and_what_is_accepted() -> None:
    with pytest.raises(InvalidInputs) as caught:
        parse(TrainRequest, document(rounds=0, noise_multiplier="1"), where="ask.json")
    assert str(caught.value).splitlines() == [
        "ask.json: rounds: input should be greater than or equal to 1 (got 0); accepted: >= 1",
        "ask.json: noise_multiplier: input should be a valid number (got '1')",
    ]
    [first, _] = caught.value.to_json()["errors"]
    assert first == {
        "field": "ask.json: rounds",
        "problem": "input should be greater than or equal to 1",
        "value": "0",
        "limit": ">= 1",
        "remedy": "",
    }


@pytest.mark.parametrize(
    "value", [10**5000, -(10**5000), "x" * 10**6, {"a": 1}, [0] * 10**5], ids=range(5)
)
def test_a_huge_value_makes_a_short_message(value: Any) -> None:
    [error] = refused(document(rounds=value))
    assert len(str(error)) < 300


@pytest.mark.parametrize("made", [None, 3, "x", [], [REQUIRED]])
def test_what_is_no_object_is_refused(made: Any) -> None:
    with pytest.raises(InvalidInputs, match="document: input should be an object"):
        parse(TrainRequest, made)


def test_a_request_cannot_be_changed() -> None:
    made = request()
    with pytest.raises(ValueError, match="frozen"):
        made.rounds = 5  # type: ignore[misc]


def test_a_researcher_is_held_to_the_same_rules() -> None:
    assert parse(Researcher, {"id": "alice"}).roles == ("researcher",)
    assert parse(Researcher, {"id": "a", "roles": ["guest"]}).roles == ("guest",)
    for wrong in ({"id": ""}, {"id": "a\nb"}, {"id": "a", "roles": "guest"}, {"id": "a", "x": 1}):
        with pytest.raises(InvalidInputs):
            parse(Researcher, wrong)
