"""One TFF worker for all tests that need the runtime in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def tff_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from sytff_policy.training.runtime import execution_context, start_worker

    log = (tmp_path_factory.mktemp("worker") / "worker.log").open("wb")
    worker, port = start_worker(log)
    with execution_context(worker, port):
        yield
    log.close()
