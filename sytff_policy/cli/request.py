"""`sytff request check`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sytff_policy.cli.common import (
    Exit,
    HomeOption,
    JsonOption,
    ResearcherOption,
    RoleOption,
    example,
    opened,
    researcher_from,
    show,
)
from sytff_policy.cli.files import new_folder, read_json, write_json
from sytff_policy.decision import Decision, Outcome
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home, parse_request
from sytff_policy.model_spec import load_model_fn, spec_from_keras
from sytff_policy.rendering import budget_text, decision_text, short
from sytff_policy.request import TrainRequest

request_app = typer.Typer(help="Ask what a request would cost.")

ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="FILE.py:FUNCTION", help="Returns your Keras model."),
]
FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="The request as JSON: dataset (a name), rounds, clients_per_round, "
        "noise_multiplier, ...; - reads standard input.",
    ),
]
ProposalsOption = Annotated[
    Path | None,
    typer.Option(
        "--save-proposals",
        metavar="DIR",
        help="New folder for the counter-proposals, each a request file to send as it is.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.add_typer(request_app, name="request")


@request_app.callback()
def _group() -> None:
    """Ask what a request would cost."""


@request_app.command(
    "check",
    epilog=example(
        'echo \'{"dataset": "registry", "rounds": 100, "clients_per_round": 1000,',
        '       "noise_multiplier": 2}\' > request.json',
        "sytff request check request.json",
        "sytff request check request.json --model models.py:model_fn --save-proposals instead",
    ),
)
def check(
    file: FileArgument,
    model: ModelOption = None,
    save_proposals: ProposalsOption = None,
    researcher: ResearcherOption = None,
    role: RoleOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> int:
    """Judge a request without sending it: the decision, its cost, and what would be accepted.

    Nothing is spent, reserved or recorded. Exit code 0 if it would be allowed, 3 if denied, 4 if
    it would wait for review.
    """
    with opened(home) as node:
        request, _ = load_request(node, file, model)
        record = node.resolve(request)
        who = researcher_from(researcher, role)
        decision = node.gate.check(request, record.name, who)
        notes = []
        if decision.outcome is not Outcome.DENY and decision.cost.charge is not None:
            left = decision.budget.remaining - decision.cost.charge
            notes = [f"It would leave {short(left)} of the budget. Nothing was spent or recorded."]
        return show_decision(decision, save_proposals, as_json, notes)


def show_decision(
    decision: Decision, proposals: Path | None, as_json: bool, notes: Sequence[str] = ()
) -> Exit:
    """Prints a decision and the budget it was made on; saves its proposals; gives its exit code.

    Args:
      decision: The decision.
      proposals: New folder for the counter-proposals, if they are to be saved.
      as_json: Whether to print JSON.
      notes: More lines of text.
    """
    document = decision.to_json()
    lines = [decision_text(decision), f"{decision.dataset}  {budget_text(decision.budget)}", *notes]
    if proposals is not None:
        document["proposal_files"] = _save(decision, proposals)
        lines += [f"  {name}" for name in document["proposal_files"]]
    show(document, as_json, "\n".join(lines))
    codes = {Outcome.ALLOW: Exit.DONE, Outcome.DENY: Exit.DENIED, Outcome.REVIEW: Exit.REVIEW}
    return codes[decision.outcome]


def load_request(node: Home, file: Path, model: str | None) -> tuple[TrainRequest, Any]:
    """The request in a file, with the architecture of a model function; and that model.

    Raises:
      InvalidInput: If the file, the model or the request is not acceptable, or the file holds
        another model than the function makes.
    """
    document = read_json(file)
    where = "standard input" if str(file) == "-" else str(file)
    if isinstance(document, dict) and {"request", "changes"} <= set(document):
        raise InvalidInput(where, "is a counter-proposal", remedy="Send its `request` alone.")
    built = None
    if model is not None:
        built, spec = build_model(model)
        if isinstance(document, dict):
            stated = document.get("model")
            document["model"] = spec
            if stated is not None and parse_request(
                node, {**document, "model": stated}, where=where
            ) != parse_request(node, document, where=where):
                raise InvalidInput(
                    "--model",
                    "makes another model than the request holds",
                    value=model,
                    remedy="Leave out --model, or take model out of the request.",
                )
    return parse_request(node, document, where=where), built


def build_model(reference: str) -> tuple[Any, dict[str, Any]]:
    """The researcher's Keras model, and its architecture as JSON.

    Raises:
      InvalidInput, InvalidInputs: If the function is not there, fails, or makes what is not
        allowed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What the researcher's code prints must not mix with the answer.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            built = load_model_fn(reference)()
        except InvalidInput:
            raise
        except (Exception, SystemExit) as error:
            raise InvalidInput("--model", f"{reference} fails: {error!r}") from error
        return built, spec_from_keras(built).model_dump(mode="json")


def _save(decision: Decision, folder: Path) -> list[str]:
    """Writes each counter-proposal to a file of a new folder, if there are any.

    Raises:
      InvalidInput: If the folder holds something, or cannot be made.
    """
    if not decision.counter_proposals:
        return []
    files = []
    with new_folder(folder, "--save-proposals"):
        for number, proposal in enumerate(decision.counter_proposals, start=1):
            path = folder / f"{number}.json"
            write_json(path, proposal.request)
            files.append(str(path))
    return files
