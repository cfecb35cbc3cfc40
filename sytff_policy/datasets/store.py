"""Datasets at rest: immutable, columnar, grouped by unit, versioned by digest.

A version's digest is keyed with the node's secret. A plain hash of private rows would let anyone
who knows all of them but one test guesses for the last.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sytff_policy._model import parse
from sytff_policy.canonical import canonical_bytes
from sytff_policy.datasets.reading import read_rows
from sytff_policy.datasets.schema import DatasetSchema
from sytff_policy.errors import NotFound, SytffError

FORMAT = "sytff-dataset/1"
DIGEST_PREFIX = "hmac-sha256:"
_PARTIAL = ".partial-"


class DatasetDamaged(SytffError):
    """Stored files that are missing, unreadable or not what the manifest says."""

    code = "dataset.damaged"


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
    """One version, opened for reading units by index."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        try:
            self._features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
            self._labels = np.load(folder / "labels.npy", mmap_mode="r", allow_pickle=False)
            self._offsets = np.load(folder / "offsets.npy", mmap_mode="r", allow_pickle=False)
            self._split_keys = np.load(folder / "split_keys.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DatasetDamaged(f"dataset {manifest.version} cannot be read: {error}") from None
        if len(self._offsets) != manifest.population + 1:
            raise DatasetDamaged(f"dataset {manifest.version} is not of its population")

    @classmethod
    def open(cls, folder: Path, version: str) -> StoredDataset:
        """Opens the version in `folder`.

        Raises:
          DatasetDamaged: If it is not that version.
        """
        try:
            document = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            schema = parse(DatasetSchema, document["schema"])
            manifest = Manifest(document["version"], document["population"], schema)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetDamaged(f"{folder} holds no dataset: {error}") from None
        if manifest.version != version:
            raise DatasetDamaged(f"{folder} holds another version than {version}")
        return cls(folder, manifest)

    @property
    def population(self) -> int:
        return self.manifest.population

    @property
    def label_is_class(self) -> bool:
        return self.manifest.schema.label.classes > 0

    def holdout_mask(self, fraction: float) -> npt.NDArray[np.bool_]:
        """Which units are held out, [N]; depends on each unit's id and a secret alone."""
        if not 0.0 <= fraction < 1.0:
            raise ValueError(f"holdout fraction {fraction} is not in [0, 1)")
        mask: npt.NDArray[np.bool_] = self._split_keys < np.uint64(int(fraction * 2.0**64))
        return mask

    def read_units(self, units: npt.NDArray[np.int64]) -> Cohort:
        """The rows of the units with these indices (0..N-1), reading only those rows."""
        starts, stops = self._offsets[units], self._offsets[units + 1]
        lengths = stops - starts
        row_splits = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(row_splits[-1]) - np.repeat(row_splits[:-1] - starts, lengths)
        return Cohort(
            np.ascontiguousarray(self._features[rows]), np.asarray(self._labels[rows]), row_splits
        )


class DatasetStore:
    """All versions of a node.

    Args:
      root: Folder of the versions.
      key: The node's secret, at least 32 bytes.
    """

    def __init__(self, root: Path, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("the dataset key must have at least 32 bytes")
        self._root = root
        self._key = key
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, data: Path, schema: DatasetSchema) -> Manifest:
        """Reads, checks, encodes and stores a file; all of it or nothing.

        The same rows under the same schema are the same version, in whatever order the people
        come.

        Raises:
          InvalidInput: If the file cannot be accepted; nothing is stored.
        """
        self._sweep()
        rows = read_rows(data, schema)
        order = _stable_order(rows.units)
        units = rows.units.take(pa.array(order))
        names, counts = _runs(units)
        features, labels = rows.features[order], rows.labels[order]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        version = self._digest(schema, names, offsets, features, labels)
        manifest = Manifest(version, len(names), schema)
        folder = self.folder(version)
        if folder.is_dir():
            return manifest
        self._write(folder, manifest, names, offsets, features, labels)
        return manifest

    def folder(self, version: str) -> Path:
        """Where a version lies."""
        return self._root / version.removeprefix(DIGEST_PREFIX)

    def open(self, version: str) -> StoredDataset:
        """Opens a version for reading units."""
        if not self.folder(version).is_dir():
            raise NotFound("dataset version", version)
        return StoredDataset.open(self.folder(version), version)

    def verify(self, version: str) -> bool:
        """Whether the stored rows still have the version's digest."""
        stored = self.open(version)
        folder = stored.folder
        names = json.loads((folder / "units.json").read_text(encoding="utf-8"))
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS]
        return hmac.compare_digest(self._digest(stored.manifest.schema, names, *arrays), version)

    def _digest(
        self,
        schema: DatasetSchema,
        names: list[str],
        offsets: npt.NDArray[np.int64],
        features: npt.NDArray[np.float32],
        labels: npt.NDArray[Any],
    ) -> str:
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        parts = [
            canonical_bytes({"format": FORMAT, "schema": schema.model_dump(mode="json")}),
            canonical_bytes(names),
        ]
        for part in parts:
            mac.update(len(part).to_bytes(8, "big") + part)
        for array in (offsets, features, labels):
            mac.update(f"{array.dtype.str}{array.shape}".encode())
            for start in range(0, len(array), 65_536):
                mac.update(np.ascontiguousarray(array[start : start + 65_536]).tobytes())
        return DIGEST_PREFIX + mac.hexdigest()

    def _write(
        self,
        folder: Path,
        manifest: Manifest,
        names: list[str],
        offsets: npt.NDArray[np.int64],
        features: npt.NDArray[np.float32],
        labels: npt.NDArray[Any],
    ) -> None:
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._root))
        try:
            arrays: dict[str, npt.NDArray[Any]] = {
                "offsets": offsets,
                "features": features,
                "labels": labels,
            }
            for name in _ARRAYS:
                np.save(partial / f"{name}.npy", arrays[name], allow_pickle=False)
            np.save(partial / "split_keys.npy", self._split_keys(names), allow_pickle=False)
            (partial / "units.json").write_bytes(canonical_bytes(names))
            document = {
                "format": FORMAT,
                "version": manifest.version,
                "population": manifest.population,
                "schema": manifest.schema.model_dump(mode="json"),
            }
            (partial / "manifest.json").write_bytes(canonical_bytes(document))
            for file in partial.iterdir():
                file.chmod(0o400)
                _sync(file)
            _sync(partial)
            partial.rename(folder)
            _sync(self._root)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _split_keys(self, names: list[str]) -> npt.NDArray[np.uint64]:
        keys = np.empty(len(names), np.uint64)
        for index, name in enumerate(names):
            mac = hmac.new(self._key, b"split:" + name.encode(), hashlib.sha256).digest()
            keys[index] = int.from_bytes(mac[:8], "big")
        return keys

    def _sweep(self) -> None:
        # What a crash in the middle of an earlier registration left.
        for leftover in self._root.glob(f"{_PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)


_ARRAYS = ("offsets", "features", "labels")


def _stable_order(units: pa.Array) -> npt.NDArray[np.int64]:
    """Row order by unit id, keeping the file's order within a unit."""
    encoded = units.dictionary_encode()
    names = encoded.dictionary
    rank = np.empty(len(names), np.int64)
    rank[pc.sort_indices(names).to_numpy()] = np.arange(len(names))
    codes = rank[encoded.indices.to_numpy(zero_copy_only=False)]
    return np.argsort(codes, kind="stable")


def _runs(sorted_units: pa.Array) -> tuple[list[str], npt.NDArray[np.int64]]:
    encoded = pc.run_end_encode(sorted_units)
    ends = encoded.run_ends.to_numpy(zero_copy_only=False).astype(np.int64)
    return encoded.values.to_pylist(), np.diff(np.concatenate([[0], ends]))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
