"""pyproject.toml, requirements.lock, bootstrap.txt and the reasons in the documentation agree."""

from __future__ import annotations

import re
from pathlib import Path

import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
# The environment that the lock is compiled for; whatever machine runs this test.
TARGET = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
}


def pins(text: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def direct_requirements() -> list[Requirement]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    lines = [line for group in groups for line in group]
    lines += [
        line
        for line in (ROOT / "requirements" / "requirements.in").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    requirements = [Requirement(line) for line in lines]
    return [requirement for requirement in requirements if requirement.name != PROJECT["name"]]


def test_the_lock_satisfies_every_direct_requirement() -> None:
    locked = pins(LOCK)
    unsatisfied = {
        str(requirement): locked.get(canonicalize_name(requirement.name))
        for requirement in direct_requirements()
        if (requirement.marker is None or requirement.marker.evaluate(TARGET))
        and not requirement.specifier.contains(
            locked.get(canonicalize_name(requirement.name), "missing"), prereleases=True
        )
    }
    assert unsatisfied == {}, "run `make lock`"


def test_the_lock_keeps_every_override() -> None:
    overrides = (ROOT / "requirements" / "overrides.txt").read_text().splitlines()
    locked = pins(LOCK)
    for line in overrides:
        if line and not line.startswith("#"):
            override = Requirement(line)
            assert override.specifier.contains(locked[canonicalize_name(override.name)]), line


def test_every_locked_package_has_hashes_and_no_address() -> None:
    for text in (LOCK, (ROOT / "requirements" / "bootstrap.txt").read_text()):
        entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
        without_hash = [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
        assert without_hash == []
        assert "://" not in text


def test_the_bootstrap_is_one_pinned_tool() -> None:
    assert list(pins((ROOT / "requirements" / "bootstrap.txt").read_text())) == ["uv"]


def test_each_direct_dependency_has_its_reason_in_the_documentation() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    documented = {canonicalize_name(name) for name in re.findall(r"^\| `([^`]+)`", reasons, re.M)}
    bootstrap = set(pins((ROOT / "requirements" / "bootstrap.txt").read_text()))
    wanted = {canonicalize_name(requirement.name) for requirement in direct_requirements()}
    assert documented == wanted | bootstrap
