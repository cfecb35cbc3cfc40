"""Synthetic 8x8 images of people who each drew a few horizontal or vertical strokes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from sytff_policy.datasets import schema_from_flags
from sytff_policy.home import Home
from sytff_policy.policy import template
from sytff_policy.privacy import make_filter


def write_strokes(path: Path, *, people: int, seed: int = 0) -> None:
    """Writes `person`, `images` [rows, 8, 8] uint8 and `stroke` (0 across, 1 down)."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(1, 5, people)
    person = np.repeat(np.arange(people), rows)
    stroke = generator.integers(0, 2, rows.sum())
    images = generator.integers(0, 60, (rows.sum(), 8, 8))
    for image, down in zip(images, stroke, strict=True):
        line = int(generator.integers(0, 8))
        (image.T if down else image)[line] = 255
    np.savez(path, person=person, images=images.astype(np.uint8), stroke=stroke)


def make_image_home(folder: Path, *, people: int = 60, epsilon: int = 8) -> Home:
    """A node with one dataset, `strokes`, of the asset `images` and the label `stroke`."""
    home = Home.create(folder / "node")
    data = folder / "strokes.npz"
    write_strokes(data, people=people)
    home.register(
        "strokes",
        data,
        schema_from_flags(unit="person", features="images:[8x8]/255", label="stroke:2"),
        lambda population: make_filter("rdp", Decimal(epsilon), Decimal("1e-5"), order=4),
        policy=template("starter"),
        owner="owner",
    )
    return home


def params(dataset: Any, **changes: Any) -> dict[str, Any]:
    """Parameters as PySyTFF users write them."""
    return {
        "rounds": 5,
        "no_clients": 10,
        "noise_multiplier": 1.0,
        "clients_per_round": 6,
        "train_data_id": dataset["images"].id_at_location.to_string(),
        "label_data_id": dataset["stroke"].id_at_location.to_string(),
        **changes,
    }
