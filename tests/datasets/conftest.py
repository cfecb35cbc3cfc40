"""Small registries, and stores to keep them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from sytff_policy.datasets import DatasetStore
from tests.datasets.tables import KEY


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "store", KEY)
