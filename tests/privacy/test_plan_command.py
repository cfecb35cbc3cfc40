"""`sytff budget plan`: a table, JSON and a plot, without a node."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sytff_policy.cli.app import run

EXAMPLE = [
    *("budget", "plan", "--epsilon", "2", "--delta", "1e-5", "--population", "10000"),
    *("--expect", "rounds=1,clients_per_round=100,noise_multiplier=1"),
]


def planned(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert run([*EXAMPLE, *more, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_json_has_what_each_choice_admits_and_costs_and_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = planned(capsys)
    best = document["recommended"]
    assert best["filter"]["kind"] == "rdp"
    assert best["filter"]["order"] == 8
    assert best["admitted"] == [879]
    assert best["cost_each"] == ["0.00227422"]
    assert document["textbook"]["filter"]["order"] == "12.5"
    assert document["textbook"]["admitted"] == [1]
    kinds = {choice["filter"]["kind"] for choice in document["choices"]}
    assert kinds == {"rdp", "zcdp", "sum"}
    assert "879" in document["why"]
    assert document["workloads"][0]["clients_per_round"] == 100


def test_the_table_marks_the_recommended_and_the_textbooks_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(EXAMPLE) == 0
    text = capsys.readouterr().out
    assert "rdp, order 8 *" in text
    assert "rdp, order 12.5 +" in text
    assert "Recommended: rdp, order 8: it admits 879 of run 1" in text


def test_several_workloads_are_compared_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    document = planned(
        capsys, "--expect", "rounds=10,clients_per_round=500,noise_multiplier=2,evaluation_noise=9"
    )
    assert len(document["recommended"]["admitted"]) == 2
    assert min(document["recommended"]["admitted"]) > 0


def test_the_number_of_a_sum_filters_requests_can_be_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = planned(capsys, "--requests", "3")
    sums = [c for c in document["choices"] if c["filter"]["kind"] == "sum"]
    assert [c["filter"]["requests"] for c in sums] == [3]


def test_a_plot_is_written_as_svg_or_png(tmp_path: Path) -> None:
    svg, png = tmp_path / "plan.svg", tmp_path / "plan.png"
    assert run([*EXAMPLE, "--plot", str(svg)]) == 0
    assert run([*EXAMPLE, "--plot", str(png)]) == 0
    root = ElementTree.parse(svg).getroot()
    assert root.tag.endswith("svg")
    assert "order of the Renyi filter" in svg.read_text(encoding="utf-8")
    assert "recommended: rdp, order 8" in svg.read_text(encoding="utf-8")
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_same_plan_is_the_same_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one.svg", tmp_path / "other.svg"
    for path in (one, other):
        assert run([*EXAMPLE, "--plot", str(path)]) == 0
    assert one.read_bytes() == other.read_bytes()


def test_the_documented_plans_are_what_the_command_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = Path(__file__).parents[2].joinpath("docs", "budgets.md").read_text(encoding="utf-8")
    shown = re.findall(r"```console\n\$ sytff (budget plan .*?)\n(run 1:.*?)```", page, re.DOTALL)
    assert len(shown) == 2
    for command, printed in shown:
        assert run(shlex.split(command.replace("\\\n", " "))) == 0
        lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        documented = printed.splitlines()
        assert lines[: len(documented)] == documented


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--plot", "plan.pdf"),
        ("--plot", "plan"),
        ("--plot", "no/such/folder/plan.svg"),
        ("--epsilon", "nan"),
        ("--epsilon", "inf"),
        ("--epsilon", "-1"),
        ("--epsilon", "0"),
        ("--epsilon", "1e999999999"),
        ("--epsilon", "1e-300"),
        ("--epsilon", "0.0000000001"),
        ("--epsilon", "1" * 100),
        ("--epsilon", "one"),
        ("--delta", "1"),
        ("--delta", "0.001"),
        ("--delta", "1e-400"),
        ("--delta", "nan"),
        ("--requests", "0"),
        ("--expect", "rounds=0,clients_per_round=1,noise_multiplier=1"),
        ("--expect", "rounds=1,clients_per_round=10001,noise_multiplier=1"),
        ("--expect", "rounds=1,clients_per_round=1,noise_multiplier=0"),
        ("--expect", "rounds=1,clients_per_round=1,noise_multiplier=nan"),
        ("--expect", "rounds=1,clients_per_round=1,noise_multiplier=1,evaluation_noise=0"),
        ("--expect", "rounds=x,clients_per_round=1,noise_multiplier=1"),
        ("--expect", "clients_per_round=1,noise_multiplier=1"),
        ("--expect", "rounds=1,rounds=2,clients_per_round=1,noise_multiplier=1"),
        ("--expect", "speed=1"),
    ],
)
def test_what_cannot_be_planned_is_said_by_its_flag(
    capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    arguments = [*EXAMPLE]
    if flag in arguments and flag != "--expect":
        arguments[arguments.index(flag) + 1] = value
    else:
        arguments += [flag, value]
    assert run(arguments) == 2
    assert flag in capsys.readouterr().err
