"""An actor of Ray: another process that holds the network and processes batches.

This module imports torch only inside its functions, because the process imports the module
first and says then how OpenMP's threads wait (see `convlens.runtime.threads`).
"""

import pickle
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convlens.data.datasets.arrow_batches import batches_from_arrow, prepare_process
from convlens.runtime.threads import limit_spinning

if TYPE_CHECKING:
    import pyarrow

    from convlens.models.model import Model
    from convlens.passes.job import BatchWork
    from convlens.passes.reducer import State


class BatchActor:
    """An actor: processes batches, and sends its state when it is asked to."""

    def open(self, packed: bytes, folder: str, device: str, threads: int) -> dict[str, str]:
        """Unpack the model and the work, once.

        Args:
            packed: the model and the work, from `pack`.
            folder: the working folder that relative paths start from.
            device: the device to compute on.
            threads: the number of threads to compute with.

        Returns:
            The versions of the libraries that decide a result's last bits.
        """
        prepare_process(folder)
        limit_spinning()
        import torch

        from convlens.capture.folded_networks import keep_folded_networks
        from convlens.runtime.guard import preserve_network
        from convlens.runtime.precision import full_precision

        torch.set_num_threads(threads)
        model: Model
        self._work: BatchWork
        # From the process that started this one, which is as trusted as its own code.
        model, self._work = pickle.loads(packed)
        model.network.to(device)
        self._model = model
        self._guards = ExitStack()  # never left: they last as long as the process
        self._guards.enter_context(preserve_network(model.network))
        self._guards.enter_context(full_precision())
        self._guards.enter_context(keep_folded_networks())
        self._reset()
        return library_versions()

    def process_batches(self, rows: "pyarrow.Table") -> dict[int, tuple[int, dict[int, str]]]:
        """Process decoded batches.

        Returns:
            By the start of each batch: its stop, and the reasons for the images in it that could
            not be read.
        """
        from convlens.passes.source import to_batch

        processed = {}
        for decoded in batches_from_arrow(rows):
            if decoded.start in self._spans:
                continue
            batch = to_batch(decoded, self._model)
            if batch.images is not None:
                self._work.process_batch(self._state, batch.images, batch.ids)
            self._spans[batch.start] = batch.stop
            self._skipped.update(batch.skipped)
            processed[batch.start] = (batch.stop, batch.skipped)
        return processed

    def hand_over(self) -> tuple[dict[int, int], dict[int, str], dict[str, NDArray[Any]]]:
        """The batches processed since the last call, their unreadable images, and their state."""
        state = {name: tensor.cpu().numpy() for name, tensor in self._state.items()}
        result = self._spans, self._skipped, state
        self._reset()
        return result

    def _reset(self) -> None:
        self._state = self._work.initial_state()
        self._spans: dict[int, int] = {}
        self._skipped: dict[int, str] = {}


def library_versions() -> dict[str, str]:
    """The versions of the libraries that decide a result's last bits."""
    import PIL
    import torch

    return {"torch": torch.__version__, "Pillow": PIL.__version__, "numpy": np.__version__}


def to_state(arrays: Mapping[str, NDArray[Any]]) -> "State":
    """The arrays of `hand_over` as a state, in memory of its own."""
    import torch

    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
