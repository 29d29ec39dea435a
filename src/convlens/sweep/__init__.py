"""Sweeps: one pass over a data set, reduced as it goes by, on this machine.

`sweep` runs a network forward and shows a reducer the values at its places. `over` is the engine
below it, for work that asks more of the network than that: gradients, changed images.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from convlens.errors import ConvlensError, PhotoError
from convlens.guard import untouched
from convlens.interrupts import asked_to_stop
from convlens.model import Model
from convlens.precision import full_precision
from convlens.probe import stream
from convlens.sweep import progress as kept
from convlens.sweep.source import Images, Photos, Source
from convlens.tracing import Trace
from convlens.views.reducer import Reducer, State

__all__ = ["Images", "Photos", "Source", "Swept", "Work", "over", "sweep"]

BATCH = 32  # images; fixed, since a convolution's last bits may depend on it
_SAVED = 30.0  # seconds between saves


@dataclass(frozen=True)
class Swept:
    """A sweep that has come to its end.

    Attributes:
        state: of the reducer.
        seen: how many images it has taken in.
        skipped: reason by number of the images that could not be read.
    """

    state: State
    seen: int
    skipped: dict[int, str]


class Work(Protocol):
    """What is done with each batch of a data set, and what is kept of it."""

    def start(self) -> State:
        """The state of no data."""

    def take(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Take in a batch, in place.

        Args:
            state: of `start` or `take`.
            images: `(N, C, H, W)`.
            ids: int64 `(N,)`, the number of each in the data set.
        """


def sweep(
    model: Model,
    trace: Trace,
    reducer: Reducer,
    source: Source,
    *,
    batch: int = BATCH,
    folder: Path | None = None,
    options: Mapping[str, Any] | None = None,
    save_every: float = _SAVED,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Swept:
    """Run the network once over all images, as far as the reducer's last place.

    Args:
        model: left untouched.
        trace: of it, for images of the size that come.
        reducer: takes in the values; its state is all that is kept.
        source: the images, numbered from 0 in its order.
        batch: images at a time. Image n is always in the batch that begins at a multiple of it.
        folder: where what is done is kept, so that a sweep that was killed goes on; whoever has
            saved the result removes it. Default: nothing is kept.
        options: what else decides the result, by name; a folder of other options is refused.
        save_every: seconds between saves.
        progress: called with how many images are done and how many there are.

    Raises:
        ConvlensError: nothing could be read, a folder of another sweep, an interrupt (what is
            done is kept where there is a folder).
    """
    work = _Streamed(model, trace, reducer)
    return over(
        model, work, source, batch=batch, folder=folder, options=options, save_every=save_every,
        progress=progress,
    )  # fmt: skip


def over(
    model: Model,
    work: Work,
    source: Source,
    *,
    batch: int = BATCH,
    folder: Path | None = None,
    options: Mapping[str, Any] | None = None,
    save_every: float = _SAVED,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Swept:
    """Do some work with each batch of a data set; what it keeps survives a kill.

    Args:
        model: that the work is done with, left untouched; part of what a folder is kept for.
        work: takes in each batch once. What else it writes has to bear being written again, as a
            batch that was not saved is done anew.
        source: the images, numbered from 0 in its order.
        batch: images at a time. Image n is always in the batch that begins at a multiple of it.
        folder: as for `sweep`.
        options: likewise.
        save_every: likewise.
        progress: likewise.

    Raises:
        ConvlensError: as `sweep`.
    """
    if batch < 1:
        raise ConvlensError(f"batch {batch}; give at least 1")
    identity = {
        "model": f"{model.name} {kept.fingerprint(model)}" if folder else "",
        "batch": batch,
        **(options or {}),
    }
    marks = source.marks() if folder else []
    found = kept.read(folder, identity, marks) if folder else None
    done, state = found or (kept.Done(), work.start())
    spans = [
        span
        for start in range(0, len(source), batch)
        if (span := (start, min(start + batch, len(source)))) not in done
    ]
    saved = time.monotonic()
    # Guarded once for all batches, as the guard has something to do each time.
    with (
        asked_to_stop(catch=folder is not None) as interrupted,
        untouched(model.network),
        full_precision(),
    ):
        progress(done.count, len(source))
        for one in source.batches(spans):
            if one.images is not None:
                work.take(state, one.images, one.ids)
            done.add(one.start, one.stop, one.skipped)
            progress(done.count, len(source))
            if folder and (interrupted() or time.monotonic() - saved > save_every):
                kept.save(folder, identity, marks, done, state)
                saved = time.monotonic()
            if interrupted() and done.count < len(source):
                raise ConvlensError(
                    f"interrupted after {done.count:,} of {len(source):,} images, which are kept "
                    f"in {folder}; --resume goes on from there"
                )
    if len(done.skipped) == len(source):
        first = next(iter(done.skipped.values()), "there are none")
        raise PhotoError(f"none of {len(source)} photos can be read; the first: {first}")
    if folder:
        kept.save(folder, identity, marks, done, state)
    return Swept(state, len(source) - len(done.skipped), dict(sorted(done.skipped.items())))


@dataclass(frozen=True)
class _Streamed:
    """One forward pass, each value shown to a reducer as it is computed."""

    model: Model
    trace: Trace
    reducer: Reducer

    def start(self) -> State:
        return self.reducer.start()

    def take(self, state: State, images: Tensor, ids: Tensor) -> None:
        update = partial(self._update, state, ids)
        stream(self.model, self.trace, images, self.reducer.values, update)

    def _update(self, state: State, ids: Tensor, value: int, maps: Tensor) -> None:
        self.reducer.update(state, value, maps, ids)
