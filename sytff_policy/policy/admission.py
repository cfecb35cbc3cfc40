"""Admission: what a bundle must be before it may decide anything.

The steps, in order; each failure names file, line and remedy:

1. every module and test parses;
2. every module is in the bundle's package (tests may be in a package of their own below it, with
   the suffix `_test`), and the rules of the contract have the shape that the contract gives them;
3. only pure built-ins from an allow-list are called, no reference leaves the bundle's own rules,
   its parameters and the library, what is read of the input exists, and `with` stands in tests
   alone;
4. it compiles, can be evaluated on an ordinary request, and defines `deny` without any input;
5. it ships tests, and all pass.

That its data lies under its parameters, where it can shadow no rule, was checked when the bundle
was made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from sytff_policy.errors import InvalidInput
from sytff_policy.policy._isolation import EngineDied, EngineTimeout, RegoError
from sytff_policy.policy.bundle import (
    LIBRARY_PACKAGE,
    NODE_PACKAGE,
    Bundle,
    BundleRejected,
    rejection,
)
from sytff_policy.policy.embedded import EmbeddedEngine, library_modules, names_of_tests
from sytff_policy.policy.engine import TestResult
from sytff_policy.policy.example import example_input
from sytff_policy.policy.references import Scope, reference_problems
from sytff_policy.policy.syntax import Module

CONTRACT = {
    "deny": ("set", "complete"),
    "review": ("set", "complete"),
    "warn": ("set", "complete"),
    "bounds": ("object", "complete"),
}
"""The kinds of rule that can give what the contract asks of each."""


@dataclass(frozen=True)
class AdmissionReport:
    """An admitted bundle and its test results."""

    bundle: Bundle
    tests: tuple[TestResult, ...]


@dataclass(frozen=True)
class _Parsed:
    """A bundle's modules and tests as the interpreter reads them."""

    modules: tuple[Module, ...]
    tests: tuple[Module, ...]


def admit(bundle: Bundle, engine: EmbeddedEngine, library: Bundle | None = None) -> AdmissionReport:
    """Checks a bundle.

    Args:
      bundle: The bundle.
      engine: The engine that parses and tests it, within its limits.
      library: The node bundle, whose `sytff.lib` a dataset's policy may import.

    Raises:
      BundleRejected: With every failure of the first step that fails.
    """
    try:
        parsed = _parse(bundle, engine)
        _require(_package_problems(bundle, parsed))
        _require(_rule_problems(bundle, parsed))
        _require(_reference_problems(bundle, engine, library, parsed))
        engine.compile(bundle, library)
        _require(_trial_problems(bundle, engine, library))
        return AdmissionReport(bundle, _passing_tests(bundle, engine, library, parsed))
    except RegoError as error:
        raise BundleRejected([_broken("bundle", error)]) from None
    except (EngineTimeout, EngineDied):
        raise BundleRejected(
            [
                rejection(
                    "bundle",
                    "takes more time or memory than one evaluation may",
                    code="policy.too_slow",
                    remedy="Bound every iteration by the input.",
                )
            ]
        ) from None


def _parse(bundle: Bundle, engine: EmbeddedEngine) -> _Parsed:
    problems = []
    parsed: tuple[list[Module], list[Module]] = ([], [])
    for texts, found in zip((bundle.modules, bundle.tests), parsed, strict=True):
        for path, text in texts.items():
            try:
                found.append(engine.module(path, text))
            except RegoError as error:
                problems.append(_broken(path, error))
    if problems:
        raise BundleRejected(problems)
    return _Parsed(tuple(parsed[0]), tuple(parsed[1]))


def _broken(path: str, error: RegoError, problem: str = "does not compile") -> InvalidInput:
    return rejection(
        error.path or path,
        f"{problem}: {error.cause}",
        code="policy.syntax",
        line=error.line,
        remedy="Rego v1 is expected.",
    )


def _require(problems: Iterator[InvalidInput]) -> None:
    found = list(problems)
    if found:
        raise BundleRejected(found)


def _package_problems(bundle: Bundle, parsed: _Parsed) -> Iterator[InvalidInput]:
    homes = [bundle.package]
    if bundle.package == NODE_PACKAGE:
        homes.append(LIBRARY_PACKAGE)
    for modules, suffix in ((parsed.modules, ""), (parsed.tests, "_test")):
        for module in modules:
            if module.package not in [*homes, *(home + suffix for home in homes)]:
                yield rejection(
                    module.path,
                    f"is in package {module.package}",
                    code="policy.foreign_package",
                    line=module.package_line,
                    remedy=f"Use package {bundle.package}{suffix}.",
                )


def _rule_problems(bundle: Bundle, parsed: _Parsed) -> Iterator[InvalidInput]:
    kinds: dict[tuple[str, str], str] = {}
    for module in parsed.modules:
        for rule in module.rules:
            kind = kinds.setdefault((module.package, rule.name), rule.kind)
            if rule.kind != kind:
                yield rejection(
                    module.path,
                    f"defines {rule.name} as {_KINDS[rule.kind]}, elsewhere it is {_KINDS[kind]}",
                    code="policy.conflicting_rules",
                    line=rule.line,
                    remedy="Define a rule in one way, or give it another name.",
                )
            wanted = CONTRACT.get(rule.name) if module.package == bundle.package else None
            if wanted and rule.kind not in wanted:
                yield rejection(
                    module.path,
                    f"defines {rule.name} as {_KINDS[rule.kind]}",
                    code="policy.contract",
                    line=rule.line,
                    remedy=_REMEDIES[wanted[0]].format(name=rule.name),
                )
    if (bundle.package, "deny") not in kinds:
        yield rejection(
            "bundle",
            f"defines no {bundle.package}.deny",
            code="policy.undefined_deny",
            remedy=_REMEDIES["set"].format(name="deny"),
        )


_KINDS = {
    "set": "a set",
    "complete": "a single value",
    "object": "an object",
    "function": "a function",
}
_REMEDIES = {
    "set": 'Write `{name} contains {{"code": ..., "message": ...}} if {{ ... }}`.',
    "object": 'Write `{name}["rounds"] := {{"max": ...}}`.',
}


def _reference_problems(
    bundle: Bundle, engine: EmbeddedEngine, library: Bundle | None, parsed: _Parsed
) -> Iterator[InvalidInput]:
    helpers: list[Module] = []
    if bundle.package != NODE_PACKAGE and library is not None:
        texts = library_modules(library)
        helpers = [engine.module(path, text) for path, text in texts.items()]
    scope = _scope(bundle, [*helpers, *parsed.modules])
    for module in parsed.modules:
        yield from reference_problems(module, scope, test=False)
    scope = _scope(bundle, [*helpers, *parsed.modules, *parsed.tests])
    for module in parsed.tests:
        yield from reference_problems(module, scope, test=True)


def _scope(bundle: Bundle, modules: list[Module]) -> Scope:
    rules: dict[str, set[str]] = {}
    functions: dict[str, set[str]] = {}
    for module in modules:
        for rule in module.rules:
            rules.setdefault(module.package, set()).add(rule.name)
            if rule.kind == "function":
                functions.setdefault(module.package, set()).add(rule.name)
    return Scope(
        package=bundle.package,
        rules={package: frozenset(names) for package, names in rules.items()},
        functions={package: frozenset(names) for package, names in functions.items()},
    )


def _trial_problems(
    bundle: Bundle, engine: EmbeddedEngine, library: Bundle | None
) -> Iterator[InvalidInput]:
    """What evaluation shows. A wrong value of `deny` shows when it decides, and then it denies."""
    unreadable = (ValueError, ArithmeticError, RecursionError)
    try:
        with contextlib.suppress(*unreadable):
            engine.answer(bundle, library, example_input())
    except RegoError as error:
        yield _broken("bundle", error, "cannot be evaluated")
    try:
        undefined = "deny" not in engine.answer(bundle, library, {})
    except (RegoError, *unreadable):
        undefined = False
    if undefined:
        yield rejection(
            "bundle",
            f"leaves {bundle.package}.deny undefined when the input is empty",
            code="policy.undefined_deny",
            remedy=_REMEDIES["set"].format(name="deny"),
        )


def _passing_tests(
    bundle: Bundle, engine: EmbeddedEngine, library: Bundle | None, parsed: _Parsed
) -> tuple[TestResult, ...]:
    results = tuple(engine.run_tests(bundle, library))
    if not results:
        raise BundleRejected(
            [
                rejection(
                    "bundle",
                    "ships no tests",
                    code="policy.no_tests",
                    remedy="Add *_test.rego files with rules named test_...",
                )
            ]
        )
    places = _places(parsed.tests)
    failed = [
        rejection(
            places[result.rule][0],
            f"{result.rule} fails{': ' + RegoError(result.error).cause if result.error else ''}",
            code="policy.test_failed",
            line=places[result.rule][1],
            remedy="Mend the rule or its test.",
        )
        for result in results
        if not result.passed
    ]
    if failed:
        raise BundleRejected(failed)
    return results


def _places(tests: tuple[Module, ...]) -> dict[str, tuple[str, int]]:
    """File and first line of each test."""
    found: dict[str, tuple[str, int]] = {}
    for module in tests:
        lines = {f"data.{module.package}.{rule.name}": rule.line for rule in reversed(module.rules)}
        for name in names_of_tests(module):
            found.setdefault(name, (module.path, lines[name]))
    return found
