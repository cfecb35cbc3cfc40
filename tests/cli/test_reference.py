"""docs/cli.md says what the commands are, take and print."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import sytff_policy.cli
from sytff_policy.cli.common import Exit
from sytff_policy.cli.selecting import KINDS
from sytff_policy.datasets import schema_from_flags
from tests.cli.command import LEAVES, Sytff, leaves
from tests.cli.conftest import write_request
from tests.cli.test_usage import PLAN

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
COMMON = {"--help", "--home", "--json"}


def sections() -> dict[str, str]:
    """The text under each command's heading, by the command's words."""
    parts = re.split(r"^### `sytff ([a-z -]+)`\n", PAGE, flags=re.MULTILINE)
    texts = [re.split(r"^##? ", text, flags=re.MULTILINE)[0] for text in parts[2::2]]
    return dict(zip(parts[1::2], texts, strict=True))


def first_cells(text: str, header: str) -> list[str]:
    """The first cell, without its backquotes, of each row of the table with this header."""
    tables = re.findall(rf"^\| {header} \|.*\n\| --- .*\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    return [re.split(r"(?<!\\)\|", row)[1].strip(" `") for row in rows]


def options_of(node: Any) -> set[str]:
    return {name for parameter in node.params for name in parameter.opts if name.startswith("--")}


def test_every_command_has_its_section() -> None:
    assert sorted(sections()) == sorted(LEAVES)


@pytest.mark.parametrize("words", LEAVES)
def test_every_option_is_in_its_commands_table(words: str) -> None:
    documented = {cell.split()[0] for cell in first_cells(sections()[words], "option")}
    assert documented == options_of(dict(leaves())[words]) - COMMON


@pytest.mark.parametrize("words", LEAVES)
def test_every_command_takes_what_every_command_takes(words: str) -> None:
    documented = {cell.split()[0] for cell in first_cells(PAGE.split("## Data owner")[0], "option")}
    assert documented == COMMON
    assert options_of(dict(leaves())[words]) >= COMMON - {"--help"}


def test_exit_codes() -> None:
    assert [int(cell) for cell in first_cells(PAGE, "exit code")] == sorted(Exit)


def test_kinds_of_entries() -> None:
    assert tuple(first_cells(PAGE, "kind")) == KINDS


def test_environment_variables() -> None:
    named = set(re.findall(r"SYTFF_[A-Z]+", PAGE))
    assert set(first_cells(PAGE, "environment variable")) == named
    source = Path(sytff_policy.cli.__file__).parent
    text = "".join(file.read_text(encoding="utf-8") for file in source.glob("*.py"))
    assert set(re.findall(r"SYTFF_[A-Z]+", text)) == named


@pytest.mark.parametrize("header", ["feature", "label"])
def test_every_form_of_the_table_is_accepted(header: str) -> None:
    forms = [cell.replace("\\|", "|") for cell in first_cells(PAGE, header)]
    assert len(forms) == 5
    for form in forms:
        features, label = (form, "other") if header == "feature" else ("plain", form)
        schema_from_flags(unit="who", features=features, label=label)


def shape(value: Any) -> Any:
    """A document without its values: keys, and the kinds of what they hold."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
    )


def same_shape(documented: Any, actual: Any, path: str = "") -> None:
    """Checks keys all the way down; an empty object or list stands for any."""
    if isinstance(documented, dict) and documented:
        assert isinstance(actual, dict), path
        assert set(documented) == set(actual), path
        for key, item in documented.items():
            same_shape(item, actual[key], f"{path}.{key}")
    elif isinstance(documented, list) and documented and actual:
        same_shape(documented[0], actual[0], f"{path}[0]")
    elif documented is not None and actual is not None:
        assert isinstance(actual, dict | list) == isinstance(documented, dict | list), path
        if not isinstance(documented, dict | list):
            assert shape(documented) == shape(actual), path


PRINTING = {
    "init": ["init", "new"],
    "dataset show": ["dataset", "show", "registry"],
    "budget show": ["budget", "show", "registry"],
    "budget plan": PLAN,
    "budget grant": ["budget", "grant", "registry", "--epsilon", "1"],
    "policy templates": ["policy", "templates"],
    "policy new": ["policy", "new", "mine"],
    "policy check": ["policy", "check", "starter"],
    "policy activate": ["policy", "activate", "registry", "starter"],
    "request check": ["request", "check", "request.json"],
    "dataset cap": ["dataset", "cap", "registry", "--researcher", "*", "--epsilon", "5"],
    "ledger list": ["ledger", "list"],
    "ledger checkpoint": ["ledger", "checkpoint"],
    "ledger report": ["ledger", "report", "page.html"],
    "ledger upgrade": ["ledger", "upgrade"],
    "keys show": ["keys", "show"],
    "keys rotate": ["keys", "rotate"],
    "ledger verify": ["ledger", "verify"],
    "ledger export": ["ledger", "export", "export.jsonl"],
}


def documents(text: str) -> list[Any]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)]


def test_every_json_example_is_compared_with_what_is_printed() -> None:
    assert {words for words, text in sections().items() if documents(text)} == set(PRINTING)


@pytest.mark.parametrize("words", sorted(PRINTING))
def test_json_has_the_documented_shape(words: str, sytff: Sytff, node: Path) -> None:
    sytff.json("policy", "new", "starter")
    write_request(Path("request.json"), noise_multiplier=0.1)
    [documented] = documents(sections()[words])
    result = sytff(*PRINTING[words], "--json")
    assert result.code == (3 if words == "request check" else 0)
    same_shape(documented, result.document)


def test_an_error_has_the_documented_shape(sytff: Sytff, node: Path) -> None:
    errors = PAGE.split("### Errors")[1].split("###")[0]
    [documented] = documents(errors)
    register = [
        *("dataset", "register", "other", "--data", "registry.csv", "--unit", "person_id"),
        *("--features", "age:20..70", "--label", "visits>1", "--epsilon", "8", "--delta", "0.1"),
    ]
    actual = sytff(*register, "--json").document
    same_shape(documented, actual)
    assert {**actual, "message": ""} == {**documented, "message": ""}


def test_the_request_of_the_page_is_one(sytff: Sytff, node: Path) -> None:
    [request] = documents(PAGE.split("## Researcher")[1].split("###")[0])
    sent = json.dumps({**request, "clients_per_round": 20}).encode()
    assert sytff("request", "check", "-", stdin=sent).code == 0
