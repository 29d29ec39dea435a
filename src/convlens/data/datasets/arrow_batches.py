"""Decoded batches as rows of Arrow tables, which Ray Data moves between processes."""

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
    """Decodes batches for Ray Data; an actor, as starting a process takes seconds."""

    def __init__(self, batch_decoder: "list[ray.ObjectRef[BatchDecoder]]", folder: str) -> None:
        """Fetch the batch decoder.

        Args:
            batch_decoder: a reference to the decoder, in a list so that Ray does not resolve it:
                an actor that can be restarted must not depend on large arguments of its own.
            folder: working directory, for relative paths.
        """
        import ray

        prepare_process(folder)
        self._batch_decoder = ray.get(batch_decoder[0])

    def __call__(self, rows: "pyarrow.Table") -> "Iterator[pyarrow.Table]":
        """Decode the batches that columns `start` and `stop` of a table name, one row each."""
        spans = zip(rows["start"].to_pylist(), rows["stop"].to_pylist(), strict=True)
        for start, stop in spans:
            yield batch_to_arrow(self._batch_decoder.decode(start, stop))


def prepare_process(folder: str) -> None:
    """Set up a worker process like the process that it works for.

    Args:
        folder: working directory, which is set if it exists on this machine.
    """
    keep_freed_memory()
    if Path.cwd() != Path(folder) and Path(folder).is_dir():
        os.chdir(folder)


@dataclass(frozen=True)
class _BatchHeader:
    """Everything about a batch but the bytes of its values."""

    start: int
    stop: int
    ids: list[int]
    shape: list[int]
    dtype: str
    channels_last: bool
    skipped: dict[str, str]


def batch_to_arrow(batch: DecodedBatch) -> "pyarrow.Table":
    """A batch as a table of one row: a JSON header and the bytes of its values."""
    import pyarrow as pa

    values = None if batch.values is None else np.ascontiguousarray(batch.values)
    header = _BatchHeader(
        batch.start, batch.stop, batch.ids,
        [] if values is None else list(values.shape), "" if values is None else values.dtype.str,
        batch.channels_last, {str(index): reason for index, reason in batch.skipped.items()},
    )  # fmt: skip
    data = np.empty(0, np.uint8) if values is None else values.reshape(-1).view(np.uint8)
    offsets = pa.py_buffer(np.array([0, len(data)], dtype=np.int64))
    binary = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)]
    )
    return pa.table({"header": [json.dumps(header.__dict__)], "values": binary})


def batches_from_arrow(rows: "pyarrow.Table") -> Iterator[DecodedBatch]:
    """The batches of a table that `batch_to_arrow` made."""
    for header_json, data in zip(rows["header"], rows["values"], strict=True):
        header = _BatchHeader(**json.loads(header_json.as_py()))
        values = None
        if header.shape:
            # A copy, as shared memory must not be written to.
            values = np.frombuffer(data.as_buffer(), dtype=header.dtype)
            values = values.reshape(header.shape).copy()
        skipped = {int(index): reason for index, reason in header.skipped.items()}
        yield DecodedBatch(
            header.start, header.stop, header.ids, values, header.channels_last, skipped
        )
