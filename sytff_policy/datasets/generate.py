"""A synthetic registry, for the demo and for trying things out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

DEMO_FEATURES = "age:18..90,female,income:0..12,education:6..20,chronic,exercise:0..7"
DEMO_LABEL = "visited=visits>0"
DEMO_UNIT = "person_id"


def write_demo_csv(path: Path, *, people: int = 6000, seed: int = 1) -> None:
    """Writes a registry of `people`, one to five yearly rows each.

    A person has an age (uniform 20-85), female (0/1), income (log-normal, in thousands a month),
    education (years, 7-18), chronic illness (more often with age) and exercise (days a week). In a
    year the expected number of visits to a doctor is

        exp(-1.1 + 1.1 (age - 50) / 20 + 2.0 chronic + 0.4 female - 0.25 exercise + s)

    with a personal effect s ~ Normal(0, 0.3), and visits are Poisson. The label "visited" (at
    least one visit) is true in a little under half of the rows.

    Args:
      path: CSV file to write.
      people: Number of people, >= 1.
      seed: The same seed gives the same file.
    """
    generator = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            [
                "person_id",
                "year",
                "age",
                "female",
                "income",
                "education",
                "chronic",
                "exercise",
                "visits",
            ]
        )
        for person in range(people):
            age = int(generator.integers(20, 86))
            female = int(generator.integers(0, 2))
            income = round(float(np.clip(generator.lognormal(1.0, 0.5), 0.2, 12.0)), 2)
            education = int(generator.integers(7, 19))
            chronic = int(generator.random() < 0.1 + 0.5 * (age - 20) / 65)
            personal = generator.normal(0.0, 0.3)
            for year in range(int(generator.integers(1, 6))):
                exercise = int(generator.integers(0, 8))
                rate = np.exp(
                    -1.1
                    + 1.1 * (age + year - 50) / 20
                    + 2.0 * chronic
                    + 0.4 * female
                    - 0.25 * exercise
                    + personal
                )
                visits = int(generator.poisson(min(rate, 40.0)))
                writer.writerow(
                    [
                        f"P{person:06d}",
                        2020 + year,
                        age + year,
                        female,
                        income,
                        education,
                        chronic,
                        exercise,
                        visits,
                    ]
                )
