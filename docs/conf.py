"""Sphinx's settings."""

from __future__ import annotations

import tomllib
from pathlib import Path

_project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]

project = "SyTFF Policy"
copyright = "The SyTFF Policy authors"
version = release = _project["version"]
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nitpicky = True
html_theme = "furo"
html_title = "SyTFF Policy"
