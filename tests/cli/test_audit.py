"""`sytff audit run`: what it prints, draws and returns."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from sytff_policy.cli import audit
from tests.cli.command import Sytff

HONEST = {
    "experiment": "full",
    "method": "one-shot",
    "claim": 5.5,
    "bound": 3.5,
    "delta": 1e-7,
    "error": 0.01,
}


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found = [dict(HONEST)]
    monkeypatch.setattr(audit, "require_runtime", lambda: None)
    monkeypatch.setattr(audit, "_findings", lambda canaries, error: found)
    return found


def test_a_claim_that_stands_is_code_0(sytff: Sytff, findings: list[dict[str, Any]]) -> None:
    result = sytff("audit", "run", "--json")
    assert result.code == 0
    assert result.document == {"findings": findings, "refuted": False}
    assert "No claim is refuted" in sytff("audit", "run").out


@pytest.mark.parametrize("bound", [6.0, float("nan")])
def test_a_refuted_claim_is_code_1_and_so_is_a_bound_that_is_no_number(
    sytff: Sytff, findings: list[dict[str, Any]], bound: float
) -> None:
    findings[0]["bound"] = bound
    result = sytff("audit", "run")
    assert result.code == 1
    assert "REFUTED" in result.out


def test_the_picture_is_svg_with_every_bound_and_claim(
    sytff: Sytff, findings: list[dict[str, Any]], tmp_path: Path
) -> None:
    findings.append({**HONEST, "experiment": "sampled", "bound": 100.0, "claim": 1.5})
    sytff("audit", "run", "--plot", tmp_path / "audit.svg")
    root = ElementTree.parse(tmp_path / "audit.svg").getroot()
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert texts >= {"full", "sampled", "3.50", "5.50", "100.00", "1.50"}
    bars = [e for e in root.iter() if e.tag.endswith("rect")][1:]
    assert all(0 <= float(bar.attrib["y"]) <= 270 for bar in bars)


@pytest.mark.tff
@pytest.mark.slow
def test_the_whole_command_on_this_installation(
    sytff: Sytff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong about an honest engine once in a hundred thousand runs."""
    # The command's own process must attack these sources, wherever it is started.
    monkeypatch.setenv("PYTHONPATH", str(Path(audit.__file__).parents[2]))
    plot = tmp_path / "audit.svg"
    arguments = ("--canaries", 800, "--error", "1e-5", "--plot", plot)
    result = sytff("audit", "run", *arguments, "--json")
    assert result.code == 0, result.out + result.err
    assert [item["experiment"] for item in json.loads(result.out)["findings"]] == [
        "full",
        "sampled",
        "evaluation",
    ]
    assert plot.read_text().startswith("<svg")
