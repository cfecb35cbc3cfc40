"""The evaluating process as its parent sees it: started, asked, ended.

An interpreter that loops or allocates without end cannot be stopped from inside. This one can: the
kernel bounds its memory, and it is killed when a request takes too much processor time or too long
by the clock. A killed process's answer is never taken for the next one's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

START_LIMIT_S = 30.0
CLOCK_FACTOR = 10.0
"""By the clock a request may take this many times its processor time: a busy machine must not
deny what an idle one allows."""

_PLACE = re.compile(r"--> (?P<path>.+):(?P<line>\d+):\d+$", re.MULTILINE)
_CAUSE = re.compile(r"^error: (?P<cause>.+)$", re.MULTILINE)
_WORKER = Path(__file__).resolve().with_name("_worker.py")
_BOOTSTRAP = (
    "import runpy, sys; path, memory, parent, *paths = sys.argv[1:]; sys.path[:0] = paths; "
    "sys.argv = ['worker', memory, parent]; runpy.run_path(path, run_name='__main__')"
)
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class EngineTimeout(RuntimeError):
    """A request took longer than its limit; the process was ended."""


class EngineDied(RuntimeError):
    """The process died, could not start, or spoke nonsense."""


class RegoError(RuntimeError):
    """Rego that does not parse, compile or evaluate.

    Args:
      text: What the interpreter says, with its drawing of the place.

    Attributes:
      path: The module; empty if unknown.
      line: The line in it; 0 if unknown.
      cause: What is wrong, in one line.
    """

    def __init__(self, text: str) -> None:
        place, cause = _PLACE.search(text), _CAUSE.search(text)
        self.path = place["path"] if place else ""
        self.line = int(place["line"]) if place else 0
        self.cause = (cause["cause"] if cause else " ".join(text.split()))[:500]
        super().__init__(f"{self.path}:{self.line}: {self.cause}" if place else self.cause)


class Worker:
    """A running evaluating process. Not for two threads at once.

    Args:
      memory_limit: Bytes of private writable memory.

    Raises:
      EngineDied: If it does not start.
    """

    def __init__(self, memory_limit: int) -> None:
        self.loaded: set[str] = set()
        self._requests = 0
        self._owner = os.getpid()
        try:
            self._process = _spawn(memory_limit)
        except OSError as error:
            raise EngineDied(f"the policy engine cannot start: {error}") from None
        try:
            self.ask({"op": "hello"}, START_LIMIT_S, 1024)
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def inherited(self) -> bool:
        """Whether this process got the worker by forking: the pipes are then its parent's."""
        return os.getpid() != self._owner

    def ask(self, request: dict[str, Any], limit: float, most: int) -> Any:
        """Sends a request and returns its value.

        Args:
          request: Operation and arguments.
          limit: Seconds of processor time.
          most: Bytes that the answer may have.

        Raises:
          RegoError: If the interpreter reports an error. The process is fine.
          EngineTimeout, EngineDied: The process is of no more use.
        """
        self._requests += 1
        stamped = {**request, "id": self._requests, "alarm": limit * CLOCK_FACTOR + 1}
        line = json.dumps(stamped).encode() + b"\n"
        try:
            answer = json.loads(self._exchange(line, limit, most))
        except (ValueError, RecursionError):
            raise EngineDied("the policy engine speaks nonsense") from None
        if not isinstance(answer, dict) or answer.get("id") != self._requests:
            raise EngineDied("the policy engine answers another question")
        if answer.get("ok") is True and "value" in answer:
            return answer["value"]
        raise RegoError(str(answer.get("error", "unknown error")))

    def end(self) -> None:
        """Kills the process, unless it is another process's, and closes the pipes."""
        if not self.inherited:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _exchange(self, line: bytes, limit: float, most: int) -> bytearray:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        deadline = _Deadline(self._process.pid, limit)
        buffer = bytearray()
        left = memoryview(line)
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stdin, selectors.EVENT_WRITE)
            while not buffer.endswith(b"\n"):
                for key, _ in selector.select(deadline.patience()):
                    if key.fileobj is stdin:
                        left = _write(stdin.fileno(), left)
                        if not left:
                            selector.unregister(stdin)
                    else:
                        chunk = os.read(stdout.fileno(), 2**20)
                        if not chunk or len(buffer) + len(chunk) > most:
                            raise EngineDied("the policy engine died or said too much")
                        buffer += chunk
        return buffer


class _Deadline:
    """A limit on a process's time, by processor and by clock."""

    def __init__(self, pid: int, limit: float) -> None:
        self._pid = pid
        self._limit = limit
        self._began = time.monotonic()
        self._used = _processor_time(pid) or 0.0

    def patience(self) -> float:
        """Seconds to wait before asking again.

        Raises:
          EngineTimeout: If a limit is reached.
        """
        left = self._began + CLOCK_FACTOR * self._limit - time.monotonic()
        used = _processor_time(self._pid)
        if used is None:
            # Without an account of the processor the clock alone decides.
            left -= (CLOCK_FACTOR - 1) * self._limit
        else:
            left = min(left, self._limit - (used - self._used))
        if left <= 0:
            raise EngineTimeout
        return max(left, 0.01)


def _processor_time(pid: int) -> float | None:
    """Seconds of processor time that a process has used; None where that cannot be known."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    user, system = status.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _spawn(memory_limit: int) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    paths = [path for path in sys.path if path]
    arguments = [str(_WORKER), str(memory_limit), str(os.getpid()), *paths]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # The interpreter's allocator would reserve 1 GiB at once, against the memory limit.
        env={"MIMALLOC_ARENA_RESERVE": "32768", **kept},
        bufsize=0,
    )
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    return process


def _write(descriptor: int, left: memoryview) -> memoryview:
    try:
        return left[os.write(descriptor, left[:65_536]) :]
    except BrokenPipeError:
        raise EngineDied("the policy engine died") from None
