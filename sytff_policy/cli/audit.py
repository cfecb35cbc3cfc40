"""`sytff audit run`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from sytff_policy.cli.common import JsonOption, UnusedHomeOption, example, show
from sytff_policy.cli.errors import Exit
from sytff_policy.errors import InvalidInput, SytffError
from sytff_policy.runs.supervisor import require_runtime

audit_app = typer.Typer(help="Test the engine's privacy claims by attack.")


class AuditFailed(SytffError):
    """The audit could not be carried out. It says nothing about the engine."""

    code = "audit.failed"


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(audit_app, name="audit")


@audit_app.callback()
def audit_commands() -> None:
    """Test the engine's privacy claims by attack."""


@audit_app.command("run", epilog=example("sytff audit run --canaries 1000 --plot bounds.svg"))
def run(
    canaries: Annotated[
        int, typer.Option(metavar="N", min=400, max=20_000, help="Canary people.")
    ] = 2000,
    error: Annotated[
        float,
        typer.Option(metavar="P", min=1e-9, max=0.5, help="Chance that an honest engine fails."),
    ] = 0.05,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="SVG file: bounds beside claims.")
    ] = None,
    home: UnusedHomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attack this installation's engine with canaries in a test dataset.

    Lower confidence bounds on epsilon stand beside what the ledger would claim for the same runs.
    Exit code 1 if a claim is refuted. No dataset of a node is read and no budget is spent.
    """
    require_runtime()
    if plot is not None and not plot.absolute().parent.is_dir():
        raise InvalidInput("--plot", "is in a folder that does not exist", value=str(plot))
    findings = _findings(canaries, error)
    if plot is not None:
        plot.write_text(svg(findings), encoding="utf-8")
    refuted = [item for item in findings if not item["bound"] <= item["claim"]]
    text = "\n".join(_line(item) for item in findings)
    text += "\nA claim is REFUTED." if refuted else "\nNo claim is refuted."
    show({"findings": findings, "refuted": bool(refuted)}, as_json, text)
    if refuted:
        raise typer.Exit(Exit.FAILED)


def _findings(canaries: int, error: float) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as place:
        out, log = Path(place) / "findings.json", Path(place) / "log"
        module = "sytff_policy.training.audit"
        with log.open("wb") as stream:
            code = subprocess.run(
                [sys.executable, "-m", module, str(canaries), str(error), str(out)],
                stdin=subprocess.DEVNULL,
                # Never a pipe: TFF's worker would hold it open.
                stdout=stream,
                stderr=stream,
                check=False,
            ).returncode
        if code != 0 or not out.is_file():
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise AuditFailed(f"the audit ended with status {code}: {' '.join(last)}")
        findings: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
        return findings


def _line(item: dict[str, Any]) -> str:
    mark = "ok" if item["bound"] <= item["claim"] else "REFUTED"
    return (
        f"{item['experiment']:<11} claimed epsilon {item['claim']:6.3f}   "
        f"shown by attack ({item['method']}) > {item['bound']:6.3f}   {mark}"
    )


def svg(findings: list[dict[str, Any]]) -> str:
    """A bar for each bound and a line for each claim, as an SVG document."""
    top: float = 1.15 * max(
        max(item["claim"], min(item["bound"], 3 * item["claim"])) for item in findings
    )
    width, height, left = 130 * len(findings) + 80, 320, 60

    def y(value: float) -> float:
        return 270 - 240 * min(value, top) / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18">epsilon at delta {findings[0]["delta"]:g}: shown by attack '
        "(bar), claimed (line)</text>",
        f'<line x1="{left}" y1="270" x2="{width - 20}" y2="270" stroke="black"/>',
    ]
    for index, item in enumerate(findings):
        x = left + 20 + 130 * index
        color = "#4477aa" if item["bound"] <= item["claim"] else "#cc3311"
        bar, claim = y(item["bound"]), y(item["claim"])
        parts += [
            f'<rect x="{x}" y="{bar:.1f}" width="70" height="{270 - bar:.1f}" fill="{color}"/>',
            f'<text x="{x}" y="{bar - 4:.1f}">{item["bound"]:.2f}</text>',
            f'<line x1="{x - 12}" y1="{claim:.1f}" x2="{x + 82}" y2="{claim:.1f}" '
            'stroke="black" stroke-width="2"/>',
            f'<text x="{x + 50}" y="{claim - 4:.1f}">{item["claim"]:.2f}</text>',
            f'<text x="{x}" y="288">{item["experiment"]}</text>',
            f'<text x="{x}" y="303" fill="#555555">{item["method"]}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
