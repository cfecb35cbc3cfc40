"""Finding the processes of a run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def command_lines() -> dict[int, str]:
    """Process id -> command line of every live process; zombies have none."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue
            if line:
                found[int(entry.name)] = line
    return found


def runners(folder: Path) -> list[int]:
    """Runner processes of a node's runs."""
    mark = "sytff_policy.training.runner"
    return [p for p, line in command_lines().items() if mark in line and str(folder) in line]


def workers_of(pid: int) -> list[int]:
    """TFF workers that a process started."""
    found = []
    for child, line in command_lines().items():
        try:
            status = Path(f"/proc/{child}/stat").read_text()
        except OSError:
            continue
        parent = int(status.rpartition(")")[2].split()[1])
        if parent == pid and "worker_binary" in line:
            found.append(child)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Polls until a condition holds.

    Raises:
      AssertionError: If it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come about"
        os.sched_yield()
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
