"""Batches on their way between processes: decoded there, a row of an Arrow table, and back."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convlens.data.datasets.decoded_batch import BatchDecoder, DecodedBatch
from convlens.runtime.allocator import keep_freed_memory

if TYPE_CHECKING:
    import pyarrow
    import ray


class RayBatchDecoder:
    """Decodes batches, for Ray Data; a process that lasts, as starting one takes seconds."""

    def __init__(self, batch_decoder: "list[ray.ObjectRef[BatchDecoder]]", folder: str) -> None:
        """Fetch what is to be decoded.

        Args:
            batch_decoder: a reference to the decoder, in a list so that Ray does not resolve it:
                an actor that can be restarted must not depend on large arguments of its own.
            folder: that relative paths are meant from.
        """
        import ray

        prepare_process(folder)
        self._batch_decoder = ray.get(batch_decoder[0])

    def __call__(self, rows: "pyarrow.Table") -> "Iterator[pyarrow.Table]":
        """The batches that a table names by `start` and `stop`, each as a row."""
        spans = zip(rows["start"].to_pylist(), rows["stop"].to_pylist(), strict=True)
        for start, stop in spans:
            yield batch_to_arrow(self._batch_decoder.decode(start, stop))


def prepare_process(folder: str) -> None:
    """Make this process like the one that it works for."""
    keep_freed_memory()
    if Path.cwd() != Path(folder) and Path(folder).is_dir():
        os.chdir(folder)


@dataclass(frozen=True)
class _BatchHeader:
    start: int
    stop: int
    ids: list[int]
    shape: list[int]
    kind: str
    channels_last: bool
    skipped: dict[str, str]


def batch_to_arrow(one: DecodedBatch) -> "pyarrow.Table":
    """A batch as a row of a table: a line about it, and its bytes."""
    import pyarrow as pa

    values = None if one.values is None else np.ascontiguousarray(one.values)
    about = _BatchHeader(
        one.start, one.stop, one.ids,
        [] if values is None else list(values.shape), "" if values is None else values.dtype.str,
        one.channels_last, {str(number): reason for number, reason in one.skipped.items()},
    )  # fmt: skip
    data = np.empty(0, np.uint8) if values is None else values.reshape(-1).view(np.uint8)
    ends = pa.py_buffer(np.array([0, len(data)], dtype=np.int64))
    bytes_ = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), 1, [None, ends, pa.py_buffer(data)]
    )
    return pa.table({"about": [json.dumps(about.__dict__)], "values": bytes_})


def batches_from_arrow(rows: "pyarrow.Table") -> Iterator[DecodedBatch]:
    """The batches of a table of `batch_to_arrow` rows."""
    for about, data in zip(rows["about"], rows["values"], strict=True):
        one = _BatchHeader(**json.loads(about.as_py()))
        values = None
        if one.shape:
            # A copy, as what lies in shared memory must not be written to.
            values = np.frombuffer(data.as_buffer(), dtype=one.kind).reshape(one.shape).copy()
        skipped = {int(number): reason for number, reason in one.skipped.items()}
        yield DecodedBatch(one.start, one.stop, one.ids, values, one.channels_last, skipped)
