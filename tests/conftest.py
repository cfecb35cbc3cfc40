"""Settings of every test: no skipped test passes for a green run in CI."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Two busy cores make a time limit per example a matter of luck; pytest-timeout bounds each test.
settings.register_profile("sytff", deadline=None, print_blob=True)
settings.load_profile("sytff")

IN_CI = bool(os.environ.get("CI"))
_skipped: list[str] = []


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as skipped too; it did run.
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if IN_CI and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if IN_CI and _skipped:
        terminalreporter.section("skipped in CI, where everything must run", red=True)
        for nodeid in _skipped:
            terminalreporter.line(nodeid)
