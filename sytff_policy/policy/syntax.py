"""Modules of Rego as the interpreter reads them: packages, imports, rules, calls, references.

The tree is regorus's own, so what is checked is what is evaluated. Nothing here recurses: a tree
may be as deep as a tenant likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Parts = tuple[str, ...]
"""A reference as its parts; `*` where a part is computed, or is not written as it reads."""

_NAME_NODES = ("Var", "RefDot", "RefBrack")


@dataclass(frozen=True)
class Import:
    """`import data.sytff.lib as l`: the parts, and the name that it has in the module."""

    parts: Parts
    alias: str
    line: int


@dataclass(frozen=True)
class Rule:
    """One definition of a rule.

    Attributes:
      name: First part of its head.
      kind: `set` (`contains`), `complete` (`:=`), `object` (with a key in its head), `function`.
      line: Where it starts.
    """

    name: str
    kind: str
    line: int


@dataclass(frozen=True)
class Call:
    """A call of a function by name; `bracketed` if the name is not plainly written."""

    parts: Parts
    bracketed: bool
    line: int


@dataclass(frozen=True)
class Reference:
    """A reference by its longest path, such as `input.request.rounds` or `limits["a"][*]`."""

    parts: Parts
    line: int


@dataclass(frozen=True)
class With:
    """A `with` modifier: what it replaces."""

    parts: Parts
    line: int


@dataclass(frozen=True)
class Module:
    """What admission wants to know of a module.

    Attributes:
      path: Its path in the bundle.
      package: Its package, dotted.
      package_line: Where that is said.
      imports: Its imports.
      rules: Every definition of a rule.
      uses: Calls, `with` modifiers, and references that are not to local names, by line.
    """

    path: str
    package: str
    package_line: int
    imports: tuple[Import, ...]
    rules: tuple[Rule, ...]
    uses: tuple[Call | Reference | With, ...]

    @cached_property
    def aliases(self) -> dict[str, Parts]:
        """What each imported name stands for."""
        return {item.alias: item.parts for item in self.imports}

    def resolved(self, parts: Parts) -> Parts:
        """A path with an imported name at its start replaced by what it stands for."""
        return (*self.aliases.get(parts[0], parts[:1]), *parts[1:])


def read_module(path: str, source: bytes, tree: dict[str, Any]) -> Module:
    """Reads the interpreter's syntax tree of a module.

    Args:
      path: The module's path in the bundle.
      source: Its text, UTF-8; the tree names places in it.
      tree: The tree, which is not kept.
    """
    return _Reader(source).module(path, tree)


class _Reader:
    def __init__(self, source: bytes) -> None:
        self._source = source

    def module(self, path: str, tree: dict[str, Any]) -> Module:
        package = tree["package"]
        imports = tuple(self._import(item) for item in tree.get("imports") or ())
        roots = {"data", "input", *(item.alias for item in imports)}
        uses = [
            use
            for use in self._uses(tree["rules"])
            if not isinstance(use, Reference) or use.parts[0] in roots
        ]
        return Module(
            path=path,
            package=".".join(self._parts(package["refr"])),
            package_line=_line(package),
            imports=imports,
            rules=tuple(self._rule(node) for node in tree["rules"]),
            uses=tuple(sorted(uses, key=lambda use: use.line)),
        )

    def _parts(self, node: Any) -> Parts:
        found: list[str] = []
        while True:
            if "RefDot" in node:
                found.append(str(node["RefDot"]["field"][1]))
                node = node["RefDot"]["refr"]
            elif "RefBrack" in node:
                found.append(self._index(node["RefBrack"]["index"]))
                node = node["RefBrack"]["refr"]
            else:
                found.append(str(node["Var"]["value"]) if "Var" in node else "*")
                return tuple(reversed(found))

    def _import(self, item: dict[str, Any]) -> Import:
        parts = self._parts(item["refr"])
        alias = self._text(item["as"]) if item.get("as") else parts[-1]
        return Import(parts, alias, _line(item))

    def _rule(self, node: dict[str, Any]) -> Rule:
        if "Default" in node:
            default = node["Default"]
            kind = "function" if default.get("args") else "complete"
            return Rule(self._parts(default["refr"])[0], kind, _line(default))
        ((shape, inner),) = node["Spec"]["head"].items()
        parts, line = self._parts(inner["refr"]), _line(node["Spec"])
        if shape == "Func":
            return Rule(".".join(parts), "function", line)
        plain = "set" if shape == "Set" else "complete"
        return Rule(parts[0], plain if len(parts) == 1 else "object", line)

    def _uses(self, rules: list[Any]) -> Iterator[Call | Reference | With]:
        pending: list[Any] = list(rules)
        while pending:
            node = pending.pop()
            if isinstance(node, list):
                pending.extend(node)
            elif isinstance(node, dict):
                yield from self._visit(node, pending)

    def _visit(self, node: dict[str, Any], pending: list[Any]) -> Iterator[Call | Reference | With]:
        if "Call" in node:
            call = node["Call"]
            function = call["fcn"]
            yield Call(self._parts(function), _has_brackets(function), _line(call))
            pending.extend(call["params"])
        elif any(kind in node for kind in _NAME_NODES):
            yield Reference(self._parts(node), _line(node))
            _push_indices(node, pending)
        elif "refr" in node and "as" in node:
            yield With(self._parts(node["refr"]), _line(node))
            _push_indices(node["refr"], pending)
            pending.append(node["as"])
        else:
            pending.extend(node.values())

    def _index(self, index: dict[str, Any] | None) -> str:
        # Escapes are refused as names: the interpreter's own analysis goes by the source text.
        literal = None if index is None else index.get("String")
        if literal is None or self._text(literal["span"]) != literal["value"]:
            return "*"
        return str(literal["value"])

    def _text(self, span: dict[str, Any]) -> str:
        return self._source[span["start"] : span["end"]].decode(errors="replace")


def _has_brackets(node: dict[str, Any]) -> bool:
    while "RefDot" in node:
        node = node["RefDot"]["refr"]
    return "Var" not in node


def _push_indices(node: dict[str, Any], pending: list[Any]) -> None:
    """What stands in the brackets of a reference, and what it starts from if that is no name."""
    while "RefDot" in node or "RefBrack" in node:
        inner = node.get("RefDot") or node["RefBrack"]
        if "index" in inner:
            pending.append(inner["index"])
        node = inner["refr"]
    if "Var" not in node:
        pending.append(node)


def _line(node: Any) -> int:
    """The first line number at or below a node."""
    pending = [node]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            span = node.get("span")
            if isinstance(span, dict):
                return int(span["line"])
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return 0
