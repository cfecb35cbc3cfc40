"""docs/tutorial.md, command by command, on a registry of the same shape."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.registry import COLUMNS, write_registry
from tests.runs.processes import runners

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")

MASKS = (
    (r"\b(run|dec)-[0-9a-f]{16}\b", r"\1-ID"),
    (r"\bnode-[0-9a-f-]{36}\b", "node-ID"),
    (r"\+[0-9a-f]{8}\+[\w+/=]+", "+KEY"),
    (r"\b(hmac-)?sha256:[0-9a-f]{64}\b", "DIGEST"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r"[\d.]+ rounds/s, \d+ s left", "RATE"),
    (r"\d\.\d{3} \+- \d\.\d{3}", "METRIC"),
    (r"accuracy \d\.\d{3}", "accuracy METRIC"),
    (r"about \d+ people", "about SOME people"),
    (r"\(and \d+ more rows\)", "(and MORE rows)"),
    (r"\d+ tests pass", "ALL tests pass"),
    (r" +", " "),
)
"""What differs from run to run and from registry to registry. Costs do not: they depend on the
number of people and on the request alone."""

TIMED = (*MASKS, (r"\d+(\.\d+)?", "N"), (r"[#+.]{40}", "BAR"))
"""After a run was killed at some moment, and where its entries are counted, all numbers differ."""


def steps() -> list[tuple[str, str]]:
    """The page's commands and what they print, in order."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    found: list[tuple[str, str]] = []
    for language, text in blocks:
        if language == "sh":
            found.append((text, ""))
        elif language == "text":
            assert found[-1][1] == ""
            found[-1] = (found[-1][0], text)
    return found


def masked(text: str, masks: tuple[tuple[str, str], ...]) -> str:
    for pattern, stands_for in masks:
        text = re.sub(pattern, stands_for, text)
    return text


def test_the_registry_of_the_tests_has_the_columns_of_the_page() -> None:
    paragraph = PAGE.split("Any CSV file with these columns")[1].split("\n\n")[0]
    named = re.findall(r"`([a-z]+)`", paragraph)
    assert len(named) > 10
    assert set(named) <= set(COLUMNS)
    used = set(re.findall(r"[a-z]+", PAGE.split("--features '")[-1].split("'")[0]))
    assert used <= set(named)


@pytest.mark.tff
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_prints_what_the_page_says(tmp_path: Path) -> None:
    majority = write_registry(tmp_path / "registry.csv")
    lines = [
        line for number, step in enumerate(steps()) for line in (f'echo "@@{number}"', step[0])
    ]
    (tmp_path / "script").write_text("\n".join([*lines, 'echo "@@end"']))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SYTFF")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with (tmp_path / "output").open("wb") as output:
        subprocess.run(
            ["bash", "script"],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
            timeout=800,
        )
    text = (tmp_path / "output").read_text(encoding="utf-8")
    printed = re.split(r"^@@(?:\d+|end)\n", text, flags=re.MULTILINE)[1:-1]
    assert len(printed) == len(steps())
    killed = False
    for (commands, expected), actual in zip(steps(), printed, strict=True):
        killed = killed or "kill -9" in commands
        masks = TIMED if killed else MASKS
        assert masked(actual, masks) == masked(expected, masks), commands
    for log in ("logistic.log", "mlp.log"):
        said = (tmp_path / log).read_text(encoding="utf-8")
        [accuracy] = re.findall(r"accuracy (\d\.\d+) ", said)
        assert float(accuracy) > max(majority, 1 - majority) + 0.03, log
    assert runners(tmp_path / "node") == []
