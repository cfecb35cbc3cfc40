"""The embedded engine: regorus in a process of its own.

Tenant-authored Rego can loop over 1e8 numbers or allocate without end, and an interpreter inside
this process could not be stopped. The evaluating process has a memory limit and is killed when an
evaluation takes too long; the next one gets a new process. Death, timeout, garbage: denied.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from sytff_policy.policy._isolation import EngineDied, EngineTimeout, RegoError, Worker
from sytff_policy.policy.bundle import (
    DATASET_PACKAGE,
    LIBRARY_PACKAGE,
    NODE_PACKAGE,
    Bundle,
)
from sytff_policy.policy.engine import TestResult
from sytff_policy.policy.syntax import Module, read_module
from sytff_policy.policy.verdict import Verdict, denied, parse_package

DEFAULT_TIME_LIMIT_S = 1.0
DEFAULT_MEMORY_LIMIT = 512 * 2**20
ADMISSION_FACTOR = 10
"""Parsing, compiling and testing a bundle may take this many evaluations' time."""
MAX_ANSWER_BYTES = 2**20
MAX_TREE_BYTES = 32 * 2**20
MAX_TEST_BYTES = 4 * 2**20

RULES = ("deny", "review", "warn", "bounds")
"""The rules of the policy contract, which are what a package is asked for."""

_UNDEFINED = object()
_LIBRARY_MODULE = re.compile(rf"^package\s+{re.escape(LIBRARY_PACKAGE)}\s*(#.*)?$", re.MULTILINE)


class EmbeddedEngine:
    """regorus, isolated. May be shared between threads, which then take turns.

    Args:
      time_limit: Seconds of processor time for one evaluation; ten times that by the clock.
      memory_limit: Bytes of private writable memory of the evaluating process.
    """

    def __init__(
        self,
        *,
        time_limit: float = DEFAULT_TIME_LIMIT_S,
        memory_limit: int = DEFAULT_MEMORY_LIMIT,
    ) -> None:
        if not time_limit > 0 or not memory_limit > 0:
            raise ValueError("time_limit and memory_limit must be above 0")
        self._time_limit = time_limit
        self._memory_limit = memory_limit
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def __enter__(self) -> EmbeddedEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        return f"embedded regorus {version('gordon-to-regorus')}"

    @property
    def worker_pid(self) -> int | None:
        """Process id of the evaluating process, if one runs."""
        worker = self._worker
        return None if worker is None else worker.pid

    def evaluate(self, bundles: Sequence[Bundle], document: dict[str, Any]) -> Verdict:
        node = next((b for b in bundles if b.package == NODE_PACKAGE), None)
        verdict = Verdict()
        for package in (NODE_PACKAGE, DATASET_PACKAGE):
            if not any(bundle.package == package for bundle in bundles):
                verdict = verdict.joined(parse_package(f"data.{package}", None))
        for bundle in bundles:
            verdict = verdict.joined(self._evaluate_one(bundle, node, document))
        return verdict

    def answer(self, bundle: Bundle, library: Bundle | None, document: Any) -> dict[str, Any]:
        """What a bundle's package answers, unchecked: the value of each rule that is defined.

        Args:
          bundle: The bundle.
          library: The node bundle, for its helpers.
          document: The input document.

        Raises:
          RegoError: If it cannot be evaluated.
          EngineTimeout, EngineDied: If it exceeds the engine's limits.
          ValueError, RecursionError: If the answer cannot be read, or the input not written.
        """
        request = {
            "op": "eval",
            "key": _key(bundle, library),
            "package": bundle.package,
            "rules": RULES,
            "input": json.dumps(document, allow_nan=False),
        }
        values = self._ask(request, self._time_limit, MAX_ANSWER_BYTES, (bundle, library))
        found = {name: _value_of(values[name]) for name in RULES}
        return {name: value for name, value in found.items() if value is not _UNDEFINED}

    def run_tests(self, bundle: Bundle, library: Bundle | None) -> list[TestResult]:
        request = {
            "op": "test",
            "modules": [*_modules(bundle, library), *bundle.tests.items()],
            "data": bundle.data_texts,
            "rules": self.test_rules(bundle),
        }
        limit = self._time_limit * ADMISSION_FACTOR
        return [TestResult(**item) for item in self._ask(request, limit, MAX_TEST_BYTES)]

    def test_rules(self, bundle: Bundle) -> list[str]:
        """References of all `test_` rules of a bundle, in file order."""
        modules = [self.module(path, text) for path, text in bundle.tests.items()]
        return list(dict.fromkeys(name for module in modules for name in names_of_tests(module)))

    def module(self, path: str, text: str) -> Module:
        """A module as the interpreter reads it.

        Raises:
          RegoError: If it does not parse.
        """
        request = {"op": "ast", "path": path, "text": text}
        answer = self._ask(request, self._time_limit * ADMISSION_FACTOR, MAX_TREE_BYTES)
        try:
            return read_module(path, text.encode(), json.loads(answer))
        except RecursionError:
            raise RegoError(f"{path} is nested too deeply") from None

    def compile(self, bundle: Bundle, library: Bundle | None) -> None:
        """Compiles a bundle.

        Raises:
          RegoError: If it does not parse or compile.
        """
        limit = self._time_limit * ADMISSION_FACTOR
        self._ask({"op": "hello"}, limit, MAX_ANSWER_BYTES, (bundle, library))

    def close(self) -> None:
        with self._lock:
            self._end()

    def _evaluate_one(self, bundle: Bundle, node: Bundle | None, document: Any) -> Verdict:
        source = f"data.{bundle.package}"
        try:
            return parse_package(source, self.answer(bundle, node, document))
        except EngineTimeout:
            limit = f"{self._time_limit:g} s"
            return denied("policy.timeout", source, f"{source} took longer than {limit}")
        except EngineDied:
            return denied(
                "policy.engine_failed", source, f"{source} broke the policy engine or its limits"
            )
        except RegoError as error:
            return denied("policy.error", source, f"{source} cannot be evaluated: {error}")
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
            return denied("policy.malformed", source, f"{source} has no readable answer")

    def _ask(
        self,
        request: dict[str, Any],
        limit: float,
        most: int,
        about: tuple[Bundle, Bundle | None] | None = None,
    ) -> Any:
        """Asks the worker, loading the bundle and library it is about if it does not hold them.

        A worker that dies is replaced once: it may have been ended from outside, or be full of
        what was asked of it before.
        """
        with self._lock:
            while True:
                fresh = self._worker is None
                try:
                    worker = self._started()
                    if about is not None and _key(*about) not in worker.loaded:
                        self._load(worker, *about)
                    return worker.ask(request, limit, most)
                except RegoError:
                    raise
                except EngineDied:
                    self._end()
                    if fresh:
                        raise
                except BaseException:
                    # Also when interrupted: a late answer must never be taken for the next one's.
                    self._end()
                    raise

    def _load(self, worker: Worker, bundle: Bundle, library: Bundle | None) -> None:
        request = {
            "op": "load",
            "key": _key(bundle, library),
            "modules": _modules(bundle, library),
            "data": bundle.data_texts,
        }
        limit = self._time_limit * ADMISSION_FACTOR
        worker.loaded = set(worker.ask(request, limit, MAX_ANSWER_BYTES))

    def _started(self) -> Worker:
        if self._worker is not None and self._worker.inherited:
            self._end()
        if self._worker is None:
            self._worker = Worker(self._memory_limit)
        return self._worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


def names_of_tests(module: Module) -> list[str]:
    """References of a module's `test_` rules."""
    names = (rule.name for rule in module.rules if rule.name.startswith("test_"))
    return list(dict.fromkeys(f"data.{module.package}.{name}" for name in names))


def _key(bundle: Bundle, library: Bundle | None) -> str:
    return f"{bundle.digest} {library.digest if library is not None else '-'}"


def library_modules(node: Bundle) -> dict[str, str]:
    """The node bundle's modules that owners' policies may import, by path."""
    return {path: text for path, text in node.modules.items() if _LIBRARY_MODULE.search(text)}


def _modules(bundle: Bundle, node: Bundle | None) -> list[tuple[str, str]]:
    """Path and text of a bundle's modules, with the node's library beside a dataset's."""
    modules = list(bundle.modules.items())
    if bundle.package == NODE_PACKAGE or node is None:
        return modules
    library = [(f"node/{path}", text) for path, text in library_modules(node).items()]
    return [*library, *modules]


def _value_of(answer: Any) -> Any:
    if answer is None:
        return _UNDEFINED
    document = json.loads(answer, parse_float=Decimal, parse_constant=_refuse_constant)
    rows = document.get("result", []) if isinstance(document, dict) else [document]
    expressions = [expression for row in rows for expression in row["expressions"]]
    if not expressions:
        return _UNDEFINED
    return expressions[0]["value"]


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
