"""`sytff train`."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from sytff_policy.cli.common import (
    Exit,
    HomeOption,
    JsonOption,
    ResearcherOption,
    RoleOption,
    err,
    example,
    opened,
    researcher_from,
    show,
)
from sytff_policy.cli.errors import OutputFailed
from sytff_policy.cli.files import new_folder
from sytff_policy.cli.request import (
    FileArgument,
    ModelOption,
    ProposalsOption,
    load_request,
    show_decision,
)
from sytff_policy.decision import Decision
from sytff_policy.errors import InvalidInput
from sytff_policy.home import DEFAULT_TIMEOUT_S, Home, RequestDenied
from sytff_policy.rendering import budget_text
from sytff_policy.runs.supervisor import OnProgress, Progress, RunResult

LONGEST_S = 31 * 24 * 3600
LINES_OF_PROGRESS = 10
"""How often a run says how far it is where there is no terminal."""


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "train",
        epilog=example("sytff train request.json --model models.py:model_fn --out results"),
    )(train)


def train(
    file: FileArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for weights and metrics.")],
    model: ModelOption = None,
    save_proposals: ProposalsOption = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time limit of the run.")
    ] = DEFAULT_TIMEOUT_S,
    researcher: ResearcherOption = None,
    role: RoleOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> int:
    """Send a request and train.

    Allowed, it leaves weights.safetensors and metrics.json in --out. Denied (exit code 3), it says
    everything that stands against the request, and what would be accepted. The worst case is
    reserved before any data is read, and what was executed is charged: a run that is interrupted
    pays for the rounds that may have started, and the rest is refunded.

    Progress goes to standard error. Send it to a file or a terminal.
    """
    if not (math.isfinite(timeout) and 0 < timeout <= LONGEST_S):
        raise InvalidInput(
            "--timeout",
            "is out of range",
            value=timeout,
            limit=f"above 0, at most {LONGEST_S} seconds",
        )
    decisions: list[Decision] = []
    with opened(home) as node:
        request, _ = load_request(node, file, model)
        if request.model is None:
            raise InvalidInput(
                "--model",
                "is needed to train",
                remedy="Give --model FILE.py:FUNCTION, or put the model into the request.",
            )
        who = researcher_from(researcher, role)
        record = node.resolve(request)
        try:
            with new_folder(out, "--out"), _interruption_explained(node, decisions):
                with progress_bar() as on_progress:
                    result = node.submit(
                        request,
                        who,
                        timeout=timeout,
                        on_progress=on_progress,
                        on_decision=decisions.append,
                    )
                files = _copy(result, out)
        except RequestDenied as denial:
            return show_decision(denial.decision, save_proposals, as_json)
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
        return Exit.DONE


@contextlib.contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """Progress on standard error: a bar on a terminal, a few lines elsewhere."""
    if not err.is_terminal:
        yield _progress_lines()
        return
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


def _progress_lines() -> OnProgress:
    shown: set[tuple[str, int]] = set()

    def update(progress: Progress) -> None:
        key = (progress.stage, progress.rounds_done * LINES_OF_PROGRESS // progress.rounds)
        if key in shown:
            return
        shown.add(key)
        line = f"{progress.stage}: {progress.rounds_done} of {progress.rounds} rounds"
        rate, left = progress.rounds_per_second, progress.seconds_left
        if left is not None:
            line += f", {rate:.1f} rounds/s, {left:.0f} s left"
        err.print(line, markup=False)

    return update


@contextlib.contextmanager
def _interruption_explained(node: Home, decisions: list[Decision]) -> Iterator[None]:
    """Says what an interrupted run was charged, and lets the interruption go on."""
    try:
        yield
    except KeyboardInterrupt:
        decision_id = decisions[0].decision_id if decisions else None
        for reservation in node.ledger.entries(kind="reservation", newest_first=True, limit=100):
            if reservation.body["decision_id"] == decision_id:
                run = node.ledger.run(reservation.body["run_id"])
                err.print(
                    f"{run.run_id} is {run.state}: {run.rounds_started} rounds may have drawn "
                    "noise and stay charged; the rest is refunded",
                    markup=False,
                )
        raise


def _copy(result: RunResult, out: Path) -> dict[str, str]:
    files = {}
    try:
        for name in result.digests:
            shutil.copyfile(result.folder / name, out / name)
            files[name] = str(out / name)
    except OSError as error:
        raise OutputFailed(
            f"{result.run_id} is complete and charged, but its results could not be written to "
            f"{out}: {error.strerror}. They are in {result.folder}"
        ) from None
    return files


def _text(result: RunResult, files: dict[str, str]) -> str:
    lines = [f"Trained ({result.run_id}): {metrics_text(result.metrics)}"]
    lines += [f"  {path}" for path in files.values()]
    return "\n".join(lines)
