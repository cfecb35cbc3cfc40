"""Sphinx's settings."""

from __future__ import annotations

from pathlib import Path

import tomllib

_pyproject = Path(__file__).parents[1] / "pyproject.toml"

project = "SyTFF Policy"
copyright = "The SyTFF Policy authors"
version = release = tomllib.loads(_pyproject.read_text())["project"]["version"]
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nitpicky = True
html_theme = "furo"
html_title = "SyTFF Policy"
