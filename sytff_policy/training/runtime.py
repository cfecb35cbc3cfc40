"""Owning the TFF worker: isolated, bound to this process's life, silent.

TFF's local runtime is a C++ server that listens on every interface without authentication, and
outlives the Python process that started it. Here it is started by us: inside a network namespace
that holds nothing but a loopback of its own, with a signal that kills it when its parent dies,
its output in a file, and its port known to nobody else.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

OPEN_WORKER_VARIABLE = "SYTFF_ALLOW_OPEN_WORKER"
START_TIMEOUT_S = 120.0

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


class RuntimeUnavailable(RuntimeError):
    """TFF's worker is not installed or does not come up."""


class IsolationUnavailable(RuntimeError):
    """This machine lets us make no private network for TFF's worker."""


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent thread ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def isolate_network() -> None:
    """Moves this single-threaded process into a network namespace with only a loopback.

    Nobody on this machine or beyond can then reach the worker, and neither the worker nor the
    model it executes can reach anybody. Must run before any thread starts.

    Raises:
      IsolationUnavailable: If the kernel refuses and the operator has not set
        SYTFF_ALLOW_OPEN_WORKER=1, which says that something else isolates this process, such as
        a container with a network of its own.
    """
    if os.environ.get(OPEN_WORKER_VARIABLE) == "1":
        return
    try:
        _unshare_network()
        _raise_loopback()
    except OSError as error:
        raise IsolationUnavailable(
            f"no private network namespace: {error}. Allow user namespaces, or isolate the node "
            f"by other means and set {OPEN_WORKER_VARIABLE}=1"
        ) from None


def start_worker(log: IO[bytes]) -> tuple[subprocess.Popen[bytes], int]:
    """Starts TFF's worker as a child that dies with this process.

    Call it before importing TensorFlow: the pre-exec hook needs a single-threaded process, and
    the worker's start then overlaps the import.

    Returns:
      The process, and the port it will listen on.
    """
    binary = worker_binary()
    port = _free_port()
    parent = os.getpid()

    def before_exec() -> None:
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)

    process = subprocess.Popen(
        [str(binary), f"--port={port}", "--max_concurrent_computation_calls=-1"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=before_exec,
    )
    return process, port


def worker_binary() -> Path:
    """Where TFF keeps its worker.

    Raises:
      RuntimeUnavailable: If TFF is not installed.
    """
    spec = importlib.util.find_spec("tensorflow_federated")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        binary = Path(folder) / "data" / "worker_binary"
        if binary.is_file():
            return binary
    raise RuntimeUnavailable("tensorflow-federated is not installed with its worker")


@contextlib.contextmanager
def execution_context(
    process: subprocess.Popen[bytes], port: int, on_death: Callable[[], None] | None = None
) -> Iterator[None]:
    """Makes the worker TFF's default runtime, and ends it on leaving.

    Args:
      process: The worker.
      port: Its port.
      on_death: Called in a thread of its own if the worker ends by itself. A call that is under
        way then never returns: gRPC waits for the worker to come back.

    Raises:
      RuntimeUnavailable: If the worker ends or does not answer in time.
    """
    leaving = threading.Event()

    def watch() -> None:
        process.wait()
        if not leaving.is_set() and on_death is not None:
            on_death()

    try:
        _connect(process, port, leaving)
        threading.Thread(target=watch, name="worker-watch", daemon=True).start()
        yield
    finally:
        leaving.set()
        process.kill()
        process.wait()


def _connect(process: subprocess.Popen[bytes], port: int, leaving: threading.Event) -> None:
    import grpc
    from tensorflow_federated.python.core.backends.native import compiler
    from tensorflow_federated.python.core.environments.tensorflow_frontend import (
        tensorflow_computation,
    )
    from tensorflow_federated.python.core.impl.computation import computation_impl
    from tensorflow_federated.python.core.impl.context_stack import context_stack_impl
    from tensorflow_federated.python.core.impl.execution_contexts import sync_execution_context
    from tensorflow_federated.python.core.impl.executor_stacks import python_executor_stacks
    from tensorflow_federated.python.core.impl.executors import (
        remote_executor,
        remote_executor_grpc_stub,
    )
    from tensorflow_federated.python.core.impl.types import placements

    class RememberingExecutor(remote_executor.RemoteExecutor):  # type: ignore[misc]
        """Sends each compiled computation once: it is the same one every round."""

        def set_cardinalities(self, cardinalities: Any) -> None:
            super().set_cardinalities(cardinalities)
            self._sent: dict[int, tuple[Any, Any]] = {}

        async def create_value(self, value: Any, type_spec: Any = None) -> Any:
            if not isinstance(value, computation_impl.ConcreteComputation):
                return await super().create_value(value, type_spec)
            if id(value) not in self._sent:
                # The computation is kept with its reference, so that its id stays its own.
                self._sent[id(value)] = value, await super().create_value(value, type_spec)
            return self._sent[id(value)][1]

        def _dispose(self, value_ref: Any, value_executor_id: Any) -> None:
            if not leaving.is_set():
                super()._dispose(value_ref, value_executor_id)

    limit = 2 * 10**9
    channel = grpc.insecure_channel(
        f"localhost:{port}",
        options=[
            ("grpc.max_message_length", limit),
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
        ],
    )
    stub = remote_executor_grpc_stub.RemoteExecutorGrpcStub(channel)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not stub.is_ready:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeUnavailable("TFF's worker did not come up")
        time.sleep(0.02)

    def stack(cardinalities: Any) -> Any:
        cardinalities.setdefault(placements.CLIENTS, 0)
        executor = RememberingExecutor(stub)
        executor.set_cardinalities(cardinalities)
        return executor

    factory = python_executor_stacks.ResourceManagingExecutorFactory(executor_stack_fn=stack)
    context_stack_impl.context_stack.set_default_context(
        sync_execution_context.SyncExecutionContext(
            executor_fn=factory,
            compiler_fn=compiler.desugar_and_transform_to_native,
            transform_args=tensorflow_computation.transform_args,
            transform_result=tensorflow_computation.transform_result,
        )
    )


def _unshare_network() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    # As root, a network namespace needs no user namespace; otherwise one comes with it.
    if uid == 0 and libc.unshare(_CLONE_NEWNET) == 0:
        return
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh", b"lo", 0)
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, request)
        flags = struct.unpack("16sh", answer)[1] | _IFF_UP
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags))


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
