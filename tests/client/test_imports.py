"""A researcher's side starts at once: nothing heavy is imported before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "alembic",
    "dp_accounting",
    "jax",
    "keras",
    "pyarrow",
    "regorus",
    "scipy",
    "sqlalchemy",
    "tensorflow",
    "tensorflow_federated",
    "tensorflow_privacy",
}


@pytest.mark.parametrize(
    "statement",
    [
        "import sytff_policy",
        "import sytff_policy.client",
        "import sytff_policy as sy; sy.tff.train_model, sy.open, sy.TrainRequest, sy.Decision",
        "import sytff_policy.model_spec, sytff_policy.request, sytff_policy.rendering",
    ],
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert HEAVY & set(loaded) == set()


def test_opening_a_domain_needs_no_tensorflow(tmp_path: object) -> None:
    code = (
        "import sys, sytff_policy as sy\n"
        "from pathlib import Path\n"
        "from sytff_policy.home import Home\n"
        f"Home.create(Path({str(tmp_path)!r}) / 'node').close()\n"
        f"repr(sy.open(Path({str(tmp_path)!r}) / 'node'))\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "sqlalchemy" in loaded
    assert {"tensorflow", "tensorflow_federated", "keras", "jax"} & set(loaded) == set()
