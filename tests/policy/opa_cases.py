"""Random policies over several files, and what OPA, the reference engine, answers to them.

`python -m tests.policy.opa_cases PATH_OF_OPA` makes `opa_answers.json` anew. Cases that OPA refuses
to compile, such as two values for one rule, are left out.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).with_name("opa_answers.json")
CASES = 60
PACKAGE = "package sytff.dataset\n\n"
FACTS = ("input.a > 1", "input.b == 2", "input.c", "not input.d", "1 == 1", "input.e.f < 3")


class Author:
    """Writes one policy: helpers that use earlier ones, `deny` and `bounds` that use all."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.helpers: list[tuple[str, str]] = []

    def condition(self) -> str:
        if not self.helpers or self.random.random() < 0.25:
            return self.random.choice(FACTS)
        name, kind = self.random.choice(self.helpers)
        path = name if self.random.random() < 0.7 else f"data.sytff.dataset.{name}"
        choices = {
            "flag": ("{0}", "not {0}"),
            "value": ("{0} > 1", "not {0} == 2", "not {0}", "{0} == {0}"),
            "set": ("1 in {0}", "count({0}) > 0", "not 1 in {0}", "some v in {0}", "{0}[2]"),
            "object": ("{0}.x == 1", '{0}["x"] == 1', "not {0}.y", "some k, v in {0}"),
            "function": ("{0}(1)", "not {0}(2)", "{0}(input.a)"),
        }
        return self.random.choice(choices[kind]).format(path)

    def body(self) -> str:
        count = self.random.randint(1, 2)
        return "{ " + "; ".join(self.condition() for _ in range(count)) + " }"

    def helper(self, name: str) -> list[str]:
        kinds: dict[str, Callable[[str], list[str]]] = {
            "flag": self.flag,
            "value": self.value,
            "set": lambda n: [
                f"{n} contains {self.random.choice([1, 2, 'input.a'])} if {self.body()}"
                for _ in range(2)
            ],
            "object": lambda n: [
                f'{n}["{key}"] := 1 if {self.body()}' for key in self.random.sample("xyz", 2)
            ],
            "function": lambda n: [f"{n}(z) if {{ z == 1; {self.condition()} }}"],
        }
        kind = self.random.choice(sorted(kinds))
        rules = kinds[kind](name)
        self.helpers.append((name, kind))
        return rules

    def flag(self, name: str) -> list[str]:
        default = [f"default {name} := false"] if self.random.random() < 0.4 else []
        return default + [f"{name} if {self.body()}" for _ in range(self.random.randint(1, 2))]

    def value(self, name: str) -> list[str]:
        default = [f"default {name} := 5"] if self.random.random() < 0.5 else []
        return [*default, f"{name} := {self.random.choice([1, 2, 'input.a'])} if {self.body()}"]

    def policy(self) -> dict[str, str]:
        rules = [rule for n in range(self.random.randint(3, 8)) for rule in self.helper(f"h{n}")]
        count = self.random.randint(1, 4)
        rules += [f'deny contains "r{n}" if {self.body()}' for n in range(count)]
        rules.append(f'bounds["b"] := 1 if {self.body()}')
        files: list[list[str]] = [[] for _ in range(self.random.randint(1, 4))]
        for rule in rules:
            self.random.choice(files).append(rule)
        for file in files:
            self.random.shuffle(file)
        return {
            f"{number}.rego": PACKAGE + "\n\n".join(file) + "\n"
            for number, file in enumerate(files)
        }

    def input(self) -> dict[str, Any]:
        given: dict[str, Any] = {
            name: self.random.randint(0, 3) for name in "abcd" if self.random.random() < 0.6
        }
        return given | (
            {"e": {"f": self.random.randint(1, 4)}} if self.random.random() < 0.5 else {}
        )


def ask(opa: str, files: dict[str, str], given: dict[str, Any], rule: str) -> Any:
    """OPA's answer; None when undefined.

    Raises:
      ValueError: If OPA refuses the policy.
    """
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            (Path(folder) / path).write_text(text, encoding="utf-8")
        command = [opa, "eval", "--format", "json", "--stdin-input", "--data", folder]
        run = subprocess.run(
            [*command, f"data.sytff.dataset.{rule}"],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
        )
    answer = json.loads(run.stdout)
    if "errors" in answer:
        raise ValueError(answer["errors"][0]["message"])
    rows = answer.get("result")
    return rows[0]["expressions"][0]["value"] if rows else None


def main(opa: str) -> None:
    """Writes the answers."""
    cases: list[dict[str, Any]] = []
    seed = 0
    while len(cases) < CASES:
        author = Author(seed)
        files, given = author.policy(), author.input()
        try:
            answers = {rule: ask(opa, files, given, rule) for rule in ("deny", "bounds")}
            cases.append({"files": files, "input": given, "answers": answers})
        except ValueError as error:
            print(f"seed {seed} is left out: {error}", file=sys.stderr)
        seed += 1
    ANSWERS.write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
