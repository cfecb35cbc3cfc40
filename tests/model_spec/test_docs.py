"""docs/models.md says what the allow-list holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

from sytff_policy._model import parse
from sytff_policy.model_spec import Initializer, ModelSpec
from sytff_policy.model_spec.base import INITIALIZER_ARGUMENTS, MAX_RANK, Activation, Padding
from sytff_policy.model_spec.layers import LAYER_CLASSES
from sytff_policy.model_spec.spec import MAX_ELEMENTS, MAX_LAYERS, MAX_PARAMETERS
from sytff_policy.request import Loss, ServerOptimizer

TEXT = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def table(title: str) -> list[list[str]]:
    """Rows of the first table below a title."""
    section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    block = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)[0]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_layers_and_their_arguments_are_those_of_the_allow_list() -> None:
    documented = {names(layer)[0]: names(arguments) for layer, arguments in table("Layers")}
    allowed = {
        name: [field for field in layer.model_fields if field not in ("name", "inputs", "type")]
        for name, layer in LAYER_CLASSES.items()
    }
    assert documented == allowed
    assert list(documented) == list(allowed)


def test_activations_and_paddings_are_those_of_the_allow_list() -> None:
    lines = TEXT.partition("- `activation`:")[2].partition("\n- ")
    assert names(lines[0]) == list(get_args(Activation))
    assert names(lines[2].partition(". ")[0].partition(":")[2]) == list(get_args(Padding))


def test_initializers_and_their_arguments_are_those_of_the_allow_list() -> None:
    documented = {names(name)[0]: names(arguments) for name, arguments in table("Initializers")}
    allowed = get_args(Initializer.model_fields["name"].annotation)
    assert documented == {name: list(INITIALIZER_ARGUMENTS.get(name, ())) for name in allowed}


def test_losses_and_optimizers_are_those_of_a_request() -> None:
    assert [names(row[0])[0] for row in table("Losses")] == list(get_args(Loss))
    section = TEXT.partition("## Optimizers\n")[2].partition("\n## ")[0]
    assert names(section)[1:] == list(get_args(ServerOptimizer.model_fields["name"].annotation))


def test_limits_are_those_of_the_specification() -> None:
    numbers = [int(re.findall(r"\d+", row[1])[0]) for row in table("Limits")]
    assert numbers == [MAX_LAYERS, MAX_RANK, MAX_PARAMETERS, MAX_ELEMENTS]


def test_the_example_is_a_model() -> None:
    [example] = re.findall(r"^```json\n(.*?)^```", TEXT, flags=re.M | re.S)
    assert parse(ModelSpec, json.loads(example)).parameter_count == 129
