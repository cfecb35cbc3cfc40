"""The demo registry: the same for everyone, and as its documentation says."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sytff_policy.datasets import DatasetStore, schema_from_flags
from sytff_policy.datasets.generate import (
    DEMO_FEATURES,
    DEMO_LABEL,
    DEMO_UNIT,
    write_demo_csv,
)


def registry(path: Path, **how: int) -> list[dict[str, str]]:
    write_demo_csv(path, **how)
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    ("seed", "digest"),
    [
        (1, "256a2ee5c8ea9c0c1efbc32fca3fc16ff34afa94415d89b2ec4d3be1512824c3"),
        (2, "a9db2374f5026b0da03df025fc2d69d7abf2add38bcc98b8ea90e32699ef9c97"),
    ],
)
def test_a_seed_gives_the_same_bytes_everywhere(tmp_path: Path, seed: int, digest: str) -> None:
    file = tmp_path / "registry.csv"
    write_demo_csv(file, people=200, seed=seed)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest


def test_a_larger_registry_begins_with_the_smaller_one(tmp_path: Path) -> None:
    small = registry(tmp_path / "small.csv", people=20)
    assert registry(tmp_path / "large.csv", people=40)[: len(small)] == small


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_columns_are_in_their_documented_ranges_and_labels_are_balanced(
    tmp_path: Path, seed: int
) -> None:
    rows = registry(tmp_path / "registry.csv", people=3000, seed=seed)
    columns = {
        name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name != DEMO_UNIT
    }
    bounds = {name: (values.min(), values.max()) for name, values in columns.items()}
    assert bounds["year"] == (2020, 2024)
    assert bounds["female"] == bounds["chronic"] == (0, 1)
    assert bounds["education"] == (7, 18)
    assert bounds["exercise"] == (0, 7)
    assert bounds["age"][0] == 20
    assert 85 <= bounds["age"][1] <= 89
    assert bounds["income"][0] >= 0.2
    assert bounds["income"][1] <= 12
    assert 0.40 <= (columns["visits"] > 0).mean() <= 0.46

    yearly = Counter(row[DEMO_UNIT] for row in rows)
    assert len(yearly) == 3000
    assert set(yearly.values()) == {1, 2, 3, 4, 5}


def test_the_demo_declaration_encodes_every_row_within_its_ranges(
    tmp_path: Path, store: DatasetStore
) -> None:
    write_demo_csv(tmp_path / "registry.csv", people=500)
    schema = schema_from_flags(unit=DEMO_UNIT, features=DEMO_FEATURES, label=DEMO_LABEL)
    dataset = store.open(store.add(tmp_path / "registry.csv", schema).version)
    everyone = dataset.read_units(np.arange(500))
    assert np.abs(everyone.features).max() <= 1.0
    # Strictly inside for what has room on both sides: nothing was clipped.
    assert np.abs(everyone.features[:, 0]).max() < 1.0
    assert set(everyone.labels.tolist()) == {0, 1}


@pytest.mark.parametrize("people", [0, -1])
def test_a_registry_of_nobody_is_refused(tmp_path: Path, people: int) -> None:
    with pytest.raises(ValueError, match="people"):
        write_demo_csv(tmp_path / "registry.csv", people=people)
    assert not (tmp_path / "registry.csv").exists()
