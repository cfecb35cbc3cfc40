"""`sytff train`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from sytff_policy.cli.common import (
    HomeOption,
    JsonOption,
    ResearcherOption,
    RoleOption,
    err,
    opened,
    researcher_from,
    show,
)
from sytff_policy.cli.request import FileArgument, ModelOption, load_request
from sytff_policy.errors import InvalidInput
from sytff_policy.home import DEFAULT_TIMEOUT_S
from sytff_policy.rendering import budget_text
from sytff_policy.runs.supervisor import OnProgress, Progress, RunResult


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("train")(train)


def train(
    file: FileArgument,
    out: Annotated[Path, typer.Option(help="New folder for weights and metrics.")],
    model: ModelOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds for the run.")] = DEFAULT_TIMEOUT_S,
    researcher: ResearcherOption = None,
    role: RoleOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a request and train: weights.safetensors and metrics.json in --out, or a denial.

    The worst case is reserved before any data is read, and what was executed is charged. A denial
    (exit code 3) says everything that stands against the request and what would be accepted.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput("--out", "is not an empty folder", value=str(out))
    decisions: list[Any] = []
    with opened(home) as node:
        request, _ = load_request(node, file, model)
        who = researcher_from(researcher, role)
        record = node.resolve(request)
        out.mkdir(parents=True, exist_ok=True)
        with progress_bar() as on_progress:
            result = node.submit(
                request,
                who,
                timeout=timeout,
                on_progress=on_progress,
                on_decision=decisions.append,
            )
        files = _copy(result, out)
        budget = node.ledger.dataset(record.name).budget()
        document = {
            **decisions[0].to_json(),
            "run_id": result.run_id,
            "metrics": result.metrics,
            "files": files,
            "digests": result.digests,
            "budget": budget.to_json(),
        }
        show(document, as_json, _text(result, files) + f"\n{record.name}  {budget_text(budget)}")


@contextlib.contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """A progress bar on standard error."""
    with ProgressBar(
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    ) as bar:
        task = bar.add_task("starting", total=None, rate="")

        def update(progress: Progress) -> None:
            rate = f"{progress.rounds_per_second:.1f} rounds/s" if progress.rounds_done > 1 else ""
            bar.update(
                task,
                description=progress.stage,
                completed=progress.rounds_done,
                total=progress.rounds,
                rate=rate,
            )

        yield update


def metrics_text(metrics: dict[str, float]) -> str:
    """Metrics with the standard error of their noise."""
    parts = []
    for name in ("accuracy", "loss"):
        if name in metrics:
            parts.append(f"{name} {metrics[name]:.3f} +- {metrics[name + '_stderr']:.3f}")
    if "units" in metrics:
        parts.append(f"on about {metrics['units']:.0f} people")
    return ", ".join(parts) or "no metrics were asked for"


def _copy(result: RunResult, out: Path) -> dict[str, str]:
    files = {}
    for name in result.digests:
        shutil.copyfile(result.folder / name, out / name)
        files[name] = str(out / name)
    return files


def _text(result: RunResult, files: dict[str, str]) -> str:
    lines = [f"Trained ({result.run_id}): {metrics_text(result.metrics)}"]
    lines += [f"  {path}" for path in files.values()]
    return "\n".join(lines)
