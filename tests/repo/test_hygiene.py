"""What .ci/hygiene refuses, and that this tree passes it. The bad lines are put together here,
so that they do not stand in this file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def hygiene(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / ".ci" / "hygiene", tree],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tree)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "README.md").write_text("See https://example.org/paper and ./work/file.\n")
    return tmp_path


def test_a_clean_tree_passes(tree: Path) -> None:
    result = hygiene(tree)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "line", "title"),
    [
        ("key.pem", "-----BEGIN " + "PRIVATE" + " KEY-----", "looks like a secret"),
        ("notes.md", "token gh" + "p_" + "a1" * 18, "looks like a secret"),
        ("run.sh", "cd /wor" + "k/main", "a path of one machine"),
        ("run.py", 'open("/hom' + 'e/ada/data.csv")', "a path of one machine"),
        ("pip.sh", "pip install --index" + "-url x y", "an address to download packages from"),
        ("requirements.lock", "a @ b", "an address in a list of requirements"),
        ("requirements.lock", "https://example.org/a.whl", "an address in a list of requirements"),
    ],
)
def test_each_offence_is_refused_with_file_and_line(
    tree: Path, name: str, line: str, title: str
) -> None:
    (tree / name).write_text(f"fine\n{line}\n")
    result = hygiene(tree)
    assert result.returncode == 1
    assert title in result.stderr
    assert f"{name}:2:" in result.stderr


def test_the_registry_that_this_machine_uses_is_refused_whatever_its_name(tree: Path) -> None:
    (tree / "notes.md").write_text("it comes from wheels.example.net\n")
    result = hygiene(tree, PIP_INDEX_URL="https://user:pass" + "@wheels.example.net/simple")
    assert result.returncode == 1
    assert "notes.md:1:" in result.stderr
    assert "user:pass" not in result.stderr
