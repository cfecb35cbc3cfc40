"""One stored version, opened for reading the rows of some units."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sytff_policy._model import parse
from sytff_policy.canonical import canonical_bytes
from sytff_policy.datasets.columnar import (
    ROWS_FILE,
    UNITS_FILE,
    DatasetDamaged,
    StoredRows,
    StoredUnits,
)
from sytff_policy.datasets.schema import DatasetSchema, ValueLabel
from sytff_policy.datasets.seals import FORMAT
from sytff_policy.errors import InvalidInputs

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a version is.

    Attributes:
      version: Keyed digest of schema and rows.
      population: Number of privacy units N; public.
      schema: The declaration.
    """

    version: str
    population: int
    schema: DatasetSchema

    def to_bytes(self, seals: dict[str, str]) -> bytes:
        """The manifest as a file; `seals` are those of the files beside it, by name."""
        return canonical_bytes(
            {
                "format": FORMAT,
                "version": self.version,
                "population": self.population,
                "schema": self.schema.model_dump(mode="json"),
                "seals": seals,
            }
        )

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Reads a manifest file.

        Raises:
          DatasetDamaged: If it is none.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise DatasetDamaged(f"{path} is not in the format {FORMAT}")
            schema = parse(DatasetSchema, document["schema"])
            version, population = document["version"], document["population"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError, InvalidInputs) as error:
            raise DatasetDamaged(f"{path} is no manifest: {type(error).__name__}") from None
        if not (isinstance(version, str) and type(population) is int):
            raise DatasetDamaged(f"{path} is no manifest: version or population are missing")
        return cls(version, population, schema)


@dataclass(frozen=True)
class Cohort:
    """The rows of some units.

    Attributes:
      features: float32 [rows, width].
      labels: int32 or float32 [rows].
      row_splits: int64 [units + 1]; unit i owns rows row_splits[i]..row_splits[i + 1].
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]
    row_splits: npt.NDArray[np.int64]


class StoredDataset:
    """One version, opened for reading units by index.

    Opening maps the files into memory and looks at the first row of each unit; neither ids nor
    rows are read.

    Raises:
      DatasetDamaged: If the files are not those of the manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.rows = StoredRows(folder / ROWS_FILE, manifest.schema, manifest.version)
        self.units = StoredUnits(folder / UNITS_FILE, manifest.version)
        self._offsets = np.append(self.units.first_rows, len(self.rows))
        if len(self.units) != manifest.population:
            raise DatasetDamaged(f"dataset {manifest.version} is not of its declared population")
        # Every unit has rows, and the first begins at 0: so no index below leads out of the file.
        if self._offsets[0] != 0 or not (self._offsets[1:] > self._offsets[:-1]).all():
            raise DatasetDamaged(f"dataset {manifest.version} has units without rows of their own")

    @classmethod
    def open(cls, folder: Path, version: str) -> StoredDataset:
        """Opens the version in `folder`.

        Raises:
          DatasetDamaged: If it is not that version.
        """
        manifest = Manifest.read(folder / MANIFEST_FILE)
        if manifest.version != version:
            raise DatasetDamaged(f"{folder} holds another version than {version}")
        return cls(folder, manifest)

    @property
    def population(self) -> int:
        """Number of privacy units N."""
        return self.manifest.population

    @property
    def label_is_class(self) -> bool:
        """Whether labels are classes (int32) rather than values (float32)."""
        return self.manifest.schema.label.classes > 0

    def holdout_mask(self, fraction: float) -> npt.NDArray[np.bool_]:
        """Which units are held out, [N]; depends on each unit's id and a secret alone."""
        if not 0.0 <= fraction < 1.0:
            raise ValueError(f"holdout fraction {fraction} is not in [0, 1)")
        mask: npt.NDArray[np.bool_] = self.units.split_keys < np.uint64(int(fraction * 2.0**64))
        return mask

    def read_units(self, units: npt.NDArray[np.int64]) -> Cohort:
        """The rows of the units with these indices (0..N-1), reading only those rows.

        Raises:
          ValueError: If an index is not of a unit.
          DatasetDamaged: If a row holds what no encoding makes.
        """
        units = np.asarray(units, np.int64)
        if not ((units >= 0) & (units < self.population)).all():
            raise ValueError(f"unit indices must be 0 to {self.population - 1}")
        starts, stops = self._offsets[units], self._offsets[units + 1]
        lengths = stops - starts
        row_splits = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(row_splits[-1]) - np.repeat(row_splits[:-1] - starts, lengths)
        features, labels = self.rows.take(rows)
        if not (np.isfinite(features).all() and self._are_labels(labels)):
            raise DatasetDamaged(f"dataset {self.manifest.version} holds rows that were altered")
        return Cohort(features, labels, row_splits)

    def _are_labels(self, labels: npt.NDArray[Any]) -> bool:
        label = self.manifest.schema.label
        low, high = (
            # As encoded, in single precision.
            (np.float32(label.low), np.float32(label.high))
            if isinstance(label, ValueLabel)
            else (0, label.classes - 1)
        )
        # Written so that NaN is none.
        return bool(((labels >= low) & (labels <= high)).all())
