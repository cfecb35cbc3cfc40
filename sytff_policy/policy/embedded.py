"""The embedded engine: regorus in a process of its own.

Tenant-authored Rego can loop over 1e8 numbers or allocate without end, and an interpreter inside
this process could not be stopped. The evaluating process has a memory limit and is killed when an
evaluation takes too long; the next one gets a new process. Death, timeout, garbage: denied.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from sytff_policy.policy.bundle import LIBRARY_PACKAGE, NODE_PACKAGE, Bundle
from sytff_policy.policy.engine import TestResult
from sytff_policy.policy.verdict import Verdict, denied, parse_package

DEFAULT_TIME_LIMIT_S = 1.0
DEFAULT_MEMORY_LIMIT = 512 * 2**20
START_LIMIT_S = 30.0
MAX_ANSWER_BYTES = 4 * 2**20
RULES = ("deny", "review", "warn", "bounds")
"""The rules of the policy contract, which are what a package is asked for."""

_UNDEFINED = object()
MAX_TREE_BYTES = 128 * 2**20


class EngineTimeout(RuntimeError):
    """An evaluation took longer than its limit and was ended."""


class EngineDied(RuntimeError):
    """The evaluating process died or spoke nonsense."""


class RegoError(RuntimeError):
    """Rego that does not parse, compile or evaluate; the interpreter's own words."""


class EmbeddedEngine:
    """regorus, isolated.

    Args:
      time_limit: Seconds for one evaluation.
      memory_limit: Bytes of address space of the evaluating process.
    """

    def __init__(
        self,
        *,
        time_limit: float = DEFAULT_TIME_LIMIT_S,
        memory_limit: int = DEFAULT_MEMORY_LIMIT,
    ) -> None:
        self._time_limit = time_limit
        self._memory_limit = memory_limit
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: set[str] = set()

    @property
    def name(self) -> str:
        return f"embedded regorus {version('gordon-to-regorus')}"

    def evaluate(self, bundles: Sequence[Bundle], document: dict[str, Any]) -> Verdict:
        text = json.dumps(document)
        node = next((b for b in bundles if b.package == NODE_PACKAGE), None)
        verdict = Verdict()
        packages = [bundle.package for bundle in bundles]
        for package in (NODE_PACKAGE, "sytff.dataset"):
            source = f"data.{package}"
            if package not in packages:
                verdict = verdict.joined(parse_package(source, None))
                continue
            bundle = bundles[packages.index(package)]
            verdict = verdict.joined(self._evaluate_one(source, bundle, node, text))
        return verdict

    def run_tests(self, bundle: Bundle, library: Bundle | None) -> list[TestResult]:
        modules = {**_modules(bundle, library), **bundle.tests}
        rules = self.test_rules(bundle)
        answer = self._ask(
            {"op": "test", "modules": modules, "data": bundle.data, "rules": rules},
            self._time_limit * 10,
        )
        return [TestResult(**item) for item in answer["value"]]

    def test_rules(self, bundle: Bundle) -> list[str]:
        """References of all `test_` rules of a bundle, in file order."""
        rules: list[str] = []
        for module in self.syntax_trees(bundle.tests):
            package = ".".join(path_of(module["ast"]["package"]["refr"]))
            for rule in module["ast"]["rules"]:
                name = rule_name(rule)
                if name.startswith("test_"):
                    rules.append(f"data.{package}.{name}")
        return list(dict.fromkeys(rules))

    def syntax_trees(self, modules: dict[str, str]) -> list[dict[str, Any]]:
        """The interpreter's syntax tree of each module.

        Raises:
          RegoError: If one does not parse.
        """
        if not modules:
            return []
        request = {"op": "ast", "modules": modules}
        answer = self._ask(request, self._time_limit * 10, MAX_TREE_BYTES)
        trees: list[dict[str, Any]] = json.loads(answer["value"])
        return trees

    def compile(self, bundle: Bundle, library: Bundle | None) -> None:
        """Compiles a bundle.

        Raises:
          RegoError: If it does not parse or compile.
        """
        self._load(bundle, library)

    def close(self) -> None:
        with self._lock:
            self._end()

    def _evaluate_one(self, source: str, bundle: Bundle, node: Bundle | None, text: str) -> Verdict:
        try:
            answer = self._query(bundle, node, text)
            found = {name: _value_of(value) for name, value in answer["value"].items()}
            value = {name: item for name, item in found.items() if item is not _UNDEFINED}
        except EngineTimeout:
            limit = f"{self._time_limit:g} s"
            return denied("policy.timeout", source, f"{source} took longer than {limit}")
        except EngineDied:
            return denied(
                "policy.engine_failed", source, f"{source} broke the policy engine or its limits"
            )
        except RegoError as error:
            return denied("policy.error", source, f"{source} cannot be evaluated: {error}"[:500])
        except (ValueError, KeyError, TypeError, RecursionError):
            return denied("policy.malformed", source, f"{source} has no readable answer")
        return parse_package(source, value)

    def _query(self, bundle: Bundle, node: Bundle | None, text: str) -> Any:
        request = {
            "op": "eval",
            "key": bundle.digest,
            "package": bundle.package,
            "rules": RULES,
            "input": text,
        }
        for _ in range(3):
            if bundle.digest not in self._loaded:
                self._load(bundle, node)
            try:
                return self._ask(request, self._time_limit)
            except KeyError:
                self._loaded.discard(bundle.digest)
        raise EngineDied("the engine forgets what it loads")

    def _load(self, bundle: Bundle, node: Bundle | None) -> None:
        self._ask(
            {
                "op": "load",
                "key": bundle.digest,
                "modules": _modules(bundle, node),
                "data": bundle.data,
            },
            self._time_limit * 10,
        )
        self._loaded.add(bundle.digest)

    def _ask(
        self, request: dict[str, Any], limit: float, most: int = MAX_ANSWER_BYTES
    ) -> dict[str, Any]:
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            process = self._process or self._start()
            try:
                answer = self._exchange(process, line, limit, most)
            except BaseException:
                # Also when interrupted: a late answer must never be taken for the next one's.
                self._end()
                raise
        if not answer.get("ok"):
            if answer.get("unknown_key"):
                raise KeyError("unknown key")
            raise RegoError(str(answer.get("error", "unknown")))
        return answer

    def _exchange(
        self, process: subprocess.Popen[bytes], line: bytes, limit: float, most: int
    ) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + limit
        buffer = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, "out")
            selector.register(process.stdin, selectors.EVENT_WRITE, "in")
            left = memoryview(line)
            while not buffer.endswith(b"\n"):
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise EngineTimeout
                for key, _ in events:
                    if key.data == "in":
                        left = self._write(process.stdin.fileno(), left)
                        if not left:
                            selector.unregister(process.stdin)
                    else:
                        chunk = os.read(process.stdout.fileno(), 2**20)
                        if not chunk or len(buffer) + len(chunk) > most:
                            raise EngineDied
                        buffer += chunk
        try:
            answer = json.loads(buffer)
        except ValueError:
            raise EngineDied from None
        if not isinstance(answer, dict):
            raise EngineDied
        return answer

    @staticmethod
    def _write(descriptor: int, left: memoryview) -> memoryview:
        try:
            return left[os.write(descriptor, left[:65_536]) :]
        except BrokenPipeError:
            raise EngineDied from None

    def _start(self) -> subprocess.Popen[bytes]:
        self._loaded.clear()
        process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                _BOOTSTRAP,
                str(self._memory_limit),
                str(os.getpid()),
                *_import_paths(),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # The interpreter's allocator would reserve 1 GiB at once, against the memory limit.
            env={"MIMALLOC_ARENA_RESERVE": "32768"},
            bufsize=0,
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self._process = process
        answer = self._exchange(process, b'{"op": "hello"}\n', START_LIMIT_S, 1024)
        if answer != {"ok": False, "error": "unknown operation"}:
            raise EngineDied
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        self._loaded.clear()
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def path_of(reference: Any) -> list[str]:
    """A dotted reference in regorus's syntax tree as its parts; `*` where a part is computed."""
    if not isinstance(reference, dict):
        return ["*"]
    if "Var" in reference:
        return [str(reference["Var"]["value"])]
    if "RefDot" in reference:
        inner = reference["RefDot"]
        return [*path_of(inner["refr"]), str(inner["field"][1])]
    if "RefBrack" in reference:
        inner = reference["RefBrack"]
        index = inner["index"]
        literal = index.get("String") if isinstance(index, dict) else None
        part = str(literal["value"]) if literal else "*"
        return [*path_of(inner["refr"]), part]
    return ["*"]


def rule_name(rule: dict[str, Any]) -> str:
    """The name of a rule in regorus's syntax tree."""
    if "Default" in rule:
        return path_of(rule["Default"]["refr"])[0]
    head = rule.get("Spec", {}).get("head", {})
    for kind in head.values():
        if isinstance(kind, dict) and "refr" in kind:
            return path_of(kind["refr"])[0]
    return "*"


def _modules(bundle: Bundle, node: Bundle | None) -> dict[str, str]:
    """A bundle's modules, with the node's library beside a dataset's."""
    modules = bundle.modules
    if bundle.package == NODE_PACKAGE or node is None:
        return modules
    library = {
        f"node/{path}": text
        for path, text in node.modules.items()
        if f"package {LIBRARY_PACKAGE}" in text
    }
    return {**library, **modules}


def _value_of(answer: Any) -> Any:
    if answer is None:
        return _UNDEFINED
    document = json.loads(answer, parse_float=Decimal, parse_constant=_refuse_constant)
    rows = document.get("result", [])
    expressions = [expression for row in rows for expression in row["expressions"]]
    if not expressions:
        return _UNDEFINED
    return expressions[0]["value"]


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _import_paths() -> list[str]:
    return [path for path in sys.path if path]


_BOOTSTRAP = (
    "import sys; memory, parent, *paths = sys.argv[1:]; sys.argv = ['worker', memory, parent]; "
    "sys.path[:0] = paths; import runpy, os; "
    f"runpy.run_path({os.path.join(os.path.dirname(os.path.abspath(__file__)), '_worker.py')!r}, "
    "run_name='__main__')"
)
