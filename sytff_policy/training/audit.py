"""An empirical audit: train on canaries, and see what the released model tells about them.

    python -m sytff_policy.training.audit CANARIES ERROR OUT_FILE

Every canary is a unit whose update points along a weight of its own, as long as the clip allows,
in a test dataset made for the audit; a coin decides whether it is in. Its score is how far that
weight moved. Three experiments, each with its claim from the accountant:

- `full`: everybody is in every round. Scores are normal, so the Gaussian bound applies.
- `sampled`: Poisson sampling, whose amplification is part of the claim. The one-run bound applies.
- `evaluation`: metrics of one dataset with and without a unit, many times. The Gaussian bound.

It executes the same code as a run: `Trainer`, its sampling, aggregator and evaluation.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sytff_policy._model import parse
from sytff_policy.datasets import Cohort
from sytff_policy.privacy import RunMechanism
from sytff_policy.privacy.auditing import gaussian_epsilon_bound, one_run_epsilon
from sytff_policy.privacy.epsilon import rdp_epsilon
from sytff_policy.privacy.events import Composed, Gaussian, Repeated
from sytff_policy.runs.job import TrainingJob
from sytff_policy.training.runtime import execution_context, isolate_network, start_worker

DELTA = 1e-7
"""Far below one over the number of canaries, or the one-run bound has nothing left to say."""
EVALUATIONS = 400
GUESSED = 0.02
"""Share of the canaries that is guessed to be in; fixed beforehand, as the bound demands."""


@dataclass(frozen=True)
class Finding:
    """One experiment's outcome.

    Attributes:
      experiment: `full`, `sampled` or `evaluation`.
      method: Which bound.
      claim: Epsilon that the accountant states, at `delta`.
      bound: Epsilon that the experiment proves, except with probability `error`.
    """

    experiment: str
    method: str
    claim: float
    bound: float
    delta: float
    error: float

    @property
    def refuted(self) -> bool:
        """Whether the claim is shown to be false."""
        return not self.bound <= self.claim


class Canaries:
    """A test dataset in which canary i holds one row along axis i, if its coin says so.

    It answers what `Trainer` asks a stored dataset. Who is out is never drawn, which is what
    not being there means under Poisson sampling with a fixed rate.
    """

    label_is_class = False

    def __init__(self, count: int) -> None:
        bits = np.unpackbits(np.frombuffer(os.urandom(count), np.uint8))[:count]
        self.population = count
        self.included = bits.astype(bool)

    def holdout_mask(self, fraction: float) -> npt.NDArray[np.bool_]:
        del fraction
        mask: npt.NDArray[np.bool_] = ~self.included
        return mask

    def read_units(self, units: npt.NDArray[np.int64]) -> Cohort:
        """Rows e_i with a label so large that the update along weight i is always clipped."""
        features = np.zeros((len(units), self.population), np.float32)
        features[np.arange(len(units)), units] = 1.0
        labels = np.full(len(units), 1e4, np.float32)
        return Cohort(features, labels, np.arange(len(units) + 1, dtype=np.int64))


def scores(
    canaries: Canaries, rounds: int, clients_per_round: int, noise: float
) -> npt.NDArray[np.float64]:
    """Trains once; how far each canary's weight moved, in the released model."""
    from sytff_policy.training.trainer import Hooks, Trainer

    job = _job(canaries.population, rounds, clients_per_round, noise)
    hooks = Hooks(may_start=lambda number, evaluation: rounds, round_done=lambda number: None)
    dataset: Any = canaries
    result = Trainer(job, dataset).run(hooks)
    return result.weights["out/kernel"].ravel().astype(np.float64)


def audit_full(count: int, error: float) -> Finding:
    """Four rounds of everybody at noise 2: together a Gaussian mechanism with mu = 1."""
    rounds, noise = 4, 2.0
    canaries = Canaries(count)
    moved = scores(canaries, rounds, count, noise)
    bound = gaussian_epsilon_bound(
        moved[canaries.included].tolist(), moved[~canaries.included].tolist(), DELTA, error
    )
    return _finding("full", "one-shot", bound, _claim(count, rounds, count, noise), error)


def audit_sampled(count: int, error: float) -> Finding:
    """A hundred rounds of a twentieth of the canaries at noise 2."""
    rounds, noise, clients = 100, 2.0, max(1, count // 20)
    canaries = Canaries(count)
    moved = scores(canaries, rounds, clients, noise)
    guesses = int(GUESSED * count)
    likely = np.argsort(-moved)[:guesses]
    correct = int(canaries.included[likely].sum())
    bound = one_run_epsilon(count, guesses, correct, DELTA, error)
    return _finding("sampled", "one-run", bound, _claim(count, rounds, clients, noise), error)


def audit_evaluation(error: float) -> Finding:
    """Noised metrics of a hundred units, and of one unit more that contributes all it can."""
    from sytff_policy.training.evaluation import noised_sum

    noise, sensitivity = 1.0, 3.0**0.5 / 2.0
    unit = np.full(3, 0.5, np.float32)
    others = 100 * unit
    # Along the unit's own contribution: the best test there is.
    seen = [
        [float(noised_sum(exact, sensitivity, noise)[0] @ unit) for _ in range(EVALUATIONS // 2)]
        for exact in (others + unit, others)
    ]
    bound = gaussian_epsilon_bound(seen[0], seen[1], DELTA, error)
    claim = rdp_epsilon(Composed((Repeated(1, Gaussian(Decimal(1))),)), DELTA)
    return _finding("evaluation", "one-shot", bound, claim, error)


def audit(count: int, error: float) -> list[Finding]:
    """All experiments; the chance that any bound is wrong is `error` at most."""
    share = error / 3.0
    return [audit_full(count, share), audit_sampled(3 * count, share), audit_evaluation(share)]


def main(arguments: list[str]) -> int:
    """Writes the findings as JSON."""
    count, error, out = int(arguments[0]), float(arguments[1]), Path(arguments[2])
    isolate_network()
    worker, port = start_worker(sys.stderr.buffer)
    with execution_context(worker, port):
        findings = audit(count, error)
    out.write_text(json.dumps([asdict(finding) for finding in findings]), encoding="utf-8")
    return 0


def _claim(population: int, rounds: int, clients: int, noise: float) -> float:
    mechanism = RunMechanism(rounds, clients, population, Decimal(str(noise)))
    return rdp_epsilon(mechanism.event(), DELTA)


def _finding(experiment: str, method: str, bound: float, claim: float, error: float) -> Finding:
    return Finding(experiment, method, claim, bound, DELTA, error)


def _job(population: int, rounds: int, clients_per_round: int, noise: float) -> TrainingJob:
    zeros = {"name": "zeros"}
    layer = {
        "type": "Dense",
        "name": "out",
        "inputs": ["x"],
        "units": 1,
        "use_bias": False,
        "kernel_initializer": zeros,
    }
    return parse(
        TrainingJob,
        {
            "run_id": "audit",
            "dataset_path": "",
            "dataset_version": "",
            "population": population,
            "rounds": rounds,
            "clients_per_round": clients_per_round,
            "noise_multiplier": noise,
            "clipping": {"kind": "fixed", "norm": 1.0},
            "client_optimizer": {"name": "sgd", "learning_rate": 1.0},
            "server_optimizer": {"name": "sgd", "learning_rate": 1.0},
            "batch_size": 1,
            "local_epochs": 1,
            "loss": "mean_squared_error",
            "model": {
                "inputs": [{"name": "x", "shape": [population]}],
                "layers": [layer],
                "output": "out",
            },
            "evaluation": None,
        },
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
