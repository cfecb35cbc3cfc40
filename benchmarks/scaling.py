"""How a round's time grows with users, with examples per user, and shrinks with cores.

    python -m benchmarks.scaling [--rounds 10] [--json]

Time per user-update (round time over users) should be flat or fall. The worker is started once
for each number of cores, bound to that many. Send the output to a file or a terminal, never into a
pipe.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.rounds import measure
from benchmarks.runtime import runtime
from benchmarks.workloads import WORKLOADS

USERS = (10, 30, 100, 300, 1000, 3000)
EXAMPLES = (1, 10, 100, 1000)
CORES = (1, 2)


def measured(rounds: int) -> list[dict[str, Any]]:
    """All curves on the cores that this process may use."""
    base = replace(WORKLOADS["logistic"], noise=1.0)
    cases = [("users", replace(base, users=users)) for users in USERS]
    cases += [("examples", replace(base, users=100, rows=rows)) for rows in EXAMPLES]
    cases += [("mlp", WORKLOADS["mlp"])]
    results = []
    with runtime():
        for curve, workload in cases:
            seconds = measure(workload, ["ours"], rounds, 2)["ours"]
            results.append(
                {
                    "curve": curve,
                    "users": workload.users,
                    "examples": workload.rows,
                    "cores": len(os.sched_getaffinity(0)),
                    "round_ms": 1000 * seconds,
                    "per_update_us": 1e6 * seconds / workload.users,
                    "per_example_us": 1e6 * seconds / (workload.users * workload.rows),
                }
            )
    return results


def on_cores(cores: int, rounds: int) -> list[dict[str, Any]]:
    """The curves in a process of their own, bound to `cores`."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out.json"
        command = [sys.executable, "-m", "benchmarks.scaling", "--here", str(out)]
        subprocess.run(
            [*command, "--rounds", str(rounds)],
            preexec_fn=lambda: os.sched_setaffinity(0, chosen),
            check=True,
        )
        results: list[dict[str, Any]] = json.loads(out.read_text())
        return results


def main() -> int:
    """Prints the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here is not None:
        arguments.here.write_text(json.dumps(measured(arguments.rounds)))
        return 0
    results = [item for cores in CORES for item in on_cores(cores, arguments.rounds)]
    if arguments.json:
        sys.stdout.write(json.dumps(results, indent=2) + "\n")
        return 0
    sys.stdout.write(
        f"{'curve':<10}{'users':>7}{'rows':>6}{'cores':>7}{'round':>12}{'update':>13}\n"
    )
    for item in results:
        sys.stdout.write(
            f"{item['curve']:<10}{item['users']:>7}{item['examples']:>6}{item['cores']:>7}"
            f"{item['round_ms']:>9.1f} ms{item['per_update_us']:>10.1f} us\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
