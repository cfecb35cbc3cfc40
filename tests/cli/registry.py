"""A registry of made-up people with the columns, and the number of people, of rwm5yr."""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

PEOPLE = 6127
COLUMNS = (
    *("id", "docvis", "hospvis", "year", "edlevel", "age", "outwork", "female", "married", "kids"),
    *("hhninc", "educ", "self", "edlevel1", "edlevel2", "edlevel3", "edlevel4"),
)


def write_registry(path: Path, *, seed: int = 1) -> float:
    """Writes the file; returns the mean over people of the share of years with a doctor's visit.

    Whether somebody visits depends on age and sex far more than in the real registry, so that a
    short training shows it.
    """
    source = random.Random(seed)
    shares = []
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for person in range(1, PEOPLE + 1):
            rows = list(_years(person, source))
            shares.append(sum(row[1] > 0 for row in rows) / len(rows))
            table.writerows(rows)
    return sum(shares) / PEOPLE


def _years(person: int, source: random.Random) -> list[tuple[float, ...]]:
    female, married, kids, outwork, own = (source.randint(0, 1) for _ in range(5))
    education = source.randint(1, 4)
    age = source.randint(25, 59)
    rows = []
    for year in sorted(source.sample(range(1984, 1989), source.randint(1, 5))):
        hospital = int(source.random() < 0.1)
        score = 0.12 * (age + year - 1984 - 42) + 2 * female - 0.8 + 2 * hospital
        visits = source.random() < 1 / (1 + math.exp(-score))
        rows.append(
            (
                *(person, int(visits) * source.randint(1, 9), hospital, year, education),
                *(age + year - 1984, outwork, female, married, kids),
                *(round(source.uniform(0, 12), 3), 6 + 3 * education, own),
                *(int(education == level) for level in range(1, 5)),
            )
        )
    return rows
