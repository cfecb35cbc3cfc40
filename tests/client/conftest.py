"""A domain with one small image dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sytff_policy as sy
from tests.client.digits import make_image_home


@pytest.fixture
def domain(tmp_path: Path) -> Iterator[sy.Domain]:
    make_image_home(tmp_path).close()
    with sy.open(tmp_path / "node", researcher="alice") as opened:
        yield opened
