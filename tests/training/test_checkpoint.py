"""Checkpoints: whole or absent, of one job, and as good as never having stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sytff_policy.request import AdaptiveClipping, FixedClipping, ServerOptimizer
from sytff_policy.runs.job import TrainingJob
from tests.support import LOGISTIC
from tests.training.test_process import Setup, people

pytestmark = [pytest.mark.tff, pytest.mark.slow]


def job(**changes: Any) -> TrainingJob:
    from sytff_policy._model import parse

    document = {
        "run_id": "run-1",
        "dataset_path": "/nowhere",
        "dataset_version": "v",
        "population": 10,
        "rounds": 5,
        "clients_per_round": 2,
        "noise_multiplier": 1.0,
        "clipping": {"kind": "fixed"},
        "client_optimizer": {},
        "server_optimizer": {},
        "batch_size": 1,
        "local_epochs": 1,
        "loss": "binary_crossentropy",
        "model": LOGISTIC,
        "evaluation": None,
    }
    return parse(TrainingJob, {**document, **changes})


@pytest.mark.usefixtures("tff_runtime")
@pytest.mark.parametrize(
    ("server", "clipping"),
    [
        (ServerOptimizer(momentum=0.9), FixedClipping(norm=0.5)),
        (
            ServerOptimizer(name="adam", learning_rate=0.05),
            AdaptiveClipping(initial_norm=0.05, clipped_count_stddev=1e-7),
        ),
    ],
    ids=["momentum", "adam-adaptive"],
)
def test_going_on_from_a_checkpoint_is_as_if_nothing_had_happened(
    tmp_path: Path, server: ServerOptimizer, clipping: Any
) -> None:
    from sytff_policy.training.checkpoint import Checkpoint, CheckpointFile

    users = people(8)
    straight = Setup(server=server, clipping=clipping)
    for _ in range(4):
        straight.round(users)
    first = Setup(server=server, clipping=clipping)
    for _ in range(2):
        first.round(users)
    file = CheckpointFile(tmp_path / "checkpoint.safetensors", job())
    file.write(Checkpoint(2, first.process.arrays(first.state)))

    second = Setup(server=server, clipping=clipping)
    saved = file.read()
    assert saved is not None
    assert saved.rounds_trained == 2
    second.state = second.process.restore(saved.arrays, second.initial)
    for _ in range(2):
        second.round(users)
    for mine, other in zip(second.weights, straight.weights, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.usefixtures("tff_runtime")
def test_a_checkpoint_holds_noised_state_and_no_secret() -> None:
    setup = Setup(noise=1.0)
    setup.round(people(5))
    arrays = setup.process.arrays(setup.state)
    weights = {f"weights/{index}" for index in range(4)}
    # The optimizer's rate; the clip, its noise and the denominator.
    assert set(arrays) == weights | {"optimizer/0", "query/0", "query/1", "query/2"}
    assert sum(value.size for name, value in arrays.items() if name not in weights) == 4


def test_it_is_private_and_replaced_as_a_whole(tmp_path: Path) -> None:
    from sytff_policy.training.checkpoint import Checkpoint, CheckpointFile

    path = tmp_path / "checkpoint.safetensors"
    file = CheckpointFile(path, job(checkpoint_seconds=0.0))
    assert file.read() is None
    for rounds in (1, 2):
        assert file.is_due()
        file.write(Checkpoint(rounds, {"weights/0": np.full(3, rounds, np.float32)}))
        assert path.stat().st_mode & 0o777 == 0o600
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    # What a crash in the middle of the next one leaves is never looked at.
    path.with_suffix(".partial").write_bytes(b"half")
    saved = file.read()
    assert saved is not None
    assert saved.rounds_trained == 2
    np.testing.assert_array_equal(saved.arrays["weights/0"], [2, 2, 2])


def test_damaged_or_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    from sytff_policy.training.checkpoint import Checkpoint, CheckpointFile, CheckpointUnreadable

    path = tmp_path / "checkpoint.safetensors"
    CheckpointFile(path, job()).write(Checkpoint(1, {"weights/0": np.zeros(3, np.float32)}))
    with pytest.raises(CheckpointUnreadable, match="another job"):
        CheckpointFile(path, job(run_id="run-2")).read()
    with pytest.raises(CheckpointUnreadable, match="another job"):
        CheckpointFile(path, job(noise_multiplier=2.0)).read()
    CheckpointFile(path, job()).write(Checkpoint(6, {"weights/0": np.zeros(3, np.float32)}))
    with pytest.raises(CheckpointUnreadable, match="round"):
        CheckpointFile(path, job()).read()
    whole = path.read_bytes()
    for content in (b"", whole[:20], b"\x80\x04" + whole[2:], b"{}" * 40):
        path.write_bytes(content)
        with pytest.raises(CheckpointUnreadable):
            CheckpointFile(path, job()).read()


def test_arrays_of_other_shapes_types_or_numbers_are_refused() -> None:
    from sytff_policy.training.checkpoint import CheckpointUnreadable, pack, unpack

    like = [np.zeros(3, np.float32), np.zeros((), np.int32)]
    good = [np.ones(3, np.float32), np.ones((), np.int32)]
    np.testing.assert_array_equal(unpack("w", pack("w", good), like)[0], good[0])
    wrong = [
        [np.ones(4, np.float32), good[1]],
        [np.ones(3, np.float64), good[1]],
        [np.full(3, np.nan, np.float32), good[1]],
        [np.full(3, np.inf, np.float32), good[1]],
        good[:1],
        [*good, good[0]],
    ]
    for arrays in wrong:
        with pytest.raises(CheckpointUnreadable):
            unpack("w", pack("w", arrays), like)
