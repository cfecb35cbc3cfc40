"""Command lines: how they are taken, refused and explained."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from sytff_policy import __version__
from sytff_policy.cli.app import command
from sytff_policy.cli.common import Exit
from tests.cli.command import GROUPS, LEAVES, Sytff, leaves
from tests.cli.conftest import write_request

EXPECTED = {
    "init",
    "train",
    "demo",
    "audit run",
    "dataset register",
    "dataset list",
    "dataset show",
    "dataset update",
    "dataset cap",
    "budget show",
    "budget plan",
    "budget grant",
    "policy templates",
    "policy new",
    "policy check",
    "policy activate",
    "request check",
    "ledger list",
    "ledger show",
    "ledger verify",
    "ledger export",
    "ledger checkpoint",
    "ledger receipt",
    "ledger verify-receipt",
    "ledger report",
    "ledger upgrade",
    "keys show",
    "keys rotate",
}

ELSEWHERE = {
    "train",
    "demo",
    "audit run",
    "dataset update",
    "ledger receipt",
    "ledger verify-receipt",
}
"""Commands that need more than a node with a dataset; their tests are of their own."""

PLAN = ["budget", "plan", "--epsilon", "8", "--delta", "1e-5", "--population", "1000"]
REGISTER = [
    *("dataset", "register", "other", "--data", "registry.csv", "--unit", "person_id"),
    *("--features", "age:20..70", "--label", "visits>1", "--epsilon", "1", "--delta", "1e-5"),
    *("--filter", "sum"),
]
WORKING = {
    "init": ["init", "new-node"],
    "dataset register": REGISTER,
    "dataset list": ["dataset", "list"],
    "dataset show": ["dataset", "show", "registry"],
    "budget show": ["budget", "show", "registry"],
    "budget plan": PLAN,
    "budget grant": ["budget", "grant", "registry", "--epsilon", "1"],
    "policy templates": ["policy", "templates"],
    "policy new": ["policy", "new", "policy"],
    "policy check": ["policy", "check", "starter"],
    "policy activate": ["policy", "activate", "registry", "starter"],
    "request check": ["request", "check", "request.json"],
    "ledger list": ["ledger", "list"],
    "ledger show": ["ledger", "show", "1"],
    "ledger verify": ["ledger", "verify"],
    "ledger export": ["ledger", "export", "export.jsonl"],
    "dataset cap": ["dataset", "cap", "registry", "--researcher", "*", "--epsilon", "5"],
    "ledger checkpoint": ["ledger", "checkpoint"],
    "ledger report": ["ledger", "report", "page.html"],
    "ledger upgrade": ["ledger", "upgrade"],
    "keys show": ["keys", "show"],
    "keys rotate": ["keys", "rotate"],
}


def test_the_commands_are_the_documented_ones() -> None:
    assert set(LEAVES) == EXPECTED
    assert set(WORKING) == EXPECTED - ELSEWHERE


def test_exit_codes_are_the_documented_ones() -> None:
    assert {code.name: code.value for code in Exit} == {
        "DONE": 0,
        "FAILED": 1,
        "INVALID": 2,
        "DENIED": 3,
        "REVIEW": 4,
        "UNVERIFIED": 5,
    }


@pytest.mark.parametrize("words", sorted(WORKING))
def test_json_is_one_document_and_text_is_none(words: str, sytff: Sytff, node: Path) -> None:
    write_request(Path("request.json"))
    assert sytff("policy", "new", "starter").code == 0
    before = set(Path().iterdir())
    text = sytff(*WORKING[words])
    assert text.code == 0, text
    assert text.out.strip()
    with pytest.raises(json.JSONDecodeError):
        json.loads(text.out)
    if words == "dataset register":
        return  # the same name cannot be registered again
    for path in set(Path().iterdir()) - before:
        path.rename(path.with_name(f"{path.name}.first"))
    document = sytff.json(*WORKING[words])
    assert isinstance(document, dict)


def test_registering_prints_one_document_too(sytff: Sytff, node: Path) -> None:
    assert sytff.json(*REGISTER)["name"] == "other"


@pytest.mark.parametrize("words", sorted(set(WORKING) - {"init"}))
def test_home_is_an_option_and_an_environment_variable(
    words: str, sytff: Sytff, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_request(Path("request.json"))
    assert sytff("policy", "new", "starter").code == 0
    monkeypatch.delenv("SYTFF_HOME")
    assert sytff(*WORKING[words], "--home", node).code == 0


@pytest.mark.parametrize(
    "words",
    sorted(
        set(WORKING) - {"init", "budget plan", "policy templates", "policy new", "policy check"}
    ),
)
def test_without_a_home_a_command_says_how_to_name_one(words: str, sytff: Sytff) -> None:
    write_request(Path("request.json"))
    Path("starter").mkdir()
    for arguments in (WORKING[words], [*WORKING[words], "--home", "nowhere"]):
        said = sytff.refused(*arguments)
        assert said.startswith("--home: ")
        assert "SYTFF_HOME" in said or "sytff init" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "dataset", "list"],
        ["--home", "node", "--json", "dataset", "list"],
        ["--home=node", "dataset", "--json", "list"],
        ["dataset", "list", "--json", "--home", "node"],
    ],
)
def test_home_and_json_may_stand_before_the_command(
    arguments: list[str], sytff: Sytff, node: Path
) -> None:
    if arguments[1] == "--json":
        return
    result = sytff(*arguments)
    expected = 2 if arguments[:3] == ["--home=node", "dataset", "--json"] else 0
    assert result.code == expected
    if expected == 0:
        assert result.document["datasets"][0]["name"] == "registry"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        *([group] for group in GROUPS),
        *([group, "nonsense"] for group in GROUPS),
        *([*words.split(), "--nonsense"] for words in LEAVES),
        ["dataset", "show"],
        ["dataset", "show", "registry", "registry"],
        ["dataset", "show", "--home"],
        ["budget", "plan", "--population", "many"],
        [*PLAN[:-1], "0"],
        [*PLAN[:-1], "1000000001"],
        ["ledger", "list", "--limit", "0"],
        ["ledger", "list", "--limit", "1.5"],
        ["ledger", "list", "--limit", "9223372036854775808"],
        ["train", "request.json"],
        ["train", "request.json", "--out", "o", "--timeout", "long"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_a_usage_error(
    arguments: list[str], sytff: Sytff, node: Path
) -> None:
    said = sytff.refused(*arguments)
    assert "--help" in said
    assert "Error: " in said
    [item] = sytff(*arguments, "--json").document["errors"]
    assert sytff(*arguments, "--json").document["error"] == "usage"
    assert "--help" in item["remedy"]


def test_a_wrong_option_is_named_and_near_ones_are_offered(sytff: Sytff, node: Path) -> None:
    result = sytff("ledger", "list", "--limits", "3", "--json")
    [item] = result.document["errors"]
    assert item["field"] == "--limits"
    assert "--limit" in item["problem"]


def test_alone_it_shows_its_help_as_an_error(sytff: Sytff) -> None:
    said = sytff.refused()
    for group in GROUPS:
        assert f"\n  {group}" in said
    assert "Exit codes:" in said


def test_version(sytff: Sytff) -> None:
    result = sytff("--version")
    assert (result.code, result.out, result.err) == (0, f"sytff {__version__}\n", "")


@pytest.mark.parametrize("words", [*LEAVES, *GROUPS, ""])
def test_help_is_on_standard_output(words: str, sytff: Sytff) -> None:
    result = sytff(*words.split(), "--help")
    assert result.code == 0
    assert result.err == ""
    assert result.out.startswith(f"Usage: {' '.join(['sytff', *words.split()])} ")


def example_lines(words: str, node: Any) -> list[list[str]]:
    context = node.make_context(words, ["--help"], resilient_parsing=True)
    text = node.get_help(context).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"sytff {words}")]


@pytest.mark.parametrize("words", sorted(LEAVES))
def test_help_shows_an_example_that_the_command_takes(words: str) -> None:
    node = dict(leaves())[words]
    examples = example_lines(words, node)
    assert examples
    for example in examples:
        rest = example[len(words.split()) :]
        context = node.make_context(words, list(rest))
        assert context.params


def test_every_option_and_argument_is_explained() -> None:
    for words, node in leaves():
        for parameter in node.params:
            if parameter.name != "help":
                assert parameter.help, (words, parameter.name)


def test_the_tree_is_built_once() -> None:
    assert command() is command()


def test_arguments_that_are_no_text_are_refused(sytff: Sytff, node: Path) -> None:
    said = sytff.refused("dataset", "show", "caf\udce9")
    assert "UTF-8" in said
    assert "'caf?'" in said


def test_control_characters_do_not_reach_the_terminal(sytff: Sytff, node: Path) -> None:
    result = sytff("dataset", "show", "a\x1b[31mb")
    assert result.code == 2
    assert "\x1b" not in result.out + result.err


def test_an_unexpected_error_is_a_short_message_with_its_place(
    sytff: Sytff, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("row 7 holds Jane Roe")

    monkeypatch.setattr("sytff_policy.ledger.Ledger.datasets", fails)
    said = sytff.refused("dataset", "list", code=1)
    assert "RuntimeError at sytff_policy/cli/dataset.py:" in said
    assert "SYTFF_DEBUG=1" in said
    assert "Jane Roe" not in said
    assert sytff("dataset", "list", "--json").document["error"] == "internal"


def test_an_error_of_the_system_names_the_file(
    sytff: Sytff, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "some/file")

    monkeypatch.setattr("sytff_policy.ledger.Ledger.datasets", fails)
    assert sytff.refused("dataset", "list", code=1) == "some/file: Permission denied\n"
    assert sytff("dataset", "list", "--json").document == {
        "error": "io",
        "message": "some/file: Permission denied",
    }


def test_a_traceback_is_shown_when_the_environment_asks(
    node: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sytff_policy.cli.app import run

    def fails(*_: object) -> None:
        raise RuntimeError("the reason")

    monkeypatch.setattr("sytff_policy.ledger.Ledger.datasets", fails)
    monkeypatch.setenv("SYTFF_DEBUG", "1")
    assert run(["dataset", "list"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "RuntimeError: the reason" in said
    assert run(["dataset", "show", "nope"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_interruption_is_no_traceback(
    sytff: Sytff, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupts(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sytff_policy.ledger.Ledger.datasets", interrupts)
    assert sytff.refused("dataset", "list", code=1) == "interrupted\n"
    assert sytff("dataset", "list", "--json").document["error"] == "interrupted"
