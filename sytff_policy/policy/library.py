"""The Rego that comes with the package: the node's rules and the owners' templates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sytff_policy.errors import InvalidInput, NotFound
from sytff_policy.policy.bundle import (
    DATASET_PACKAGE,
    NODE_PACKAGE,
    Bundle,
    load_bundle,
    with_data,
)


def library_root() -> Path:
    """Where the Rego library lies: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_policies"
    return installed if installed.is_dir() else package.parent / "policies"


def node_bundle(overrides: Mapping[str, Any] | None = None) -> Bundle:
    """The node's own rules.

    Args:
      overrides: Parameters that the operator sets otherwise than `policies/node/data.json`; each
        a finite number.

    Raises:
      NotFound: If there is no such parameter.
      InvalidInput: If one is not a number.
    """
    bundle = load_bundle(library_root() / "node", NODE_PACKAGE)
    if not overrides:
        return bundle
    parameters = bundle.data["sytff"]["parameters"]["node"]
    unknown = sorted(set(overrides) - set(parameters))
    if unknown:
        raise NotFound("node policy parameter", unknown[0], list(parameters))
    for name, value in overrides.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
            raise InvalidInput(f"node policy parameter {name}", "is not a number", value=value)
    merged = {**parameters, **overrides}
    return with_data(bundle, {"sytff": {"parameters": {"node": merged}}})


def template_names() -> list[str]:
    """Names of the templates for owners."""
    return sorted(path.name for path in (library_root() / "templates").iterdir() if path.is_dir())


def template(name: str) -> Bundle:
    """An owner's template by name."""
    if name not in template_names():
        raise NotFound("policy template", name, template_names())
    return load_bundle(library_root() / "templates" / name, DATASET_PACKAGE)
