"""Keyed functions of a dataset: its version, the seals of its files, the split of its units.

All are keyed with the node's secret. A plain hash of private rows would let anyone who knows all
of them but one test guesses for the last; a plain hash of ids would tell who is held out.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sytff_policy.canonical import canonical_bytes
from sytff_policy.datasets.schema import DatasetSchema

FORMAT = "sytff-dataset/1"
DIGEST_PREFIX = "hmac-sha256:"
_IDS_AT_A_TIME = 65_536
_FILE_BLOCK_BYTES = 2**20


class Seals:
    """The node's secret, and what it says of datasets.

    Args:
      key: The secret, at least 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("the dataset key must have at least 32 bytes")
        self._version_key = _derived(key, "version")
        self._split_key = _derived(key, "split")
        self._file_key = _derived(key, "file")

    def version(
        self,
        schema: DatasetSchema,
        ids: pa.LargeStringArray,
        first_rows: npt.NDArray[np.int64],
        labels: npt.NDArray[Any],
        features: Iterable[npt.NDArray[np.float32]],
    ) -> str:
        """Digest of a dataset's content, whatever files and libraries hold it.

        HMAC-SHA256 over: the length of the header (8 bytes, big-endian) and the header, which is
        RFC 8785 JSON of format, schema, number of units and of rows; the lengths of the ids in
        bytes (int64); the ids in UTF-8, one after the other; the first row of each unit (int64);
        all labels (int32 or float32); all features (float32), row by row. Numbers are
        little-endian. The header says how long each part is.

        Args:
          schema: The declaration.
          ids: Ids of the units, ordered, [N].
          first_rows: Where the rows of each unit begin, [N].
          labels: [rows].
          features: Blocks of rows, in order; where one ends does not matter.

        Returns:
          `hmac-sha256:<hex>`.
        """
        header = canonical_bytes(
            {
                "format": FORMAT,
                "schema": schema.model_dump(mode="json"),
                "units": len(ids),
                "rows": len(labels),
            }
        )
        mac = hmac.new(self._version_key, digestmod=hashlib.sha256)
        mac.update(len(header).to_bytes(8, "big") + header)
        mac.update(pc.binary_length(ids).to_numpy().astype("<i8").data)
        for part in _utf8(ids):
            mac.update(b"".join(part))
        mac.update(np.ascontiguousarray(first_rows, "<i8").data)
        mac.update(np.ascontiguousarray(labels, labels.dtype.newbyteorder("<")).data)
        for block in features:
            mac.update(np.ascontiguousarray(block, "<f4").data)
        return DIGEST_PREFIX + mac.hexdigest()

    def split_keys(self, ids: pa.LargeStringArray) -> npt.NDArray[np.uint64]:
        """A secret, uniform number for each unit, [N]: keyed BLAKE2b of its id, first 8 bytes.

        A function of the id alone, so that a person's place in a hold-out is the same in every
        version, whoever else is in it.
        """
        base = hashlib.blake2b(digest_size=8, key=self._split_key)
        digests = bytearray()
        for part in _utf8(ids):
            for name in part:
                state = base.copy()
                state.update(name)
                digests += state.digest()
        return np.frombuffer(digests, ">u8").astype(np.uint64)

    def file(self, path: Path) -> str:
        """Seal of a file's name and of every byte in it, padding and metadata included."""
        mac = hmac.new(self._file_key, path.name.encode() + b"\0", hashlib.sha256)
        with path.open("rb") as stream:
            while block := stream.read(_FILE_BLOCK_BYTES):
                mac.update(block)
        return DIGEST_PREFIX + mac.hexdigest()


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, f"{FORMAT} {purpose}".encode(), "sha256")


def _utf8(ids: pa.LargeStringArray) -> Iterator[list[bytes]]:
    binary = ids.cast(pa.large_binary())
    for start in range(0, len(binary), _IDS_AT_A_TIME):
        yield binary.slice(start, _IDS_AT_A_TIME).to_pylist()
