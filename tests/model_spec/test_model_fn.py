"""`FILE.py:FUNCTION`: the researcher's own file, with an answer for every way it can be wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sytff_policy.errors import InvalidInput
from sytff_policy.model_spec import load_model_fn

SOURCE = """
from dataclasses import dataclass
from math import sqrt

WIDTH = 3

@dataclass
class Settings:
    width: int = WIDTH

def model_fn():
    return ("model", Settings().width)

def other_fn():
    return None
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(SOURCE)
    return path


def test_a_function_is_loaded_and_works(file: Path) -> None:
    assert load_model_fn(f"{file}:model_fn")() == ("model", 3)


@pytest.mark.parametrize("reference", ["", "model.py", ":model_fn", "model.py:"])
def test_what_names_no_file_and_function_is_refused(reference: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be FILE\.py:FUNCTION"):
        load_model_fn(reference)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        load_model_fn(f"{tmp_path / 'none.py'}:model_fn")


def test_a_folder_or_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text(SOURCE)
    with pytest.raises(InvalidInput, match="is not a Python file"):
        load_model_fn(f"{tmp_path / 'model.txt'}:model_fn")
    with pytest.raises(InvalidInput, match="no such file"):
        load_model_fn(f"{tmp_path}:model_fn")


@pytest.mark.parametrize("name", ["missing", "WIDTH"])
def test_a_name_that_is_no_function_is_answered_with_those_that_are(file: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=name) as caught:
        load_model_fn(f"{file}:{name}")
    assert caught.value.limit == "Settings, model_fn, other_fn"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", "no_such_module"),
        ("def model_fn(:", "SyntaxError"),
        ("raise RuntimeError('mine')", "mine"),
        ("import sys\nsys.exit(0)", "SystemExit"),
    ],
)
def test_a_file_that_does_not_load(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(source)
    with pytest.raises(InvalidInput, match="does not load") as caught:
        load_model_fn(f"{path}:model_fn")
    assert message in str(caught.value)
    assert "sytff_researcher_model" not in sys.modules
