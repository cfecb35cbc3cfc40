"""Engines: one with the limits of a node, one that soon loses patience."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sytff_policy.policy import EmbeddedEngine


@pytest.fixture(scope="session")
def engine() -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine() as made:
        yield made


@pytest.fixture(scope="session")
def impatient() -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine(time_limit=0.2, memory_limit=192 * 2**20) as made:
        yield made
