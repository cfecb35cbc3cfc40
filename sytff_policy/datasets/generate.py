"""A synthetic registry, for the demo and for trying things out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

DEMO_FEATURES = "age:18..90,female,income:0..12,education:6..20,chronic,exercise:0..7"
DEMO_LABEL = "visited=visits>0"
DEMO_UNIT = "person_id"

_COLUMNS = (
    "person_id",
    "year",
    "age",
    "female",
    "income",
    "education",
    "chronic",
    "exercise",
    "visits",
)


def write_demo_csv(path: Path, *, people: int = 6000, seed: int = 1) -> None:
    """Writes a registry of `people`, one to five yearly rows each, from 2020 on.

    A person has

        age        years, uniform 20-85 in 2020
        female     0 or 1, evenly
        income     thousands a month, log-normal (1, 0.5), at least 0.2 and at most 12
        education  years, uniform 7-18
        chronic    0 or 1, an illness with probability 0.1 + 0.5 (age - 20) / 65

    and in each year exercise (days a week, uniform 0-7) and a number of visits to a doctor, which
    is Poisson with mean

        exp(-1.1 + 1.1 (age - 50) / 20 + 2.0 chronic + 0.4 female - 0.25 exercise + s)

    but at most 40, where s ~ Normal(0, 0.3) is the person's own. The label of `DEMO_LABEL` (at
    least one visit) is true in 40 to 46 of 100 rows.

    Args:
      path: CSV file to write.
      people: Number of people, >= 1.
      seed: The same seed gives the same file.

    Raises:
      ValueError: If there are no people.
    """
    if not people >= 1:
        raise ValueError(f"a registry of {people} people is none")
    generator = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for person in range(people):
            writer.writerows(_person(generator, f"P{person:06d}"))


def _person(generator: np.random.Generator, name: str) -> list[list[str | int | float]]:
    age = int(generator.integers(20, 86))
    female = int(generator.integers(0, 2))
    income = round(float(np.clip(generator.lognormal(1.0, 0.5), 0.2, 12.0)), 2)
    education = int(generator.integers(7, 19))
    chronic = int(generator.random() < 0.1 + 0.5 * (age - 20) / 65)
    personal = generator.normal(0.0, 0.3)
    rows: list[list[str | int | float]] = []
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
        rows.append(
            [name, 2020 + year, age + year, female, income, education, chronic, exercise, visits]
        )
    return rows
