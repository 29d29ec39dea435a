"""What runs in the other processes: an actor that holds the network."""

import pickle
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from convlens.data.datasets.arrow_batches import batches_from_arrow, prepare_process
from convlens.models.model import Model
from convlens.passes.job import Work
from convlens.passes.reducer import State
from convlens.passes.source import batch_of
from convlens.runtime.guard import untouched
from convlens.runtime.precision import full_precision

if TYPE_CHECKING:
    import pyarrow


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
        prepare_process(folder)
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
        for decoded in batches_from_arrow(rows):
            if decoded.start in self._spans:
                continue
            batch = batch_of(decoded, self._model)
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


def versions() -> dict[str, str]:
    """Of the libraries that decide a result's last bits."""
    import PIL

    return {"torch": torch.__version__, "Pillow": PIL.__version__, "numpy": np.__version__}


def state_of(arrays: Mapping[str, NDArray[Any]]) -> State:
    """What `hand_over` gave as a state, in memory of its own."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
