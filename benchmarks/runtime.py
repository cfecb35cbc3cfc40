"""The node's own TFF runtime, for benchmarks and in their process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from sytff_policy.training.runtime import execution_context, isolate_network, start_worker

# As the supervisor starts its runners: the figures are for that environment.
SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@contextlib.contextmanager
def runtime() -> Iterator[None]:
    """Starts the worker before TensorFlow is imported; call it before importing an engine."""
    os.environ.update(SETTINGS)
    isolate_network()
    with open(os.devnull, "wb") as log:
        worker, port = start_worker(log)
        with execution_context(worker, port):
            yield
