"""Admission: what a bundle must be before it may decide anything.

The steps, in order; each failure names file, line and remedy:

1. every module and test parses;
2. every module is in the bundle's package (tests may be in a package of their own below it, with
   the suffix `_test`);
3. only pure built-ins from an allow-list are called, no reference leaves the bundle's own rules,
   its parameters and the library, and `with` stands in tests alone;
4. data lies under the bundle's parameters, so that it cannot shadow a rule;
5. it compiles, and `deny` is defined without any input;
6. it ships tests, and all pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sytff_policy.errors import InvalidInput
from sytff_policy.policy.bundle import (
    LIBRARY_PACKAGE,
    NODE_PACKAGE,
    Bundle,
    BundleRejected,
    rejection,
)
from sytff_policy.policy.embedded import (
    EmbeddedEngine,
    EngineDied,
    EngineTimeout,
    RegoError,
    path_of,
)
from sytff_policy.policy.engine import TestResult

PURE_BUILTINS = frozenset(
    {
        "abs",
        "all",
        "any",
        "array.concat",
        "array.reverse",
        "array.slice",
        "base64.decode",
        "base64.encode",
        "base64.is_valid",
        "bits.and",
        "bits.lsh",
        "bits.negate",
        "bits.or",
        "bits.rsh",
        "bits.xor",
        "ceil",
        "concat",
        "contains",
        "count",
        "endswith",
        "floor",
        "format_int",
        "glob.match",
        "graph.reachable",
        "hex.decode",
        "hex.encode",
        "indexof",
        "intersection",
        "is_array",
        "is_boolean",
        "is_null",
        "is_number",
        "is_object",
        "is_set",
        "is_string",
        "json.filter",
        "json.is_valid",
        "json.marshal",
        "json.remove",
        "json.unmarshal",
        "lower",
        "max",
        "min",
        "net.cidr_contains",
        "net.cidr_intersects",
        "numbers.range",
        "object.filter",
        "object.get",
        "object.keys",
        "object.remove",
        "object.subset",
        "object.union",
        "object.union_n",
        "print",
        "product",
        "regex.is_valid",
        "regex.match",
        "regex.split",
        "replace",
        "round",
        "semver.compare",
        "semver.is_valid",
        "sort",
        "split",
        "sprintf",
        "startswith",
        "strings.any_prefix_match",
        "strings.any_suffix_match",
        "strings.count",
        "strings.replace_n",
        "strings.reverse",
        "substring",
        "sum",
        "time.add_date",
        "time.clock",
        "time.date",
        "time.diff",
        "time.format",
        "time.parse_duration_ns",
        "time.parse_ns",
        "time.parse_rfc3339_ns",
        "time.weekday",
        "to_number",
        "trim",
        "trim_left",
        "trim_prefix",
        "trim_right",
        "trim_space",
        "trim_suffix",
        "type_name",
        "union",
        "units.parse",
        "units.parse_bytes",
        "upper",
        "walk",
    }
)
"""Built-ins that depend on their arguments alone. What is not here is refused by name."""


@dataclass(frozen=True)
class AdmissionReport:
    """An admitted bundle and its test results."""

    bundle: Bundle
    tests: tuple[TestResult, ...]


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
        trees = [
            *((path, _tree(engine, path, text), False) for path, text in bundle.modules.items()),
            *((path, _tree(engine, path, text), True) for path, text in bundle.tests.items()),
        ]
        _require(p for path, tree, test in trees for p in _package(bundle, path, tree, test))
        names = {name for _, tree, test in trees if not test for name in _rule_names(tree)}
        _require(
            p for path, tree, test in trees for p in _references(bundle, path, tree, names, test)
        )
        _require(_data_problems(bundle))
        engine.compile(bundle, library)
        _require(_deny_is_defined(bundle, names))
        return AdmissionReport(bundle, _passing_tests(bundle, engine, library))
    except RegoError as error:
        raise BundleRejected([_syntax("bundle", error)]) from None
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


def _tree(engine: EmbeddedEngine, path: str, text: str) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = engine.syntax_trees({path: text})[0]["ast"]
    except RegoError as error:
        raise BundleRejected([_syntax(path, error)]) from None
    return tree


def _syntax(path: str, error: RegoError) -> InvalidInput:
    return rejection(
        path, f"does not compile: {error}", code="policy.syntax", remedy="Rego v1 is expected."
    )


def _require(problems: Iterator[InvalidInput]) -> None:
    found = list(problems)
    if found:
        raise BundleRejected(found)


def _package(bundle: Bundle, path: str, tree: dict[str, Any], test: bool) -> Iterator[InvalidInput]:
    package = ".".join(path_of(tree["package"]["refr"]))
    homes = [bundle.package]
    if bundle.package == NODE_PACKAGE:
        homes.append(LIBRARY_PACKAGE)
    fits = package in homes or (test and package.removesuffix("_test") in homes)
    if not fits:
        yield rejection(
            path,
            f"is in package {package}",
            code="policy.foreign_package",
            line=_line(tree["package"]),
            remedy=f"Use package {bundle.package}.",
        )


def _rule_names(tree: dict[str, Any]) -> set[str]:
    from sytff_policy.policy.embedded import rule_name

    return {rule_name(rule) for rule in tree["rules"]}


def _references(
    bundle: Bundle, path: str, tree: dict[str, Any], names: set[str], test: bool
) -> Iterator[InvalidInput]:
    local = names | _rule_names(tree)
    aliases = set()
    for item in tree.get("imports", []):
        parts = path_of(item["refr"])
        alias = item.get("as")
        aliases.add(_text_of(alias) if alias else parts[-1])
        if parts[:2] == ["data", "sytff"] and parts[2:3] not in (["lib"], ["parameters"]):
            yield rejection(
                path,
                f"imports {'.'.join(parts)}",
                code="policy.rule_import",
                line=_line(item),
                remedy="Write references to rules in full: the embedded interpreter takes helper "
                "rules behind an import for undefined.",
            )
        if parts not in (["rego", "v1"], ["future", "keywords"]) and parts[:1] != ["future"]:
            yield from _outside(bundle, path, parts, _line(item), test)
    for node, kind in _walk(tree["rules"]):
        if kind == "Call":
            name = ".".join(path_of(node["fcn"]))
            head = path_of(node["fcn"])[0]
            known = name in PURE_BUILTINS or head in local or head in aliases or head == "data"
            if not known:
                yield rejection(
                    path,
                    f"calls {name}, which is not a pure built-in of the allow-list",
                    code="policy.banned_builtin",
                    line=_line(node),
                    remedy="The time is in input.time; nothing else from outside may decide.",
                )
        elif kind == "reference":
            yield from _outside(bundle, path, path_of(node), _line(node), test)
        elif kind == "with" and not test:
            yield rejection(
                path,
                "uses `with` outside a test",
                code="policy.with_outside_test",
                line=_line(node),
                remedy="Decide on the input as it is.",
            )


def _outside(
    bundle: Bundle, path: str, parts: list[str], line: int, test: bool
) -> Iterator[InvalidInput]:
    if parts[:1] != ["data"]:
        return
    kind = bundle.package.rpartition(".")[2]
    allowed = [
        ["data", "sytff", kind],
        ["data", "sytff", "lib"],
        ["data", "sytff", "parameters", kind],
    ]
    # A whole package, or a computed part of one, would be evaluated as one document, which the
    # embedded interpreter gets wrong when the package has several modules.
    whole = parts in allowed[:1] or (parts[: len(allowed[0])] == allowed[0] and "*" in parts)
    inside = any(parts[: len(prefix)] == prefix for prefix in allowed) and not whole
    if not inside and not (test and parts[:2] == ["data", "sytff"]):
        yield rejection(
            path,
            f"refers to {'.'.join(parts)}, outside its own rules and parameters",
            code="policy.foreign_reference",
            line=line,
            remedy=f"Allowed: {', '.join('.'.join(prefix) for prefix in allowed)}.",
        )


def _walk(node: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Calls, maximal `data` references and `with` modifiers below a syntax tree node."""
    if isinstance(node, list):
        for item in node:
            yield from _walk(item)
    elif isinstance(node, dict):
        if "Call" in node:
            yield node["Call"], "Call"
            for argument in node["Call"].get("params", []):
                yield from _walk(argument)
            return
        if any(key in node for key in ("RefDot", "RefBrack")) or "Var" in node:
            if path_of(node)[0] == "data":
                yield node, "reference"
            yield from _indices(node)
            return
        if node.get("with_mods"):
            yield node["with_mods"][0], "with"
        for value in node.values():
            yield from _walk(value)


def _indices(node: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """What stands inside the brackets of a reference, and what the reference starts from."""
    if "RefDot" in node:
        yield from _inner(node["RefDot"]["refr"])
    elif "RefBrack" in node:
        yield from _walk(node["RefBrack"]["index"])
        yield from _inner(node["RefBrack"]["refr"])


def _inner(node: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    if any(key in node for key in ("RefDot", "RefBrack")):
        yield from _indices(node)
    elif "Var" not in node:
        yield from _walk(node)


def _data_problems(bundle: Bundle) -> Iterator[InvalidInput]:
    kind = bundle.package.rpartition(".")[2]
    wanted = ["sytff", "parameters", kind]
    level: Any = bundle.data
    for depth, part in enumerate(wanted):
        if not level:
            return
        for key in level:
            if key != part:
                place = ".".join([*wanted[:depth], key])
                yield rejection(
                    "data.json",
                    f"holds data.{place}, which can shadow a rule",
                    code="policy.data_shadows_rule",
                    remedy=f"Put parameters under {'.'.join(wanted)}.",
                )
        level = level.get(part)
        if level is not None and not isinstance(level, dict):
            yield rejection("data.json", f"{part} is not an object", code="policy.data")
            return


def _deny_is_defined(bundle: Bundle, names: set[str]) -> Iterator[InvalidInput]:
    if "deny" not in names:
        yield rejection(
            "bundle",
            f"defines no {bundle.package}.deny",
            code="policy.undefined_deny",
            remedy='Add rules `deny contains {"code": ..., "message": ...} if { ... }`.',
        )


def _passing_tests(
    bundle: Bundle, engine: EmbeddedEngine, library: Bundle | None
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
    failed = [
        rejection(
            result.rule,
            f"fails{': ' + result.error if result.error else ''}",
            code="policy.test_failed",
            remedy="Mend the rule or its test.",
        )
        for result in results
        if not result.passed
    ]
    if failed:
        raise BundleRejected(failed)
    return results


def _text_of(alias: Any) -> str:
    if isinstance(alias, list):
        return str(alias[1])
    return str(alias.get("text", "")) if isinstance(alias, dict) else str(alias)


def _line(node: Any) -> int:
    if isinstance(node, dict):
        span = node.get("span")
        if isinstance(span, dict) and "line" in span:
            return int(span["line"])
        for value in node.values():
            line = _line(value)
            if line:
                return line
    if isinstance(node, list):
        for value in node:
            line = _line(value)
            if line:
                return line
    return 0
