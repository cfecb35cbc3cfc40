"""What a module refers to: the calls, references, imports and modifiers that admission refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sytff_policy.errors import InvalidInput
from sytff_policy.policy.bundle import rejection
from sytff_policy.policy.input_fields import unknown_field
from sytff_policy.policy.pure_builtins import PURE_BUILTINS
from sytff_policy.policy.syntax import Call, Import, Module, Parts, Reference, With

_LIBRARY = ("data", "sytff", "lib")
_KEYWORDS = ("future", "rego")
_RESERVED = ("data", "input")


@dataclass(frozen=True)
class Scope:
    """What a bundle's modules may name.

    Attributes:
      package: The bundle's package.
      rules: Names of the rules of each package, functions included.
      functions: Names of the functions of each package.
    """

    package: str
    rules: Mapping[str, frozenset[str]]
    functions: Mapping[str, frozenset[str]]

    @property
    def own(self) -> Parts:
        return ("data", *self.package.split("."))

    @property
    def places(self) -> tuple[Parts, ...]:
        """What of `data` its rules may read."""
        return self.own, _LIBRARY, ("data", "sytff", "parameters", self.own[-1])

    def is_function(self, parts: Parts) -> bool:
        """Whether a full path is that of a function."""
        for package, names in self.functions.items():
            home = ("data", *package.split("."))
            if parts[: len(home)] == home:
                return ".".join(parts[len(home) :]) in names
        return False


def reference_problems(module: Module, scope: Scope, *, test: bool) -> Iterator[InvalidInput]:
    """Everything that `module` refers to and may not; tests may refer to more."""
    for item in module.imports:
        yield from _import_problems(module, scope, item, test)
    for use in module.uses:
        if isinstance(use, Call):
            yield from _call_problems(module, scope, use, test)
        elif isinstance(use, With):
            yield from _with_problems(module, use, test)
        else:
            yield from _path_problems(module, scope, use, test)


def _import_problems(
    module: Module, scope: Scope, item: Import, test: bool
) -> Iterator[InvalidInput]:
    if item.parts[0] in _KEYWORDS:
        return
    name = ".".join(item.parts)
    if item.alias in _RESERVED:
        yield rejection(
            module.path,
            f"imports {name} as {item.alias}",
            code="policy.reserved_name",
            line=item.line,
            remedy="Use another name: `input` and `data` have their meaning.",
        )
    elif item.parts[: len(scope.own)] == scope.own:
        yield rejection(
            module.path,
            f"imports {name}",
            code="policy.rule_import",
            line=item.line,
            remedy="Write references to rules in full: the embedded interpreter takes helper "
            "rules behind an import for undefined.",
        )
    elif item.parts[0] == "data":
        yield from _outside(module, scope, item.parts, item.line, test)
    elif not test:
        yield from _unknown(module, item.parts, item.line)


def _call_problems(module: Module, scope: Scope, call: Call, test: bool) -> Iterator[InvalidInput]:
    name = ".".join(call.parts)
    if call.bracketed:
        yield rejection(
            module.path,
            f"calls {name} by a name in brackets",
            code="policy.banned_builtin",
            line=call.line,
            remedy="Write the name of a function plainly.",
        )
        return
    parts = module.resolved(call.parts)
    if parts[0] == "data":
        outside = list(_outside(module, scope, parts, call.line, test))
        yield from outside
        known = bool(outside) or scope.is_function(parts)
    elif len(parts) == 1 and parts[0] in scope.functions.get(module.package, ()):
        known = True
    else:
        # The interpreter looks for a built-in whatever the first part of its name means here.
        head = call.parts[0]
        taken = head in scope.rules.get(module.package, ()) or head in module.aliases
        known = name in PURE_BUILTINS and not taken
    if not known:
        yield rejection(
            module.path,
            f"calls {name}, which is neither a function of the policy or of the library nor a "
            "pure built-in of the allow-list",
            code="policy.banned_builtin",
            line=call.line,
            remedy="The time is in input.time; nothing else from outside may decide.",
        )


def _with_problems(module: Module, modifier: With, test: bool) -> Iterator[InvalidInput]:
    if not test:
        yield rejection(
            module.path,
            "uses `with` outside a test",
            code="policy.with_outside_test",
            line=modifier.line,
            remedy="Decide on the input as it is.",
        )
    elif modifier.parts[0] not in _RESERVED:
        yield rejection(
            module.path,
            f"replaces {'.'.join(modifier.parts)}",
            code="policy.with_target",
            line=modifier.line,
            remedy="A test may replace `input` and `data`, never a function.",
        )


def _path_problems(
    module: Module, scope: Scope, reference: Reference, test: bool
) -> Iterator[InvalidInput]:
    parts = reference.parts
    if parts[0] == "data":
        yield from _outside(module, scope, parts, reference.line, test)
    elif not test:
        yield from _unknown(module, module.resolved(parts), reference.line)


def _outside(
    module: Module, scope: Scope, parts: Parts, line: int, test: bool
) -> Iterator[InvalidInput]:
    name = ".".join(parts)
    own = scope.own
    if parts[: len(own)] == own and (parts == own or parts[len(own)] == "*"):
        # Evaluated as one document, which the embedded interpreter gets wrong when the package
        # has several modules.
        yield rejection(
            module.path,
            f"refers to {name}, the whole package or a computed part of it",
            code="policy.computed_reference",
            line=line,
            remedy="Name the rule.",
        )
        return
    inside = any(parts[: len(place)] == place for place in scope.places)
    if not inside and not (test and parts[:2] == ("data", "sytff") and "*" not in parts[:3]):
        places = ", ".join(".".join(place) for place in scope.places)
        yield rejection(
            module.path,
            f"refers to {name}, outside its own rules and parameters",
            code="policy.foreign_reference",
            line=line,
            remedy=f"Allowed: {places}.",
        )


def _unknown(module: Module, parts: Parts, line: int) -> Iterator[InvalidInput]:
    if parts[0] != "input":
        return
    known = unknown_field(parts[1:])
    if known is not None:
        yield rejection(
            module.path,
            f"reads {'.'.join(parts)}, which no input has",
            code="policy.unknown_input",
            line=line,
            remedy=f"There: {', '.join(known)}." if known else "There is nothing below it.",
        )
