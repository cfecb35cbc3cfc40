"""Warm runners: processes with TFF imported and their worker up, before any job arrives.

A runner executes one job and ends, so that no job finds another's rows or graphs in its process;
the pool replaces it. Whatever ends a run (success, crash, timeout, memory limit, cancel) ends its
process group and starts a new runner.
"""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from sytff_policy.runs.job import Ready
from sytff_policy.runs.process import Ended, RunnerProcess

RETRY_SECONDS = (1.0, 5.0, 30.0, 120.0)
"""How long a pool waits after its runners failed to start once, twice and so on."""


class RunnerPool:
    """Keeps `size` runners: warm, warming up, or at work.

    Args:
      folder: Folder for the logs of runners without a job; on the file system of the runs.
      size: Number of runners; at most as many runs are warm at the same time.
    """

    def __init__(self, folder: Path, size: int = 1) -> None:
        if size < 1:
            raise ValueError(f"a pool has at least one runner, not {size}")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._size = size
        self._changed = threading.Condition()
        self._starting: list[RunnerProcess] = []
        self._ready: list[RunnerProcess] = []
        self._taken: list[RunnerProcess] = []
        self._failures = 0
        self._retry_at = 0.0
        self._closing = False
        self._wake_read, self._wake_write = os.pipe()
        # One thread starts all runners and lives as long as the pool: they die with it.
        self._thread = threading.Thread(target=self._keep, name="runner-pool", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> RunnerProcess | None:
        """A warm runner, for one job; None if there is none in time. Give it back afterwards."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ready or self._closing, timeout):
                return None
            if self._closing:
                return None
            runner = self._ready.pop(0)
            self._taken.append(runner)
        self._wake()
        return runner

    def give_back(self, runner: RunnerProcess) -> None:
        """Ends a runner that was taken, and makes room for the next."""
        runner.end()
        with self._changed:
            if runner in self._taken:
                self._taken.remove(runner)
        self._wake()

    def wait_until_warm(self, timeout: float) -> bool:
        """Whether all runners are warm within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._ready) == self._size, timeout)

    @property
    def warm(self) -> list[int]:
        """Process ids of the runners that wait for a job."""
        with self._changed:
            return [runner.pid for runner in self._ready]

    def close(self) -> None:
        """Ends all runners, also those at work."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._wake()
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> RunnerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b".")

    def _keep(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    break
                missing = self._size - len(self._starting) - len(self._ready) - len(self._taken)
                pause = self._retry_at - time.monotonic()
            if missing > 0 and pause <= 0:
                self._start()
                continue
            self._listen(max(0.0, pause) if missing > 0 else None)
        for runner in [*self._starting, *self._ready, *self._taken]:
            runner.end()
            _remove(runner.log)

    def _start(self) -> None:
        handle, name = tempfile.mkstemp(prefix="runner-", suffix=".log", dir=self._folder)
        os.close(handle)
        runner = RunnerProcess(Path(name), "warm")
        with self._changed:
            self._starting.append(runner)

    def _listen(self, timeout: float | None) -> None:
        with self._changed:
            watched = {runner.read_fd: runner for runner in [*self._starting, *self._ready]}
        poll = select.poll()
        for descriptor in (self._wake_read, *watched):
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(None if timeout is None else timeout * 1000):
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                self._heard(watched[descriptor])

    def _heard(self, runner: RunnerProcess) -> None:
        with self._changed:
            if runner not in self._starting and runner not in self._ready:
                # It was taken meanwhile: what it says is for its supervisor.
                return
            try:
                well = runner in self._starting and all(
                    isinstance(message, Ready) for message in runner.read()
                )
            except Ended:
                well = False
            if well:
                self._starting.remove(runner)
                self._ready.append(runner)
                self._failures = 0
            else:
                self._drop(runner)
            self._changed.notify_all()

    def _drop(self, runner: RunnerProcess) -> None:
        # A runner that cannot start leaves its log; one that died while it waited says nothing.
        if runner in self._starting:
            self._starting.remove(runner)
            pause = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
            self._retry_at = time.monotonic() + pause
            self._failures += 1
        else:
            self._ready.remove(runner)
            _remove(runner.log)
        runner.end()


def _remove(log: Path) -> None:
    with contextlib.suppress(OSError):
        log.unlink()
