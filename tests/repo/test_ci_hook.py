"""What tests/conftest.py promises: in CI a skipped test is a failure, elsewhere it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SUITE = """
import pytest

def test_runs():
    pass

@pytest.mark.skip(reason="a tool is absent")
def test_left_out():
    pass

@pytest.mark.xfail(strict=True)
def test_known_defect():
    assert False
"""


def run_suite(folder: Path, suite: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_suite.py").write_text(suite)
    (folder / "pytest.ini").write_text("[pytest]\n")
    plain = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=folder,
        env=plain | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skipped_test_fails_the_run_in_ci_and_is_named(tmp_path: Path) -> None:
    run = run_suite(tmp_path, SUITE, CI="true")
    assert run.returncode == 1
    named = run.stdout.partition("skipped in CI")[2]
    assert "test_suite.py::test_left_out" in named
    assert "test_known_defect" not in named


def test_a_module_skipped_whole_fails_the_run_in_ci(tmp_path: Path) -> None:
    suite = "import pytest\npytest.importorskip('no_such_package')\ndef test_never(): pass\n"
    run = run_suite(tmp_path, suite, CI="true")
    assert run.returncode != 0
    assert "test_suite.py" in run.stdout.partition("skipped in CI")[2]


@pytest.mark.parametrize("suite", [SUITE, "def test_runs(): pass\n"])
def test_elsewhere_a_skipped_test_leaves_the_run_green(tmp_path: Path, suite: str) -> None:
    assert run_suite(tmp_path, suite).returncode == 0


def test_in_ci_a_run_without_skips_is_green(tmp_path: Path) -> None:
    assert run_suite(tmp_path, "def test_runs(): pass\n", CI="true").returncode == 0
