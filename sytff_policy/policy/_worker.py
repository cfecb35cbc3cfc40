"""The process that evaluates Rego. Imports nothing but the standard library and the interpreter.

Speaks JSON lines: a request on stdin, an answer on stdout. It holds no secret and is given no
data, is bounded in memory by the kernel and in time by its parent, and its death is a denial.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

import regorus

MAX_ENGINES = 64


class Evaluator:
    """Compiled engines by key, and what can be asked of them."""

    def __init__(self) -> None:
        self._engines: dict[str, Any] = {}

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers one request; errors of Rego are answers too."""
        try:
            operation = request["op"]
            if operation == "load":
                self._engines[request["key"]] = _compile(request["modules"], request["data"])
                while len(self._engines) > MAX_ENGINES:
                    self._engines.pop(next(iter(self._engines)))
                return {"ok": True}
            if operation == "eval":
                return self._evaluate(request)
            if operation == "ast":
                return {"ok": True, "value": _compile(request["modules"], {}).get_ast_as_json()}
            if operation == "test":
                return {"ok": True, "value": _run_tests(request)}
            return {"ok": False, "error": "unknown operation"}
        except Exception as error:
            return {"ok": False, "error": str(error)[:4000]}

    def _evaluate(self, request: dict[str, Any]) -> dict[str, Any]:
        compiled = self._engines.get(request["key"])
        if compiled is None:
            return {"ok": False, "unknown_key": True}
        engine = compiled.clone()
        engine.set_input_json(request["input"])
        # Rule by rule, never the package as a whole: when a package is spread over several
        # modules, the interpreter takes helper rules of the later ones for undefined there.
        package = request["package"]
        rules = {name: _query(engine, f"data.{package}.{name}") for name in request["rules"]}
        return {"ok": True, "value": rules}


def _compile(modules: dict[str, str], data: dict[str, Any]) -> Any:
    engine = regorus.Engine()
    engine.set_gather_prints(True)
    for path, text in modules.items():
        engine.add_policy(path, text)
    engine.add_data_json(json.dumps(data))
    return engine


def _query(engine: Any, query: str) -> str | None:
    """The query's value as JSON text, or None if it is undefined. Text keeps numbers exact."""
    answer = engine.eval_query_as_json(query)
    return None if not answer else str(answer)


def _run_tests(request: dict[str, Any]) -> list[dict[str, Any]]:
    compiled = _compile(request["modules"], request["data"])
    results = []
    for rule in request["rules"]:
        engine = compiled.clone()
        engine.set_input_json("{}")
        try:
            answer = json.loads(engine.eval_query_as_json(rule))
            expressions = [e for row in answer.get("result", []) for e in row["expressions"]]
            passed = bool(expressions) and all(e["value"] is True for e in expressions)
            results.append({"rule": rule, "passed": passed, "error": ""})
        except Exception as error:
            results.append({"rule": rule, "passed": False, "error": str(error)[:2000]})
    return results


def main() -> None:
    """Serves until stdin closes."""
    memory = int(sys.argv[1])
    # RLIMIT_DATA counts private writable memory. RLIMIT_AS would count the address space that
    # the interpreter's allocator sets aside without using it.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(sys.argv[2]):
            os._exit(1)
    evaluator = Evaluator()
    for line in sys.stdin.buffer:
        answer = json.dumps(evaluator.handle(json.loads(line)))
        sys.stdout.buffer.write(answer.encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
