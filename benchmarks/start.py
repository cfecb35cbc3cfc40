"""Cold and warm start: seconds from an accepted request to its first round.

    python -m benchmarks.start [--repeats 5] [--json]

"Accepted" is when the decision is made and the reservation stands; "first round" is when the first
round is complete. A cold run starts its runner then; a warm one has it waiting. Send the output to
a file or a terminal, never into a pipe.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sytff_policy.home import Home
from sytff_policy.runs.pool import RunnerPool
from sytff_policy.runs.supervisor import Progress
from tests.support import ALICE, ask, make_home

LIMIT_WARM_S = 2.0

MODELS = {
    "logistic": [{"type": "Dense", "name": "o", "inputs": ["x"], "units": 1,
                  "activation": "sigmoid"}],
    "mlp": [
        {"type": "Dense", "name": "h", "inputs": ["x"], "units": 200, "activation": "relu"},
        {"type": "Dense", "name": "g", "inputs": ["h"], "units": 100, "activation": "relu"},
        {"type": "Dense", "name": "o", "inputs": ["g"], "units": 1, "activation": "sigmoid"},
    ],
}  # fmt: skip


def first_round(home: Home, model: str, pool: RunnerPool | None) -> float:
    """Seconds from the decision to the end of the first round."""
    times: dict[str, float] = {}

    def decided(_: Any) -> None:
        times["accepted"] = time.perf_counter()

    def progress(now: Progress) -> None:
        if now.rounds_done == 1:
            times.setdefault("round", time.perf_counter())

    layers = MODELS[model]
    spec = {"inputs": [{"name": "x", "shape": [6]}], "layers": layers, "output": "o"}
    request = ask(home, rounds=2, noise_multiplier=8.0, model=spec)
    home.submit(request, ALICE, pool=pool, on_progress=progress, on_decision=decided)
    return times["round"] - times["accepted"]


def main() -> int:
    """Exit status 1 if a warm start takes longer than its bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place, make_home(Path(place), people=3000) as home:
        for model in MODELS:
            results[f"cold, {model}"] = [
                first_round(home, model, None) for _ in range(arguments.repeats)
            ]
        with RunnerPool(Path(place) / "pool") as pool:
            for model in MODELS:
                times = []
                for _ in range(arguments.repeats):
                    if not pool.wait_until_warm(300):
                        raise SystemExit("no runner became warm")
                    times.append(first_round(home, model, pool))
                results[f"warm, {model}"] = times
    if arguments.json:
        sys.stdout.write(json.dumps(results, indent=2) + "\n")
    else:
        for name, times in results.items():
            median, low, high = statistics.median(times), min(times), max(times)
            sys.stdout.write(f"{name:<16}{median:7.2f} s  ({low:.2f} to {high:.2f})\n")
        sys.stdout.write(f"bound: warm <= {LIMIT_WARM_S} s\n")
    warm = [statistics.median(times) for name, times in results.items() if "warm" in name]
    return int(max(warm) > LIMIT_WARM_S)


if __name__ == "__main__":
    sys.exit(main())
