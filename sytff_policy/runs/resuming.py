"""Whether an abandoned run may go on, and with which job."""

from __future__ import annotations

import json
from pathlib import Path

from sytff_policy._model import parse
from sytff_policy.errors import InvalidInputs
from sytff_policy.ledger import Ledger, RunRecord
from sytff_policy.privacy import RunMechanism, exact
from sytff_policy.runs.job import CHECKPOINT_FILE, JOB_FILE, TrainingJob
from sytff_policy.runs.outcomes import NotResumable


def lacks(run: RunRecord, folder: Path) -> str | None:
    """Why a reserved run cannot be resumed; None if it can."""
    if run.state != "reserved":
        return f"is {run.state} already"
    if run.evaluation_started:
        return "may have drawn its evaluation, which is reserved once"
    if run.rounds_started >= run.mechanism.rounds and not (folder / CHECKPOINT_FILE).is_file():
        return "has no round left and no checkpoint"
    return None


def resumable_job(ledger: Ledger, run: RunRecord, folder: Path) -> TrainingJob:
    """The job in a run's folder, held against what the ledger admitted."""
    lack = lacks(run, folder)
    if lack is not None:
        raise NotResumable(f"run {run.run_id} {lack}")
    try:
        job = parse(TrainingJob, json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, InvalidInputs):
        raise NotResumable(f"the job of run {run.run_id} cannot be read") from None
    evaluation = job.evaluation
    mechanism = RunMechanism(
        rounds=job.rounds,
        clients_per_round=job.clients_per_round,
        population=job.population,
        noise_multiplier=exact(job.noise_multiplier),
        evaluation_noise=None if evaluation is None else exact(evaluation.noise_multiplier),
    )
    version = ledger.dataset(run.dataset).version
    if (job.run_id, job.dataset_version) != (run.run_id, version) or mechanism != run.mechanism:
        raise NotResumable(f"the job of run {run.run_id} is not the one that was admitted")
    return job
