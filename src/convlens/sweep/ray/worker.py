"""What runs in the other processes: decoding, and an actor that holds the network."""

import json
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from convlens.guard import untouched
from convlens.memory import keep_freed
from convlens.model import Model
from convlens.precision import full_precision
from convlens.sweep.engine import Work
from convlens.sweep.source import Decoded, Portable
from convlens.views.reducer import State

if TYPE_CHECKING:
    import pyarrow


class Decode:
    """Decodes batches, for Ray Data; a process that lasts, as starting one takes seconds."""

    def __init__(self, portable: Portable, folder: str) -> None:
        """Take what is to be decoded, and the folder that relative paths are meant from."""
        _settle(folder)
        self._portable = portable

    def __call__(self, rows: "pyarrow.Table") -> "Iterator[pyarrow.Table]":
        """The batches that a table names by `start` and `stop`, each as a row."""
        spans = zip(rows["start"].to_pylist(), rows["stop"].to_pylist(), strict=True)
        for start, stop in spans:
            yield _boxed(self._portable.decode(start, stop))


class Worker:
    """An actor: takes batches in, and hands its state over when it is asked to."""

    def open(self, packed: bytes, folder: str, device: str, threads: int) -> dict[str, str]:
        """Unpack model and work, once.

        Args:
            packed: both.
            folder: that relative paths are meant from.
            device: to compute on.
            threads: to compute with.

        Returns:
            Versions of what decides a result's last bits.
        """
        _settle(folder)
        torch.set_num_threads(threads)
        model: Model
        self._work: Work
        # From the process that started this one, which is as trusted as its own code.
        model, self._work = pickle.loads(packed)
        model.network.to(device)
        self._model = model
        self._inside = ExitStack()  # for as long as the process lasts
        self._inside.enter_context(untouched(model.network))
        self._inside.enter_context(full_precision())
        self._begin()
        return versions()

    def take(self, rows: "pyarrow.Table") -> dict[int, tuple[int, dict[int, str]]]:
        """Take in decoded batches.

        Returns:
            By the start of each: its stop, and the reasons of what could not be read in it.
        """
        taken = {}
        for decoded in _unboxed(rows):
            if decoded.start in self._spans:
                continue
            batch = decoded.batch(self._model)
            if batch.images is not None:
                self._work.take(self._state, batch.images, batch.ids)
            self._spans[batch.start] = batch.stop
            self._skipped.update(batch.skipped)
            taken[batch.start] = (batch.stop, batch.skipped)
        return taken

    def hand_over(self) -> tuple[dict[int, int], dict[int, str], dict[str, NDArray[Any]]]:
        """What has been taken in since the last time, and the state of just that."""
        state = {name: tensor.cpu().numpy() for name, tensor in self._state.items()}
        handed = self._spans, self._skipped, state
        self._begin()
        return handed

    def _begin(self) -> None:
        self._state = self._work.start()
        self._spans: dict[int, int] = {}
        self._skipped: dict[int, str] = {}


def _settle(folder: str) -> None:
    """Make this process like the one that it works for."""
    keep_freed()
    if Path.cwd() != Path(folder) and Path(folder).is_dir():
        os.chdir(folder)


def versions() -> dict[str, str]:
    """Of the libraries that decide a result's last bits."""
    import PIL

    return {"torch": torch.__version__, "Pillow": PIL.__version__, "numpy": np.__version__}


def state_of(arrays: Mapping[str, NDArray[Any]]) -> State:
    """What `hand_over` gave as a state, in memory of its own."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


@dataclass(frozen=True)
class _About:
    start: int
    stop: int
    ids: list[int]
    shape: list[int]
    kind: str
    last: bool
    skipped: dict[str, str]


def _boxed(one: Decoded) -> "pyarrow.Table":
    """A batch as a row of a table: a line about it, and its bytes."""
    import pyarrow as pa

    values = None if one.values is None else np.ascontiguousarray(one.values)
    about = _About(
        one.start, one.stop, one.ids,
        [] if values is None else list(values.shape), "" if values is None else values.dtype.str,
        one.last, {str(number): reason for number, reason in one.skipped.items()},
    )  # fmt: skip
    data = b"" if values is None else values.data.cast("B")
    ends = pa.py_buffer(np.array([0, len(data)], dtype=np.int64))
    bytes_ = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), 1, [None, ends, pa.py_buffer(data)]
    )
    return pa.table({"about": [json.dumps(about.__dict__)], "values": bytes_})


def _unboxed(rows: "pyarrow.Table") -> Iterator[Decoded]:
    for about, data in zip(rows["about"], rows["values"], strict=True):
        one = _About(**json.loads(about.as_py()))
        values = None
        if one.shape:
            # A copy, as what lies in shared memory must not be written to.
            values = np.frombuffer(data.as_buffer(), dtype=one.kind).reshape(one.shape).copy()
        skipped = {int(number): reason for number, reason in one.skipped.items()}
        yield Decoded(one.start, one.stop, one.ids, values, one.last, skipped)
