"""A runner process, from the outside: started, spoken to, bounded, and ended with its worker."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sytff_policy.runs.job import Assignment, Granted, Message

LINE_LIMIT = 65_536
MEMORY_CHECK_SECONDS = 0.25

_MESSAGES: TypeAdapter[Any] = TypeAdapter(Message)


class Ended(Exception):
    """A runner that came to its end, or has to.

    Attributes:
      code: Fixed code of what happened.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RunnerProcess:
    """One runner and its TFF worker: a process group of its own.

    It dies when the thread that started it ends, so start it from one that lives as long.

    Args:
      log: File for everything that the runner and its worker print.
      label: What a list of processes shows.
    """

    def __init__(self, log: Path, label: str) -> None:
        self.log = log
        self.read_fd, to_supervisor = os.pipe()
        from_supervisor, to_runner = os.pipe()
        self._grants = os.fdopen(to_runner, "w", encoding="utf-8")
        self._buffer = b""
        command = [sys.executable, "-m", "sytff_policy.training.runner"]
        with open(log, "ab", opener=_private) as stream:
            self._process = subprocess.Popen(
                [*command, str(from_supervisor), str(to_supervisor), label],
                stdin=subprocess.DEVNULL,
                # Never a pipe of ours: TFF's worker would hold it open.
                stdout=stream,
                stderr=stream,
                pass_fds=(from_supervisor, to_supervisor),
                start_new_session=True,
                env=_environment(),
            )
        os.close(to_supervisor)
        os.close(from_supervisor)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Assignment | Granted) -> None:
        """Tells the runner something.

        Raises:
          Ended: If it is dead.
        """
        try:
            self._grants.write(message.model_dump_json() + "\n")
            self._grants.flush()
        except (BrokenPipeError, ValueError):
            raise Ended("run.died") from None

    def read(self) -> list[Any]:
        """The messages that have come; waits for the first bytes.

        Raises:
          Ended: If the pipe is at its end, or holds what is no message.
        """
        chunk = os.read(self.read_fd, LINE_LIMIT)
        if not chunk:
            raise Ended("run.died")
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        if len(self._buffer) > LINE_LIMIT:
            raise Ended("run.malformed_result")
        return [_decode(line) for line in lines]

    def messages(self, deadline: float, memory_limit: int | None = None) -> Iterator[Any]:
        """Messages as they come.

        Args:
          deadline: Monotonic time at which the runner has to be through.
          memory_limit: Bytes that the runner and its worker may hold together; None: no limit.

        Raises:
          Ended: With `run.died`, `run.timeout`, `run.memory_limit` or `run.malformed_result`.
        """
        check_at = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self.read_fd, selectors.EVENT_READ)
            while True:
                now = time.monotonic()
                if now >= deadline:
                    raise Ended("run.timeout")
                if memory_limit is not None and now >= check_at:
                    if self.memory() > memory_limit:
                        raise Ended("run.memory_limit")
                    check_at = now + MEMORY_CHECK_SECONDS
                wait = deadline - now
                if memory_limit is not None:
                    wait = min(wait, max(0.0, check_at - now))
                if selector.select(wait):
                    yield from self.read()

    def memory(self) -> int:
        """Resident bytes of the runner and its worker together."""
        return sum(_resident(pid) for pid in group_members(self.pid))

    def end(self) -> None:
        """Kills the whole group; safe to call again."""
        # While the leader is not reaped, its group id is nobody else's.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            os.close(self.read_fd)
        with contextlib.suppress(OSError):
            self._grants.close()


def group_members(group: int) -> list[int]:
    """Processes of a process group."""
    members = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group:
                    members.append(int(entry))
    return members


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _decode(line: bytes) -> Any:
    try:
        return _MESSAGES.validate_json(line)
    except ValidationError:
        raise Ended("run.malformed_result") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _environment() -> dict[str, str]:
    environment = {"TF_CPP_MIN_LOG_LEVEL": "1", "CUDA_VISIBLE_DEVICES": ""}
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
    environment.update({name: os.environ[name] for name in kept if name in os.environ})
    if "SYTFF_ALLOW_OPEN_WORKER" in os.environ:
        environment["SYTFF_ALLOW_OPEN_WORKER"] = os.environ["SYTFF_ALLOW_OPEN_WORKER"]
    return environment
