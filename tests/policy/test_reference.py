"""The embedded engine answers as OPA does, on policies over several files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sytff_policy.policy import EmbeddedEngine, make_bundle
from tests.policy.opa_cases import ANSWERS, CASES

RECORDED = json.loads(ANSWERS.read_text(encoding="utf-8"))


def test_the_recorded_answers_are_of_all_kinds() -> None:
    found = [case["answers"] for case in RECORDED]
    assert len(found) == CASES
    assert sum(len(answer["deny"]) == 0 for answer in found) > 5
    assert sum(len(answer["deny"]) > 1 for answer in found) > 5
    assert sum(answer["bounds"] == {} for answer in found) > 5
    assert sum(len(case["files"]) > 2 for case in RECORDED) > 10


@pytest.mark.parametrize("number", range(CASES))
def test_the_answer_is_that_of_opa(engine: EmbeddedEngine, number: int) -> None:
    case: dict[str, Any] = RECORDED[number]
    files = {path: text.encode() for path, text in case["files"].items()}
    answer = engine.answer(make_bundle("sytff.dataset", files), None, case["input"])
    assert sorted(answer["deny"]) == sorted(case["answers"]["deny"])
    assert answer.get("bounds") == case["answers"]["bounds"]
