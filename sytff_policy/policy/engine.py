"""The interface of policy engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sytff_policy.policy.bundle import Bundle
from sytff_policy.policy.verdict import Verdict


@dataclass(frozen=True)
class TestResult:
    """One Rego test: its rule, whether it passed, and an error if it had one."""

    __test__ = False  # not a pytest class

    rule: str
    passed: bool
    error: str = ""


class PolicyEngine(Protocol):
    """Evaluates bundles. Whatever goes wrong inside, the answer is a verdict that denies."""

    @property
    def name(self) -> str:
        """Engine and version, for the decision and the ledger."""
        ...

    def evaluate(self, bundles: Sequence[Bundle], document: dict[str, Any]) -> Verdict:
        """The joined verdict of the bundles' packages on an input document.

        Each bundle is evaluated apart from the others, so that none can change another's answer.
        """
        ...

    def run_tests(self, bundle: Bundle, library: Bundle | None) -> list[TestResult]:
        """Runs a bundle's `test_` rules."""
        ...

    def close(self) -> None:
        """Ends whatever the engine holds."""
        ...
