"""`--model FILE.py:FUNCTION`: the researcher's own code; its architecture alone is sent."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests.cli.command import Sytff
from tests.cli.conftest import write_request
from tests.cli.test_request import CHECK, check

MODELS = """
import sys

import keras

print("a line on standard output")


def logistic():
    print("building")
    layers = [keras.layers.Input((6,), name="features")]
    layers += [keras.layers.Dense(1, activation="sigmoid", name="out")]
    return keras.Sequential(layers)


def custom():
    class Mine(keras.layers.Layer):
        pass

    return keras.Sequential([keras.layers.Input((6,)), Mine(name="mine"), keras.layers.Dense(1)])


def fails():
    raise ValueError("no such thing")


def ends():
    sys.exit("good bye")


def nothing():
    return None


not_a_function = 5
"""


@pytest.fixture
def models(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Model functions for whatever Keras is here."""
    if importlib.util.find_spec("tensorflow") is None:
        monkeypatch.setenv("KERAS_BACKEND", "numpy")
    (place / "models.py").write_text(MODELS)
    return place / "models.py"


@pytest.mark.slow
def test_a_model_function_gives_the_architecture(sytff: Sytff, node: Path, models: Path) -> None:
    decision = check(sytff, 0, "--model", "models.py:logistic", model=None)
    assert decision["warnings"] == []


@pytest.mark.slow
def test_what_a_model_file_prints_does_not_mix_with_the_answer(
    sytff: Sytff, node: Path, models: Path
) -> None:
    write_request(Path("request.json"), model=None)
    result = sytff(*CHECK, "--json", "--model", "models.py:logistic")
    assert result.document["decision"] == "allow"
    assert "building" in result.err


@pytest.mark.slow
def test_a_proposal_with_its_model_may_be_sent_with_the_same_function(
    sytff: Sytff, node: Path, models: Path
) -> None:
    decision = check(
        sytff,
        3,
        *("--model", "models.py:logistic", "--save-proposals", "instead"),
        model=None,
        noise_multiplier=0.1,
    )
    file = decision["proposal_files"][0]
    assert sytff("request", "check", file).code == 0
    assert sytff("request", "check", file, "--model", "models.py:logistic").code == 0
    other = json.loads(Path(file).read_text())
    other["model"]["layers"][0]["activation"] = "tanh"
    Path("other.json").write_text(json.dumps(other))
    said = sytff.refused("request", "check", "other.json", "--model", "models.py:logistic")
    assert "--model: makes another model than the request holds" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("models.py:nope", "has no function 'nope'"),
        ("models.py:not_a_function", "has no function 'not_a_function'"),
        ("models.py:fails", "no such thing"),
        ("models.py:ends", "good bye"),
        ("models.py:nothing", "is not a sequential or functional Keras model"),
        ("models.py:custom", "layer 'mine'"),
    ],
)
def test_a_model_function_that_makes_no_acceptable_model(
    reference: str, expected: str, sytff: Sytff, node: Path, models: Path
) -> None:
    write_request(Path("request.json"), model=None)
    assert expected in sytff.refused(*CHECK, "--model", reference)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("models.py", "must be FILE.py:FUNCTION"),
        (":logistic", "must be FILE.py:FUNCTION"),
        ("nowhere.py:logistic", "no such file"),
        ("broken.py:logistic", "SyntaxError"),
        ("exits.py:logistic", "SystemExit"),
        ("missing.py:logistic", "no_such_module"),
        ("request.json:logistic", "--model"),
    ],
)
def test_a_model_file_that_cannot_be_loaded(
    reference: str, expected: str, sytff: Sytff, node: Path
) -> None:
    Path("broken.py").write_text("def logistic(:\n")
    Path("exits.py").write_text("raise SystemExit(0)\n")
    Path("missing.py").write_text("import no_such_module\n")
    write_request(Path("request.json"), model=None)
    assert expected in sytff.refused(*CHECK, "--model", reference)
