"""`sytff request check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sytff_policy.cli.common import (
    Exit,
    HomeOption,
    JsonOption,
    ResearcherOption,
    RoleOption,
    opened,
    read_json,
    researcher_from,
    show,
)
from sytff_policy.decision import Decision, Outcome
from sytff_policy.errors import InvalidInput
from sytff_policy.home import Home, parse_request
from sytff_policy.model_spec import load_model_fn, spec_from_keras
from sytff_policy.rendering import budget_text, decision_text
from sytff_policy.request import TrainRequest

request_app = typer.Typer(help="Ask what a request would cost.", no_args_is_help=True)

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


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.add_typer(request_app, name="request")


@request_app.callback()
def _group() -> None:
    """Ask what a request would cost."""


@request_app.command("check")
def check(
    file: FileArgument,
    model: ModelOption = None,
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
        text = f"{decision_text(decision)}\n{record.name}  {budget_text(decision.budget)}"
        show(decision.to_json(), as_json, text)
        return exit_of(decision)


def load_request(node: Home, file: Path, model: str | None) -> tuple[TrainRequest, Any]:
    """The request in a file, with the architecture of a model function; and that model."""
    document = read_json(file)
    built = None
    if model is not None:
        if not isinstance(document, dict) or document.get("model") is not None:
            raise InvalidInput("--model", "was given, and the request holds a model too")
        built = build_model(model)
        document["model"] = spec_from_keras(built).model_dump(mode="json")
    return parse_request(node, document, where=str(file)), built


def build_model(reference: str) -> Any:
    """The researcher's Keras model."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    function = load_model_fn(reference)
    try:
        return function()
    except Exception as error:
        raise InvalidInput("--model", f"{reference} fails: {error!r}") from error


def exit_of(decision: Decision) -> Exit:
    """The exit code of a decision."""
    codes = {Outcome.ALLOW: Exit.DONE, Outcome.DENY: Exit.DENIED, Outcome.REVIEW: Exit.REVIEW}
    return codes[decision.outcome]
