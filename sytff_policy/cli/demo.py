"""`sytff demo`: the whole story on synthetic people, with numbers."""

from __future__ import annotations

import csv
import io
import re
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.rule import Rule
from rich.text import Text

from sytff_policy.cli.common import JsonOption, err, example, out, print_json
from sytff_policy.cli.errors import Exit
from sytff_policy.cli.planning import planned_filter
from sytff_policy.cli.train import metrics_text, progress_bar
from sytff_policy.datasets import schema_from_flags
from sytff_policy.datasets.generate import (
    DEMO_FEATURES,
    DEMO_LABEL,
    DEMO_UNIT,
    write_demo_csv,
)
from sytff_policy.decision import CounterProposal, Decision
from sytff_policy.errors import SytffError
from sytff_policy.home import Home, RequestDenied, parse_request
from sytff_policy.ledger.verify import verify_export
from sytff_policy.policy import template
from sytff_policy.privacy import RunMechanism
from sytff_policy.rendering import budget_text, decision_text
from sytff_policy.request import Researcher, TrainRequest
from sytff_policy.runs.supervisor import require_runtime

PEOPLE = 6000
POLICY = "health_registry"
BUDGET = Decimal(8), Decimal("1e-5")

MODEL: dict[str, Any] = {
    "inputs": [{"name": "features", "shape": [6]}],
    "layers": [
        {"type": "Dense", "name": "hidden", "inputs": ["features"], "units": 16,
         "activation": "relu"},
        {"type": "Dense", "name": "visit", "inputs": ["hidden"], "units": 1,
         "activation": "sigmoid"},
    ],
    "output": "visit",
}  # fmt: skip

_STYLES = (
    (r"^Denied", "bold red"),
    (r"NOT verified", "bold red"),
    (r"^Trained|^Verified", "bold green"),
    (r"(?<=\[)#+(?=[+.]*\] epsilon)", "red"),
    (r"(?<=[\[#])\.+(?=\] epsilon)", "green"),
    (r"\[[a-z]+\.[a-z_]+\]$", "dim"),
    (r"^  - (?=[a-z_.]+ \S+ -> )", "green"),
)

ANNOUNCEMENT = {"rounds": 10, "noise_multiplier": 0.05}
"""PySyTFF's published example: 10 rounds, 2 of 3 clients in each, noise 0.05."""


class DemoFailed(SytffError):
    """Something in the demo did not go as it must."""

    code = "demo.failed"


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo", epilog=example("sytff demo", "sytff demo --home demo-node"))(demo)


def demo(
    people: Annotated[int, typer.Option(help="How many people to make up.", min=1000)] = PEOPLE,
    # Not from SYTFF_HOME, which names a node that is there already.
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="An empty or new folder for the node. Default: a temporary one."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Show the whole story on synthetic people: a denial, a training, a budget, a ledger."""
    require_runtime()
    started = time.monotonic()
    place = home or Path(tempfile.mkdtemp(prefix="sytff-demo-"))
    story = _Story(place, people, quiet=as_json)
    try:
        story.tell()
    finally:
        story.close()
    story.results["seconds"] = round(time.monotonic() - started, 1)
    if as_json:
        print_json(story.results)
    else:
        out.print(
            f"\nDone in {story.results['seconds']:.0f} s. The node is in {place}; look around:"
        )
        out.print(f"  sytff ledger list --home {place}", markup=False)
        out.print(f"  sytff budget show registry --home {place}", markup=False)
    return Exit.DONE


class _Story:
    def __init__(self, place: Path, people: int, *, quiet: bool) -> None:
        self._people = people
        self._quiet = quiet
        self._researcher = Researcher(id="researcher")
        self._home = Home.create(place)
        self.results: dict[str, Any] = {"home": str(place)}

    def close(self) -> None:
        self._home.close()

    def tell(self) -> None:
        baseline = self._register()
        proposal = self._denial()
        self._training(proposal, baseline)
        self._want_of_budget()
        self._ledger()

    def _register(self) -> float:
        self._title("1. A data owner registers a dataset with a budget and a policy")
        self._note(
            "Made-up people, one to five yearly rows each. A person's rows are protected together; "
            "the budget is for all requests of all researchers, for good."
        )
        with tempfile.TemporaryDirectory() as folder:
            return self._register_made_up(Path(folder) / "registry.csv")

    def _register_made_up(self, data: Path) -> float:
        write_demo_csv(data, people=self._people)
        workload = [RunMechanism(50, self._people // 10, self._people, Decimal(1), Decimal(5))]
        record = self._home.register(
            "registry",
            data,
            schema_from_flags(unit=DEMO_UNIT, features=DEMO_FEATURES, label=DEMO_LABEL),
            lambda population: planned_filter("rdp", *BUDGET, workload, order=None, requests=10),
            policy=template(POLICY),
            owner="owner",
        )
        positives, rows = _label_counts(data)
        baseline = max(positives, rows - positives) / rows
        self._say(
            f"{rows} synthetic rows of {record.population} people; policy {POLICY!r}; "
            f"{record.filter.kind} filter at order {record.filter.parameters()['order']}"
        )
        self._say(budget_text(record.budget()))
        self.results |= {"people": record.population, "majority_baseline": baseline}
        return baseline

    def _denial(self) -> CounterProposal:
        self._title("2. A researcher sends the PySyTFF announcement's parameters")
        request = self._request(
            **ANNOUNCEMENT,
            clients_per_round=self._people * 2 // 3,
            client_optimizer={"learning_rate": 0.5},
            local_epochs=3,
        )
        self._note(
            "10 rounds, 2 of 3 people in each, noise 0.05. Policies and accountant answer "
            "together, with every reason, and look for requests that both would allow."
        )
        decision = self._refused(request)
        self.results["announcement"] = decision.to_json()
        self._say(decision_text(decision))
        if not decision.counter_proposals:
            raise DemoFailed("the announcement's parameters got no counter-proposal")
        return decision.counter_proposals[0]

    def _training(self, proposal: CounterProposal, baseline: float) -> None:
        self._title("3. The first counter-proposal, sent back unchanged")
        self._note(
            "The worst case is reserved first. Then TensorFlow Federated trains: each round draws "
            "people at random, clips what each contributes, sums, and adds noise."
        )
        request = parse_request(self._home, proposal.request)
        with progress_bar() as on_progress:
            result = self._home.submit(
                request, self._researcher, on_progress=None if self._quiet else on_progress
            )
        self._say(f"Trained: {metrics_text(result.metrics)}")
        self._say(f"Always guessing the majority: accuracy {baseline:.3f}")
        budget = self._home.ledger.dataset("registry").budget()
        self._say(budget_text(budget))
        self.results["training"] = {"metrics": result.metrics, "budget": budget.to_json()}
        if not result.metrics["accuracy"] > baseline:
            raise DemoFailed("the trained model is no better than the majority class")

    def _want_of_budget(self) -> None:
        self._title("4. A second request, for which the budget is too small")
        self._note("Its own parameters are nearly fine; the budget is not what it was.")
        request = self._request(
            rounds=50, clients_per_round=self._people // 10, noise_multiplier=0.7
        )
        decision = self._refused(request)
        self.results["second_request"] = decision.to_json()
        self._say(decision_text(decision))

    def _ledger(self) -> None:
        self._title("5. An auditor verifies the ledger, and a copy with one byte changed")
        self._note(
            "The verifier has its own code. It recomputes every hash, charge, budget and verdict "
            "from the entries alone."
        )
        report = self._home.ledger.verify()
        if not report.ok:
            raise DemoFailed("the ledger does not verify")
        self._say(f"Verified: {report.entries} entries, head {report.head[:23]}...")
        stream = io.BytesIO()
        self._home.ledger.export(stream)
        altered = bytearray(stream.getvalue())
        where = altered.index(b'"charge":["') + len(b'"charge":["')
        altered[where] = ord("0") if altered[where] != ord("0") else ord("1")
        forged = verify_export(bytes(altered).splitlines())
        if forged.ok:
            raise DemoFailed("an altered ledger verified")
        first = forged.faults[0]
        self._say(
            f"The copy: NOT verified. Entry {first.seq} [{first.code}]: {_brief(first.message)}"
        )
        self.results["ledger"] = {"verified": True, "altered": forged.to_json()}

    def _request(self, **fields: Any) -> TrainRequest:
        return parse_request(self._home, {"dataset": "registry", "model": MODEL, **fields})

    def _refused(self, request: TrainRequest) -> Decision:
        try:
            self._home.submit(request, self._researcher)
        except RequestDenied as denial:
            decision: Decision = denial.decision
            return decision
        raise DemoFailed("a request was allowed that must be denied")

    def _title(self, text: str) -> None:
        if self._quiet:
            err.print(text)
        else:
            out.print()
            out.print(Rule(f"[bold]{text}[/bold]", align="left", style="cyan"))

    def _note(self, text: str) -> None:
        if not self._quiet:
            out.print(Text(text, style="italic dim"))

    def _say(self, text: str) -> None:
        if not self._quiet:
            out.print(*map(_styled, text.splitlines()), sep="\n")


def _styled(line: str) -> Text:
    text = Text(line)
    for pattern, style in _STYLES:
        text.highlight_regex(pattern, style)
    return text


def _brief(message: str) -> str:
    """A message with its hashes cut short."""
    return re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]+", r"\1...", message)


def _label_counts(data: Path) -> tuple[int, int]:
    """How many rows have the label, and how many there are: known, since we made them up."""
    with data.open(encoding="utf-8", newline="") as stream:
        visits = [int(row["visits"]) for row in csv.DictReader(stream)]
    return sum(count > 0 for count in visits), len(visits)
