"""The process that evaluates Rego. Imports nothing but the standard library and the interpreter.

Speaks JSON lines: a request on stdin, an answer on stdout. It holds no secret and is given no
data, is bounded in memory by the kernel and in time by its parent, and its death is a denial.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from typing import Any

import regorus

MAX_ENGINES = 64
IDLE_S = 5.0
"""How often an idle worker looks whether its parent still lives."""


class Evaluator:
    """Compiled engines by key, and what can be asked of them."""

    def __init__(self) -> None:
        self._engines: dict[str, Any] = {}

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers one request; errors of Rego are answers too."""
        operations = {
            "hello": self._hello,
            "load": self._load,
            "eval": self._evaluate,
            "ast": self._syntax_tree,
            "test": self._run_tests,
        }
        try:
            return {"ok": True, "value": operations[request["op"]](request)}
        except Exception as error:
            return {"ok": False, "error": str(error)[:4000]}

    def _hello(self, request: dict[str, Any]) -> str:
        return "ready"

    def _load(self, request: dict[str, Any]) -> list[str]:
        """Compiles a bundle; returns the keys of all that are held, this one the newest."""
        self._engines.pop(request["key"], None)
        self._engines[request["key"]] = _compile(request["modules"], request["data"])
        while len(self._engines) > MAX_ENGINES:
            self._engines.pop(next(iter(self._engines)))
        return list(self._engines)

    def _evaluate(self, request: dict[str, Any]) -> dict[str, str | None]:
        """Each asked rule's value as JSON text, which keeps numbers exact; None if undefined."""
        engine = self._engines[request["key"]].clone()
        engine.set_input_json(request["input"])
        # Rule by rule, never the package as a whole: when a package is spread over several
        # modules, the interpreter takes helper rules of the later ones for undefined there.
        package = request["package"]
        return {
            name: engine.eval_query_as_json(f"data.{package}.{name}") or None
            for name in request["rules"]
        }

    def _syntax_tree(self, request: dict[str, Any]) -> str:
        engine = regorus.Engine()
        engine.add_policy(request["path"], request["text"])
        (module,) = json.loads(engine.get_ast_as_json(), object_hook=_pruned)
        # Without the indentation, which is most of it.
        return json.dumps(module["ast"], separators=(",", ":"))

    def _run_tests(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        compiled = _compile(request["modules"], request["data"])
        return [_run_test(compiled.clone(), rule) for rule in request["rules"]]


def _pruned(node: dict[str, Any]) -> dict[str, Any] | None:
    """A node of a syntax tree without the interpreter's numbering; None for a literal's."""
    if "Number" in node or "Bool" in node or "Null" in node:
        return None
    for name in ("col", "eidx", "sidx", "qidx"):
        node.pop(name, None)
    return node


def _compile(modules: list[tuple[str, str]], data: list[str]) -> Any:
    engine = regorus.Engine()
    # What policies print goes nowhere: stdout is the protocol's.
    engine.set_gather_prints(True)
    for path, text in modules:
        engine.add_policy(path, text)
    for text in data:
        engine.add_data_json(text)
    # The interpreter checks a policy when it first evaluates something.
    engine.eval_query_as_json("true")
    return engine


def _run_test(engine: Any, rule: str) -> dict[str, Any]:
    engine.set_input_json("{}")
    try:
        answer = json.loads(engine.eval_query_as_json(rule))
        expressions = [e for row in answer.get("result", []) for e in row["expressions"]]
        passed = bool(expressions) and all(e["value"] is True for e in expressions)
        return {"rule": rule, "passed": passed, "error": ""}
    except Exception as error:
        return {"rule": rule, "passed": False, "error": str(error)[:2000]}


def _serve(parent: int) -> None:
    evaluator = Evaluator()
    while True:
        ready, _, _ = select.select([sys.stdin.buffer], [], [], IDLE_S)
        if not ready:
            if os.getppid() != parent:
                return
            continue
        line = sys.stdin.buffer.readline()
        if not line:
            return
        request = json.loads(line)
        # The interpreter may compute without end, and the parent that would end it may be gone.
        signal.setitimer(signal.ITIMER_REAL, request["alarm"])
        answer = json.dumps({"id": request["id"], **evaluator.handle(request)})
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.buffer.write(answer.encode() + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    """Serves until stdin closes or the parent is gone."""
    memory, parent = int(sys.argv[1]), int(sys.argv[2])
    # RLIMIT_DATA counts private writable memory. RLIMIT_AS would count the address space that
    # the interpreter's allocator sets aside without using it.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # An interrupt from the keyboard is the parent's to act on; the alarm must end this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _serve(parent)


if __name__ == "__main__":
    main()
