"""How fast a ledger is verified, and in how much memory.

    python benchmarks/verify.py [--entries N]

Makes an export of N entries (1,000,000 by default) as a node would have written it: requests with
models, each decided, reserved, run, settled and most of them released, by many researchers, with
many different parameters. Then verifies it in a process of its own and prints entries a second and
that process's peak memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from sytff_policy.canonical import canonical_bytes, digest
from sytff_policy.privacy import Loss, RunMechanism, make_filter

NODE, DATASET = ("sha256:" + letter * 64 for letter in "ab")
MODEL = {
    "inputs": [{"name": "features", "shape": [28, 28, 1]}],
    "layers": [
        {"type": "Flatten", "name": "flat", "inputs": ["features"]},
        {"type": "Dense", "name": "d", "inputs": ["flat"], "units": 200, "activation": "relu"},
        {"type": "Dense", "name": "out", "inputs": ["d"], "units": 10, "activation": "softmax"},
    ],
    "output": "out",
}


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Entries of a busy node, without end."""
    made = make_filter("rdp", Decimal(100_000), Decimal("1e-6"), order=8)
    yield "genesis", {"node_id": "node-benchmark", "format": 1}
    yield (
        "dataset.registered",
        {
            "dataset": "registry",
            "version": "v1",
            "population": 100_000,
            "owner": "owner",
            "description": {},
            "filter": made.to_json(),
        },
    )
    activated = {"dataset": "registry", "bundle": DATASET, "revision": "", "previous": None}
    yield "policy.activated", {**activated, "by": "owner"}
    yield "node.policy", {"bundle": NODE, "previous": None}
    spent = made.zero
    number = 0
    while True:
        number += 1
        noise = Decimal(100 + number % 400) / 100
        run = RunMechanism(1 + number % 7, 100 + number % 13, 100_000, noise, Decimal(5))
        yield from requests(number, run, spent, made)
        if number % 5:
            spent = spent + made.charge(run.event())


def requests(
    number: int, run: RunMechanism, spent: Loss, made: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """One request: every fifth is denied, the others run to their end."""
    request = {
        "train_data_id": "a" * 32,
        "label_data_id": "b" * 32,
        "rounds": run.rounds,
        "clients_per_round": run.clients_per_round,
        "noise_multiplier": float(run.noise_multiplier),
        "no_clients": None,
        "clipping": {"kind": "fixed", "norm": 0.5},
        "client_optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0},
        "batch_size": 32,
        "local_epochs": 1,
        "loss": "sparse_categorical_crossentropy",
        "model": MODEL,
        "evaluation": {"noise_multiplier": 5, "holdout": 0.2},
        "purpose": f"study {number}",
        "idempotency_key": None,
    }
    denied = not number % 5
    researcher = f"researcher-{number % 200}"
    reason = {"code": "dataset.rounds", "source": "data.sytff.dataset", "message": "too many"}
    yield (
        "decision",
        {
            "decision": "deny" if denied else "allow",
            "decision_id": f"dec-{number:016x}",
            "dataset": "registry",
            "request_digest": digest(request),
            "reasons": [reason] if denied else [],
            "warnings": [],
            "counter_proposals": [],
            "cost": {"epsilon": 0.123456789, "charge": 0.012345678, "delta": 1e-6},
            "budget": {"epsilon": 100000, "delta": 1e-6, "spent": 1.5, "reserved": 0},
            "engine": "embedded",
            "accountant": "filter rdp (order 8)",
            "bundles": {"node": NODE, "dataset": DATASET},
            "request": request,
            "researcher": {
                "id": researcher,
                "roles": ["researcher"],
                "organization": f"organization-{number % 9}",
                "affiliations": [],
            },
        },
    )
    if denied:
        return
    event = run.event()
    charge = made.charge(event)
    run_id = f"run-{number:016x}"
    zero = made.zero.to_json()
    yield (
        "reservation",
        {
            "run_id": run_id,
            "decision_id": f"dec-{number:016x}",
            "dataset": "registry",
            "event": event.to_json(),
            "mechanism_digest": digest(event.to_json()),
            "charge": charge.to_json(),
            "spent": spent.to_json(),
            "reserved_before": zero,
            "reserved_after": charge.to_json(),
        },
    )
    for started, evaluated in ((1, False), (run.rounds, False), (run.rounds, True)):
        progress = {"rounds_started": started, "evaluation_started": evaluated}
        yield "progress", {"run_id": run_id, **progress}
    yield (
        "settlement",
        {
            "run_id": run_id,
            "dataset": "registry",
            "status": "completed",
            "code": "",
            "event": event.to_json(),
            "charge": charge.to_json(),
            "reserved_charge": charge.to_json(),
            "spent_before": spent.to_json(),
            "spent_after": (spent + charge).to_json(),
            "reserved_before": charge.to_json(),
            "reserved_after": zero,
        },
    )
    results = {"weights.safetensors": "sha256:" + "1" * 64}
    yield "release", {"run_id": run_id, "dataset": "registry", "results": results}


def write(stream: IO[bytes], entries: int) -> None:
    """Writes an export of so many entries."""
    previous = "sha256:" + "0" * 64
    for seq, (kind, body) in zip(range(entries), bodies(), strict=False):
        leaf = canonical_bytes(
            {
                "v": 1,
                "seq": seq,
                "time_ns": str(1_700_000_000_000_000_000 + seq),
                "prev": previous,
                "kind": kind,
                "body": body,
            }
        )
        previous = "sha256:" + hashlib.sha256(b"\x00" + leaf).hexdigest()
        stream.write(b'{"hash":"%b","leaf":%b}\n' % (previous.encode(), leaf))


def verify(path: Path) -> None:
    """Verifies an export and prints what it took."""
    from sytff_policy.ledger.verify import verify_export

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, began_cpu = time.perf_counter(), time.process_time()
    with path.open("rb") as stream:
        report = verify_export(stream)
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "entries": report.entries,
                "verified": report.ok or [fault.to_json() for fault in report.faults[:3]],
                "seconds": round(seconds, 2),
                "entries_per_second": round(report.entries / seconds),
                "entries_per_cpu_second": round(report.entries / cpu),
                "peak_MiB": round(used / 1024),
                "peak_MiB_before": round(before / 1024),
            }
        )
    )


def main() -> None:
    """Makes the export and verifies it elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--verify", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.verify is not None:
        verify(options.verify)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.jsonl"
        with path.open("wb") as stream:
            write(stream, options.entries)
        megabytes = path.stat().st_size / 1e6
        print(f"{options.entries} entries, {megabytes:.0f} MB", flush=True)
        subprocess.run([sys.executable, __file__, "--verify", str(path)], check=True)


if __name__ == "__main__":
    main()
