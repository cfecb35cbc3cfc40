"""The main job on the embedded defaults: how long each of its steps takes.

    python benchmarks/main_job.py [--people 6000] [--repeats 5] [--json]

Everything is measured in one run: start of the light commands (a fresh process each), a decision
(policy, accountant, and for a denial the search for counter-proposals), a durable reservation, a
run from submission to the first round and to the end, and verification. Medians, with the range.
TFF runs in it, so send its output to a file or a terminal, never into a pipe.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from sytff_policy.datasets import schema_from_flags
from sytff_policy.datasets.generate import DEMO_FEATURES, DEMO_LABEL, DEMO_UNIT, write_demo_csv
from sytff_policy.home import Home, parse_request
from sytff_policy.policy import template
from sytff_policy.privacy import make_filter
from sytff_policy.request import Researcher
from sytff_policy.runs.supervisor import Progress

ALICE = Researcher(id="alice")
MODEL = {
    "inputs": [{"name": "features", "shape": [6]}],
    "layers": [
        {"type": "Dense", "name": "hidden", "inputs": ["features"], "units": 16},
        {"type": "Dense", "name": "out", "inputs": ["hidden"], "units": 1,
         "activation": "sigmoid"},
    ],
    "output": "out",
}  # fmt: skip


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def command(*arguments: str) -> Callable[[], Any]:
    """A `sytff` command in a fresh process."""
    line = [sys.executable, "-m", "sytff_policy.cli", *arguments]
    return lambda: subprocess.run(line, stdout=subprocess.DEVNULL, check=True)


def measure(people: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of each step, `repeats` times."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        home = Home.create(folder / "node")
        data = folder / "registry.csv"
        write_demo_csv(data, people=people)
        schema = schema_from_flags(unit=DEMO_UNIT, features=DEMO_FEATURES, label=DEMO_LABEL)
        # A budget that no repetition of this benchmark exhausts.
        chosen = make_filter("rdp", Decimal(10_000), Decimal("1e-5"), order=4)
        results = {
            "register a dataset": [
                seconds(
                    lambda: home.register(
                        "registry", data, schema, lambda n: chosen,
                        policy=template("starter"), owner="owner",
                    )
                )
            ]
        }  # fmt: skip

        def ask(**fields: Any) -> Any:
            document = {"dataset": "registry", "rounds": 100, "clients_per_round": people // 20}
            return parse_request(
                home, {**document, "noise_multiplier": 1.0, "model": MODEL, **fields}
            )

        allowed = ask()
        denied = ask(noise_multiplier=0.05, clients_per_round=people * 2 // 3)
        where = ("--home", str(home.folder))
        home.gate.check(allowed, "registry", ALICE)  # warms the engine
        timed: dict[str, Callable[[], Any]] = {
            "sytff --help, fresh process": command("--help"),
            "sytff budget show, fresh process": command("budget", "show", "registry", *where),
            "decision: allowed": lambda: home.gate.check(allowed, "registry", ALICE),
            "decision: denied, with counter-proposals": lambda: home.gate.check(
                denied, "registry", ALICE
            ),
            "decision and durable reservation": lambda: home.gate.admit(allowed, "registry", ALICE),
        }
        for name, work in timed.items():
            results[name] = [seconds(work) for _ in range(repeats)]
        runs = [_run(home, allowed) for _ in range(repeats)]
        for name in runs[0]:
            results[name] = [run[name] for run in runs]
        results["verify the ledger"] = [seconds(home.ledger.verify) for _ in range(repeats)]
        home.close()
    return results


def _run(home: Home, request: Any) -> dict[str, float]:
    began = time.perf_counter()
    first: list[float] = []

    def on_progress(progress: Progress) -> None:
        if progress.rounds_done == 1 and not first:
            first.append(time.perf_counter() - began)

    home.submit(request, ALICE, on_progress=on_progress)
    total = time.perf_counter() - began
    return {
        "run: submission to end of first round": first[0],
        "run: one further round": (total - first[0]) / (request.rounds - 1),
        "run: all of 100 rounds and evaluation": total,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = measure(options.people, options.repeats)
    if options.json:
        print(json.dumps({"people": options.people, "seconds": results}, indent=2))
        return
    print(f"{options.people} people, {options.repeats} repetitions; milliseconds")
    print(f"{'step':<45}{'median':>12}{'least':>12}{'most':>12}")
    for name, values in results.items():
        row = (statistics.median(values), min(values), max(values))
        print(f"{name:<45}" + "".join(f"{1000 * value:>12,.1f}" for value in row))


if __name__ == "__main__":
    main()
