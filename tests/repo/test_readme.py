"""The README tells the truth about its commands, files and names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import sytff_policy
from sytff_policy.cli.app import run
from sytff_policy.datasets.generate import write_demo_csv

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_its_two_commands_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    made = [command[1] for command in commands() if command[0] == "make"]
    assert made == ["demo", "test"]
    assert set(made) <= set(targets)


def test_its_other_commands_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_demo_csv(Path("visits.csv"), people=500)
    text = Path("visits.csv").read_text().replace("person_id", "person", 1)
    Path("visits.csv").write_text(text)
    ours = [command for command in commands() if command[0] == ".venv/bin/sytff"]
    assert len(ours) == 4
    for command in ours:
        assert run(command[1:]) == 0, (command, capsys.readouterr())


def test_its_python_uses_names_that_exist() -> None:
    [example] = blocks("python")
    for name in re.findall(r"\bsy\.([A-Za-z_]+)", example + README):
        assert hasattr(sytff_policy, name), name
    compile(example, "README", "exec")


def test_every_file_that_it_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
