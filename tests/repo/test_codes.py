"""Every stable code is documented, and every documented one exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAMILIES = (
    "accountant|audit|dataset|demo|home|input|key|ledger|model|policy|receipt|request|run|runtime|"
    "verify|witness"
)
CODE = re.compile(rf"^({FAMILIES})\.[a-z_]+$")
# Of the same shape, and no codes: kinds of entries, paths of fields and names of files.
OTHER = {
    "dataset.key",
    "dataset.population",
    "dataset.registered",
    "dataset.version",
    "key.activated",
    "ledger.keys",
    "model.parameters",
    "policy.activated",
    "witness.http",
}
FILES = (".db", ".json", ".py")
WITHOUT_FAMILY = {"internal", "interrupted", "io", "not_found", "usage"}


def codes_in_source() -> set[str]:
    found = set()
    for path in (ROOT / "sytff_policy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and CODE.match(text) and not text.endswith(FILES):
                found.add(text)
    return found - OTHER


def documented() -> set[str]:
    text = (ROOT / "docs" / "codes.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `([a-z_.]+)` \|", text, flags=re.MULTILINE))


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    assert documented() - WITHOUT_FAMILY == codes_in_source()
    assert documented() >= WITHOUT_FAMILY


def test_every_code_that_a_runner_may_report_has_its_words() -> None:
    from typing import get_args

    from sytff_policy.runs.job import FailureCode
    from sytff_policy.runs.supervisor import FAILURES

    assert set(get_args(FailureCode)) <= set(FAILURES)
    assert set(FAILURES) <= documented()
