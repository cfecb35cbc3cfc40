"""The `sytff` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `sytff` script."""
    from sytff_policy.cli.app import run

    sys.exit(run(sys.argv[1:]))
