"""`node.json`: what an operator says of a node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sytff_policy.errors import SytffError

FORMAT = 1


class HomeError(SytffError):
    """A folder that is not a node's, or not of this version."""

    code = "home.invalid"


def read_settings(folder: Path) -> dict[str, Any]:
    """A node's settings.

    Raises:
      HomeError: If the folder is no node's, or its settings are damaged.
    """
    try:
        document = json.loads((folder / "node.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HomeError(f"{folder} is not a node; make one with `sytff init {folder}`") from None
    except (OSError, ValueError) as error:
        raise HomeError(f"{folder}/node.json cannot be read: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise HomeError(f"{folder} is a node of another format than {FORMAT}")
    for name, kind in (("node_id", str), ("node_policy", dict), ("ledger", str)):
        if not isinstance(document.get(name, None if name == "node_id" else kind()), kind):
            raise HomeError(f"{folder}/node.json is damaged: {name}; restore it from a backup")
    return document


def ledger_of(folder: Path, settings: dict[str, Any]) -> Path | str:
    """Where a node's ledger is: a file in its folder, or the database that node.json names."""
    return str(settings["ledger"]) if "ledger" in settings else folder / "ledger.db"
