"""How a shard's rows reach the TFF worker: in memory that both see, or in the call itself.

gRPC serializes every value that it carries, at a few milliseconds a megabyte, which for image
data is more than the training takes. The runner's own worker is its child on the same machine, so
it can read the rows from anonymous memory instead: nothing on a disk, nothing with a name, gone
when the runner ends however it ends. A worker on another machine gets them in the call.
"""

from __future__ import annotations

import collections
import os
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

ShardData = collections.OrderedDict[str, npt.NDArray[Any]]


def make_shard(
    features: npt.NDArray[Any], labels: npt.NDArray[Any], row_splits: npt.NDArray[np.int64]
) -> ShardData:
    """A TFF client's data: rows of several units, unit i owning rows row_splits[i]..[i+1].

    Args:
      features: [rows, *feature_shape].
      labels: [rows].
      row_splits: int64 [units + 1], from 0 to rows.
    """
    return collections.OrderedDict(features=features, labels=labels, row_splits=row_splits)


class Transfer(Protocol):
    """A way for shards to reach the worker.

    Attributes:
      type: TFF type of what is sent for one shard.
    """

    type: Any

    def send(self, shards: Sequence[ShardData]) -> list[Any]:
        """What to pass to the computation for `shards`; valid until the next call."""

    def receive(self, sent: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """In the graph of a TFF client: features, labels and row splits of what was sent."""


class InCall:
    """Rows travel as arguments of the call; for workers anywhere.

    Args:
      feature_shape: Shape of one example.
      feature_dtype: Type of the features as the model takes them.
      label_dtype: Type of the labels.
    """

    def __init__(
        self, feature_shape: Sequence[int], feature_dtype: tf.DType, label_dtype: tf.DType
    ) -> None:
        features = tff.types.TensorType(feature_dtype.as_numpy_dtype, [None, *feature_shape])
        labels = tff.types.TensorType(label_dtype.as_numpy_dtype, [None])
        self.type = _struct(features=features, labels=labels, row_splits=_ROW_SPLITS)

    def send(self, shards: Sequence[ShardData]) -> list[Any]:
        return list(shards)

    def receive(self, sent: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return sent["features"], sent["labels"], sent["row_splits"]


class SharedMemory:
    """Rows lie in anonymous memory files of this process; for the worker that is its child.

    Args:
      feature_shape: Shape of one example.
      feature_dtype: Type of the features as the model takes them.
      label_dtype: Type of the labels.
    """

    def __init__(
        self, feature_shape: Sequence[int], feature_dtype: tf.DType, label_dtype: tf.DType
    ) -> None:
        self._feature_shape = list(feature_shape)
        self._feature_dtype = feature_dtype
        self._label_dtype = label_dtype
        self._files: list[tuple[_MemoryFile, _MemoryFile]] = []
        path = tff.types.TensorType(np.str_)
        self.type = _struct(features=path, labels=path, row_splits=_ROW_SPLITS)

    def send(self, shards: Sequence[ShardData]) -> list[Any]:
        while len(self._files) < len(shards):
            self._files.append((_MemoryFile("features"), _MemoryFile("labels")))
        sent = []
        for shard, (features, labels) in zip(shards, self._files, strict=False):
            features.write(shard["features"], self._feature_dtype.as_numpy_dtype)
            labels.write(shard["labels"], self._label_dtype.as_numpy_dtype)
            sent.append(
                collections.OrderedDict(
                    features=features.path, labels=labels.path, row_splits=shard["row_splits"]
                )
            )
        return sent

    def receive(self, sent: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        features = tf.io.decode_raw(tf.io.read_file(sent["features"]), self._feature_dtype)
        labels = tf.io.decode_raw(tf.io.read_file(sent["labels"]), self._label_dtype)
        return tf.reshape(features, [-1, *self._feature_shape]), labels, sent["row_splits"]


_ROW_SPLITS = tff.types.TensorType(np.int64, [None])


def _struct(**fields: Any) -> Any:
    return tff.types.StructWithPythonType(list(fields.items()), collections.OrderedDict)


class _MemoryFile:
    """An anonymous file in memory, readable by this user's processes through /proc."""

    def __init__(self, name: str) -> None:
        self._descriptor = os.memfd_create(f"sytff-{name}")
        self.path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        weakref.finalize(self, os.close, self._descriptor)

    def write(self, array: npt.NDArray[Any], dtype: Any) -> None:
        """Makes `array` the file's whole content."""
        content: Any = np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8)
        os.ftruncate(self._descriptor, len(content))
        position = 0
        while position < len(content):
            position += os.pwrite(self._descriptor, content[position:], position)
