"""The `sytff` command."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Entry point of the `sytff` script."""
    try:
        _prepare()
        from sytff_policy.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # Before `run` could take charge: while modules load.
        code = 1
    sys.exit(code)


def _prepare() -> None:
    # To be stopped is to be interrupted: a run is then settled at once, and not at the next start.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # A stream that the caller closed is None.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A name in letters that the terminal lacks must not end a command.
            reconfigure(errors="backslashreplace")
