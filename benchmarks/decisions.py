"""How long a decision takes, and how many reservations a busy budget sees.

    python benchmarks/decisions.py [--decisions N] [--sizes 10,1000,100000] [--seconds S]

Latency: whole decisions (validate, policy, filter, durable reservation, signed and witnessed
checkpoint) of a node, on SQLite and on PostgreSQL, at ledgers of several sizes. Every decision is
about another request; every run is settled between decisions, outside the measured time.

Throughput: clients in processes of their own reserve from one budget as fast as they can, 16 on
SQLite and 64 on PostgreSQL, without policies. Afterwards the independent verifier checks that the
budget was kept.

PostgreSQL is a server of its own, with its default durability, in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sytff_policy.canonical import digest
from sytff_policy.home import Home
from sytff_policy.ledger import BudgetChanged, BudgetExceeded, Ledger
from sytff_policy.privacy import RunMechanism
from tests.ledger import postgres
from tests.ledger.conftest import register
from tests.support import ALICE, ask, make_home


def quantile(values: list[float], share: float) -> float:
    """A quantile in milliseconds."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3, 2)


def fill(ledger: Ledger, entries: int) -> None:
    """Brings a ledger to so many entries, by denials of a thousand researchers."""
    have = sum(1 for _ in ledger.entries())
    request = {"rounds": 1, "purpose": "x" * 900}
    record = ledger.dataset("registry")
    while have < entries:
        many = min(entries - have, 20_000)
        with ledger.turn() as turn:
            for number in range(have, have + many):
                researcher = f"researcher-{number % 1000}"
                identity = f"dec-fill-{number}"
                turn.record_decision(
                    identity,
                    "registry",
                    researcher,
                    {
                        "decision": "deny",
                        "decision_id": identity,
                        "dataset": "registry",
                        "reasons": [{"code": "fill"}],
                        "request": request,
                        "request_digest": digest(request),
                        "bundles": {"node": "sha256:" + "f" * 64, "dataset": record.bundle},
                        "researcher": {"id": researcher, "organization": ""},
                    },
                )
        have += many


def latency(home: Home, decisions: int, start: int) -> dict[str, Any]:
    """Times whole decisions, each about a request that was not asked before."""
    taken = []
    for number in range(start, start + decisions):
        # Other noise means other privacy curves, which are computed once for each.
        fields = {"rounds": 1 + number % 40, "noise_multiplier": 1 + (number % 9973) / 9973}
        request = ask(home, **fields)
        began = time.perf_counter()
        admission = home.gate.admit(request, "registry", ALICE)
        taken.append(time.perf_counter() - began)
        if admission.run_id is None:
            raise RuntimeError(admission.decision.reasons)
        home.ledger.settle(admission.run_id, status="cancelled")
    return {"p50_ms": quantile(taken, 0.5), "p99_ms": quantile(taken, 0.99)}


def latencies(sizes: list[int], decisions: int, server: postgres.Server) -> None:
    """Prints latencies at every size on both databases, sizes by turns so that noise is shared."""
    for store in ("sqlite", "postgresql"):
        with ExitStack() as stack:
            homes = {}
            for entries in sizes:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                url = server.database() if store == "postgresql" else None
                home = make_home(folder, people=2000, epsilon="90000", ledger=url)
                stack.callback(home.close)
                fill(home.ledger, entries)
                latency(home, 30, 0)
                homes[entries] = home
            measured: dict[int, list[dict[str, Any]]] = {entries: [] for entries in sizes}
            rounds = 5
            for turn in range(rounds):
                for entries, home in homes.items():
                    part = latency(home, decisions // rounds, 100 + turn * decisions)
                    measured[entries].append(part)
            for entries, parts in measured.items():
                best = min(parts, key=lambda part: part["p50_ms"])
                middle = sorted(part["p50_ms"] for part in parts)[rounds // 2]
                worst = max(part["p99_ms"] for part in parts)
                print(
                    json.dumps(
                        {
                            "store": store,
                            "entries": entries,
                            "p50_ms": middle,
                            "p50_ms_best": best["p50_ms"],
                            "p99_ms_worst": worst,
                        }
                    ),
                    flush=True,
                )


RUN = RunMechanism(1, 10, 1000, Decimal(4))


def client(ledger: Ledger, name: str, until: Callable[[], bool], counts: list[int]) -> None:
    """Reserves as fast as it can; counts reservations, refusals and the longest wait in ms."""
    number = 0
    while until():
        number += 1
        identity = f"{name}-{number}"
        request = {
            "rounds": RUN.rounds,
            "clients_per_round": RUN.clients_per_round,
            "noise_multiplier": 4,
            "evaluation": None,
            "purpose": identity,
        }
        began = time.perf_counter()
        with ledger.turn() as turn:
            record = turn.standing("registry", name).record
            body = {
                "decision": "allow",
                "decision_id": f"dec-{identity}",
                "dataset": "registry",
                "reasons": [],
                "request": request,
                "request_digest": digest(request),
                "bundles": {"node": "sha256:" + "f" * 64, "dataset": record.bundle},
                "researcher": {"id": name, "organization": ""},
            }
            try:
                turn.reserve(
                    record,
                    run_id=f"run-{identity}",
                    decision_id=f"dec-{identity}",
                    researcher=name,
                    mechanism=RUN,
                    request_digest=body["request_digest"],
                    idempotency_key=None,
                    decision=body,
                )
            except (BudgetExceeded, BudgetChanged):
                counts[1] += 1
                raise StopIteration from None
        counts[0] += 1
        counts[2] = max(counts[2], int((time.perf_counter() - began) * 1e3))


def clients(where: str, process: int, threads: int, seconds: float, answers: Any) -> None:
    """Several clients in one process."""
    ledger = Ledger.open(where)
    ends = time.perf_counter() + seconds
    counts = [[0, 0, 0] for _ in range(threads)]

    def run(place: int) -> None:
        name = f"client-{process}-{place}"
        try:
            client(ledger, name, lambda: time.perf_counter() < ends, counts[place])
        except RuntimeError:
            return

    workers = [threading.Thread(target=run, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    ledger.close()
    answers.put(counts)


def throughput(where: str, processes: int, threads: int, seconds: float) -> None:
    """Prints reservations a second, and whether the log verifies."""
    ledger = Ledger.create(where, "node-benchmark")
    register(ledger)
    ledger.grant("registry", Decimal(50_000), by="owner")
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    workers = [
        context.Process(target=clients, args=(where, number, threads, seconds, answers))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    counts = [count for _ in workers for count in answers.get()]
    for worker in workers:
        worker.join()
    report = ledger.verify()
    print(
        json.dumps(
            {
                "store": "sqlite" if ledger.store.is_sqlite else "postgresql",
                "clients": processes * threads,
                "reservations": sum(count[0] for count in counts),
                "reservations_per_second": round(sum(count[0] for count in counts) / seconds),
                "fewest_of_a_client": min(count[0] for count in counts),
                "longest_wait_ms": max(count[2] for count in counts),
                "verified": report.ok or [fault.to_json() for fault in report.faults[:3]],
            }
        ),
        flush=True,
    )
    ledger.close()


def main() -> None:
    """Measures both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--decisions", type=int, default=500)
    parser.add_argument("--sizes", default="10,1000,100000")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg()[0]}))
    with postgres.running() as server, tempfile.TemporaryDirectory() as folder:
        throughput(f"sqlite:///{folder}/ledger.db", 4, 4, options.seconds)
        throughput(server.database(), 8, 8, options.seconds)
        sizes = [int(size) for size in options.sizes.split(",")]
        latencies(sizes, options.decisions, server)


if __name__ == "__main__":
    main()
