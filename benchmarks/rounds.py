"""Time of a round: plain TensorFlow, stock TFF and this project's engine, side by side.

    python -m benchmarks.rounds [--workload mlp] [--rounds 10] [--engines plain,ours] [--json]

Plain TensorFlow and this engine take turns, one round each, so that whatever else the machine does
falls on both. Send the output to a file or a terminal, never into a pipe.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

from benchmarks.runtime import runtime
from benchmarks.workloads import WORKLOADS, Workload

LIMIT_PLAIN = 1.25
LIMIT_STOCK = 8.0


def measure(workload: Workload, names: list[str], rounds: int, warm_up: int) -> dict[str, float]:
    """Median seconds of a round, by engine."""
    from benchmarks.engines import ENGINES

    cohort = workload.cohort()
    seconds: dict[str, float] = {}
    # Plain and ours, which are close, take turns; stock TFF comes after them, by itself.
    for group in ([name for name in names if name != "stock"], ["stock"]):
        engines = {name: ENGINES[name](workload, cohort) for name in group if name in names}
        times: dict[str, list[float]] = {name: [] for name in engines}
        for number in range(warm_up + rounds):
            for name, engine in engines.items():
                begin = time.perf_counter()
                engine.round()
                if number >= warm_up:
                    times[name].append(time.perf_counter() - begin)
        seconds.update({name: statistics.median(values) for name, values in times.items()})
    return seconds


def table(results: list[dict[str, Any]]) -> str:
    """The results for people."""
    lines = [
        f"{'workload':<28}{'plain TF':>10}{'stock TFF':>11}{'ours':>9}{'ours/plain':>12}"
        f"{'stock/ours':>12}"
    ]
    for result in results:
        seconds = result["seconds"]
        cells = [
            f"{seconds[name] * 1000:.1f} ms" if name in seconds else "-"
            for name in ("plain", "stock", "ours")
        ]
        ratios = [
            f"{result[name]:.2f}" if result[name] is not None else "-"
            for name in ("ours_over_plain", "stock_over_ours")
        ]
        lines.append(
            f"{result['workload']:<28}{cells[0]:>10}{cells[1]:>11}{cells[2]:>9}"
            f"{ratios[0]:>12}{ratios[1]:>12}"
        )
    lines.append(f"bounds: ours/plain <= {LIMIT_PLAIN}, stock/ours >= {LIMIT_STOCK}")
    return "\n".join(lines)


def main() -> int:
    """Exit status 1 if a bound is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", action="append", choices=sorted(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--engines", default="plain,stock,ours")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    names = arguments.engines.split(",")
    results = []
    with runtime():
        for key in arguments.workload or list(WORKLOADS):
            workload = WORKLOADS[key]
            seconds = measure(workload, names, arguments.rounds, arguments.warm_up)
            results.append(
                {
                    "workload": workload.name,
                    "rounds": arguments.rounds,
                    "seconds": seconds,
                    "ours_over_plain": _ratio(seconds, "ours", "plain"),
                    "stock_over_ours": _ratio(seconds, "stock", "ours"),
                }
            )
    text = json.dumps(results, indent=2) if arguments.json else table(results)
    sys.stdout.write(text + "\n")
    return int(not all(_within(result) for result in results))


def _ratio(seconds: dict[str, float], over: str, under: str) -> float | None:
    return seconds[over] / seconds[under] if over in seconds and under in seconds else None


def _within(result: dict[str, Any]) -> bool:
    plain, stock = result["ours_over_plain"], result["stock_over_ours"]
    return (plain is None or plain <= LIMIT_PLAIN) and (stock is None or stock >= LIMIT_STOCK)


if __name__ == "__main__":
    sys.exit(main())
