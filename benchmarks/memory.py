"""Peak memory of a runner, and time of a round, against the number of people.

    python -m benchmarks.memory [--units 10000,1000000] [--json]

Every dataset has five rows a unit; every run has the same cohort size, evaluation included. Peak
memory is that of the runner and of its TFF worker together: all of it (resident), and what is not
a view of the dataset's files, which the kernel takes back when it likes (anonymous). Send the
output to a file or a terminal, never into a pipe.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sytff_policy.datasets import schema_from_flags
from sytff_policy.home import Home, parse_request
from sytff_policy.policy import template
from sytff_policy.privacy import make_filter
from sytff_policy.request import Researcher
from sytff_policy.runs.process import RunnerProcess, group_members
from sytff_policy.runs.supervisor import Progress

LIMIT_MB = 300.0
ROWS = 5
FEATURES = 10
COHORT = 500
ROUNDS = 40


class Peak:
    """Watches every runner that this process starts."""

    def __init__(self) -> None:
        self.resident = self.anonymous = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._pids: list[int] = []
        start = RunnerProcess.__init__

        def started(runner: RunnerProcess, *arguments: Any) -> None:
            start(runner, *arguments)
            self._pids.append(runner.pid)

        self._restore = start
        RunnerProcess.__init__ = started  # type: ignore[method-assign]

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        RunnerProcess.__init__ = self._restore  # type: ignore[method-assign]

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            for group in list(self._pids):
                parts = [_status(pid) for pid in group_members(group)]
                self.resident = max(self.resident, sum(part["VmRSS"] for part in parts))
                self.anonymous = max(self.anonymous, sum(part["RssAnon"] for part in parts))


def _status(pid: int) -> dict[str, int]:
    found = {"VmRSS": 0, "RssAnon": 0}
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024
    except OSError:
        pass
    return found


def write(path: Path, units: int) -> None:
    """A Parquet file of `units` people, in batches."""
    generator = np.random.default_rng(0)
    writer = None
    for low in range(0, units, 100_000):
        count = min(100_000, units - low) * ROWS
        people = np.repeat(np.arange(low, low + count // ROWS), ROWS)
        columns: dict[str, Any] = {"person": pa.array(people).cast(pa.string())}
        values = generator.random((FEATURES, count))
        columns.update({f"f{index}": values[index] for index in range(FEATURES)})
        columns["label"] = (values[0] + 0.3 * generator.normal(size=count) > 0.5).astype(np.int64)
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def measure(units: int, place: Path) -> dict[str, float]:
    """Registers, trains, and watches."""
    data = place / "data.parquet"
    write(data, units)
    names = ",".join(f"f{index}:0..1" for index in range(FEATURES))
    spec = {
        "inputs": [{"name": "x", "shape": [FEATURES]}],
        "layers": [
            {"type": "Dense", "name": "o", "inputs": ["x"], "units": 1, "activation": "sigmoid"}
        ],
        "output": "o",
    }
    rates: list[float] = []

    def progress(now: Progress) -> None:
        if now.rounds_done == ROUNDS:
            rates.append(now.rounds_per_second)

    with Home.create(place / "node") as home:
        home.register(
            "people",
            data,
            schema_from_flags(unit="person", features=names, label="label"),
            lambda population: make_filter("rdp", Decimal(50), Decimal("1e-9"), order=4),
            policy=template("starter"),
            owner="owner",
        )
        data.unlink()
        request = parse_request(
            home,
            {
                "dataset": "people",
                "rounds": ROUNDS,
                "clients_per_round": COHORT,
                "noise_multiplier": 2.0,
                "model": spec,
            },
        )
        with Peak() as peak:
            home.submit(request, Researcher(id="benchmark"), on_progress=progress)
    return {
        "units": units,
        "resident_mb": peak.resident / 2**20,
        "anonymous_mb": peak.anonymous / 2**20,
        "round_ms": 1000.0 / rates[-1],
    }


def main() -> int:
    """Exit status 1 if the largest dataset takes more memory than the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", default="10000,100000,1000000")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = []
    for units in map(int, arguments.units.split(",")):
        with tempfile.TemporaryDirectory() as place:
            results.append(measure(units, Path(place)))
    more = results[-1]["resident_mb"] - results[0]["resident_mb"]
    if arguments.json:
        sys.stdout.write(json.dumps({"results": results, "more_mb": more}, indent=2) + "\n")
    else:
        for result in results:
            sys.stdout.write(
                f"{result['units']:>10,} units: peak {result['resident_mb']:7.0f} MB resident, "
                f"{result['anonymous_mb']:7.0f} MB anonymous; {result['round_ms']:6.1f} ms/round\n"
            )
        sys.stdout.write(f"largest over smallest: {more:+.0f} MB (bound {LIMIT_MB:.0f} MB)\n")
    return int(more > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
