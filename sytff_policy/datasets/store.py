"""Datasets at rest: immutable, columnar, grouped by unit, versioned by digest."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hmac
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sytff_policy.datasets.columnar import (
    ROWS_FILE,
    UNITS_FILE,
    DatasetDamaged,
    batch_rows,
    write_rows,
    write_units,
)
from sytff_policy.datasets.reading import EncodedRows, read_rows
from sytff_policy.datasets.schema import DatasetSchema
from sytff_policy.datasets.seals import DIGEST_PREFIX, Seals
from sytff_policy.datasets.stored import MANIFEST_FILE, Manifest, StoredDataset
from sytff_policy.errors import NotFound

_PARTIAL = ".partial-"
_VERSION = re.compile(rf"{DIGEST_PREFIX}[0-9a-f]{{64}}")


class DatasetStore:
    """All versions of a node.

    Args:
      root: Folder of the versions.
      key: The node's secret, at least 32 bytes.
    """

    def __init__(self, root: Path, key: bytes) -> None:
        self._root = root
        self._seals = Seals(key)
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sweep()

    def add(self, data: Path, schema: DatasetSchema) -> Manifest:
        """Reads, checks, encodes and stores a file; all of it or nothing.

        The same rows under the same schema are the same version, in whatever order the people
        come.

        Raises:
          InvalidInput: If the file cannot be accepted; nothing is stored.
          DatasetDamaged: If this version is stored already, and is not what it was.
        """
        grouped = _grouped(read_rows(data, schema), batch_rows(schema))
        version = self._seals.version(
            schema, grouped.ids, grouped.first_rows, grouped.labels, grouped.features()
        )
        manifest = Manifest(version, len(grouped.ids), schema)
        with self._locked(fcntl.LOCK_EX):
            if not self.folder(version).is_dir():
                self._write(manifest, grouped)
            elif not self.verify(version):
                raise DatasetDamaged(f"dataset {version} is stored, and was altered")
        return manifest

    def versions(self) -> list[str]:
        """All stored versions."""
        names = (f"{DIGEST_PREFIX}{path.name}" for path in self._root.iterdir() if path.is_dir())
        return sorted(name for name in names if _VERSION.fullmatch(name))

    def discard(self, version: str) -> None:
        """Removes a version. Only its caller knows that nobody relies on it."""
        with self._locked(fcntl.LOCK_EX):
            partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._root))
            # Renamed first: half a version must never stand in a version's place.
            self.folder(version).rename(partial / "discarded")
            shutil.rmtree(partial)

    def folder(self, version: str) -> Path:
        """Where a version lies.

        Raises:
          NotFound: If `version` is no version, such as a path out of the store.
        """
        if not _VERSION.fullmatch(version):
            raise NotFound("dataset version", version)
        return self._root / version.removeprefix(DIGEST_PREFIX)

    def open(self, version: str) -> StoredDataset:
        """Opens a version for reading units.

        Raises:
          NotFound: If there is no such version.
          DatasetDamaged: If its files are not its own.
        """
        if not self.folder(version).is_dir():
            raise NotFound("dataset version", version)
        return StoredDataset.open(self.folder(version), version)

    def verify(self, version: str) -> bool:
        """Whether every byte of a version's files is as it was written.

        The digest is computed anew from the content, the split of the units from their ids, and
        the seals from the files: the digest does not cover what else is in a file.

        Raises:
          DatasetDamaged: If the files cannot be read at all.
        """
        stored = self.open(version)
        ids = stored.units.ids()
        digest = self._seals.version(
            stored.manifest.schema,
            ids,
            stored.units.first_rows,
            stored.rows.labels(),
            stored.rows.features(),
        )
        try:
            seals = {name: self._seals.file(stored.folder / name) for name in _SEALED_FILES}
            written = (stored.folder / MANIFEST_FILE).read_bytes()
        except OSError as error:
            raise DatasetDamaged(f"dataset {version} cannot be read: {error}") from None
        return (
            hmac.compare_digest(digest, version)
            and np.array_equal(stored.units.split_keys, self._seals.split_keys(ids))
            and hmac.compare_digest(stored.manifest.to_bytes(seals), written)
        )

    def _write(self, manifest: Manifest, grouped: _Grouped) -> None:
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._root))
        try:
            write_rows(partial / ROWS_FILE, manifest.schema, manifest.version, grouped.batches())
            split_keys = self._seals.split_keys(grouped.ids)
            write_units(
                partial / UNITS_FILE,
                manifest.version,
                grouped.ids,
                grouped.first_rows,
                split_keys,
            )
            seals = {name: self._seals.file(partial / name) for name in _SEALED_FILES}
            (partial / MANIFEST_FILE).write_bytes(manifest.to_bytes(seals))
            for file in partial.iterdir():
                file.chmod(0o400)
                _sync(file)
            _sync(partial)
            partial.rename(self.folder(manifest.version))
            _sync(self._root)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _sweep(self) -> None:
        """Removes what a crash in the middle of a registration left."""
        if not any(self._root.glob(f"{_PARTIAL}*")):
            return
        # A held lock means that somebody is writing, and that the folder is theirs.
        with contextlib.suppress(BlockingIOError), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            for leftover in self._root.glob(f"{_PARTIAL}*"):
                shutil.rmtree(leftover, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, operation: int) -> Iterator[None]:
        """One writer at a time, over threads and processes; the kernel frees a dead one's lock."""
        descriptor = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, operation)
            yield
        finally:
            os.close(descriptor)


_SEALED_FILES = (ROWS_FILE, UNITS_FILE)


@dataclass(frozen=True)
class _Grouped:
    """A file's rows by unit. Features are put in order block by block, never as a whole.

    Attributes:
      ids: Ids of the units, ordered by their UTF-8 bytes, [N].
      first_rows: Where the rows of each unit begin, [N].
      labels: In this order, [rows].
      order: The file's row at each place, [rows].
      unordered: Features in the order of the file, [rows, width].
      block: Rows in a block.
    """

    ids: pa.LargeStringArray
    first_rows: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    order: npt.NDArray[np.int64]
    unordered: npt.NDArray[np.float32]
    block: int

    def features(self) -> Iterator[npt.NDArray[np.float32]]:
        return (features for features, _ in self.batches())

    def batches(self) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[Any]]]:
        for start in range(0, len(self.order), self.block):
            part = slice(start, start + self.block)
            yield self.unordered[self.order[part]], self.labels[part]


def _grouped(rows: EncodedRows, block: int) -> _Grouped:
    encoded = rows.units.combine_chunks().dictionary_encode()
    by_id = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(by_id), np.int64)
    rank[by_id] = np.arange(len(by_id))
    unit_of = rank[encoded.indices.to_numpy()]
    # Stable: the rows of a unit stay in the file's order.
    order = np.argsort(unit_of, kind="stable")
    first_rows = np.cumsum(np.bincount(unit_of, minlength=len(by_id)))
    first_rows = np.concatenate([[0], first_rows[:-1]]).astype(np.int64)
    return _Grouped(
        ids=encoded.dictionary.take(pa.array(by_id)),
        first_rows=first_rows,
        labels=rows.labels[order],
        order=order,
        unordered=rows.features,
        block=block,
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync a folder; a file that is not saved is a failure.
        if not (path.is_dir() and error.errno == errno.EINVAL):
            raise
    finally:
        os.close(descriptor)
