"""Sweeps: one pass over a data set, reduced as it goes by, by one engine or another.

`sweep` runs a network forward and shows a reducer the values at its nodes. `over` is the layer
below it, for work that asks more of the network than that: gradients, changed images.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from convlens.capture import stream
from convlens.errors import ConvlensError, PhotoError
from convlens.models.model import Model
from convlens.passes import saved_state as kept
from convlens.passes.engines import named
from convlens.passes.job import Engine, Job, Work
from convlens.passes.reducer import Reducer, State
from convlens.passes.source import Images, Photos, Source
from convlens.runtime.interrupts import catch_interrupts
from convlens.tracing.trace import Trace, trace

__all__ = ["Engine", "Images", "Photos", "Source", "Swept", "Work", "over", "sweep"]

BATCH = 32  # images; fixed, since a convolution's last bits may depend on it
_SAVED = 30.0  # seconds between saves


@dataclass(frozen=True)
class Swept:
    """A sweep that has come to its end.

    Attributes:
        state: of the reducer.
        seen: how many images it has taken in.
        skipped: reason by number of the images that could not be read.
        returned: bytes of the states that other processes sent back.
    """

    state: State
    seen: int
    skipped: dict[int, str]
    returned: int = 0


def sweep(
    model: Model,
    trace: Trace,
    reducer: Reducer,
    source: Source,
    *,
    engine: Engine | str | None = None,
    batch: int = BATCH,
    folder: Path | None = None,
    options: Mapping[str, Any] | None = None,
    save_every: float = _SAVED,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Swept:
    """Run the network once over all images, as far as the reducer's last node.

    Args:
        model: left untouched.
        trace: of it, for images of the size that come.
        reducer: takes in the values; its state is all that is kept.
        source: the images, numbered from 0 in its order.
        engine: what runs it; the result is the same with any: "local", this machine and the
            default; "ray", or a `Ray` that says more.
        batch: images at a time. Image n is always in the batch that begins at a multiple of it.
        folder: where what is done is kept, so that a sweep that was killed goes on; whoever has
            saved the result removes it. Default: nothing is kept.
        options: what else decides the result, by name; a folder of other options is refused.
        save_every: seconds between saves.
        progress: called with how many images are done and how many there are.

    Raises:
        ConvlensError: nothing could be read, a folder of another sweep, an interrupt (what is
            done is kept where there is a folder), an engine that is not there.
    """
    work = Streamed(model, trace, reducer)
    return over(
        model, work, source, engine=engine, batch=batch, folder=folder, options=options,
        save_every=save_every, progress=progress,
    )  # fmt: skip


def over(
    model: Model,
    work: Work,
    source: Source,
    *,
    engine: Engine | str | None = None,
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
        engine: as for `sweep`.
        batch: images at a time. Image n is always in the batch that begins at a multiple of it.
        folder: as for `sweep`.
        options: likewise.
        save_every: likewise.
        progress: likewise.

    Raises:
        ConvlensError: as `sweep`.
        PhotoError: none of the photos can be read, or with a strict source one cannot.
    """
    if batch < 1:
        raise ConvlensError(f"batch {batch}; give at least 1")
    total = len(source)
    identity = {
        "model": f"{model.name} {kept.fingerprint(model)}" if folder else "",
        "batch": batch,
        **(options or {}),
    }
    fingerprints = source.fingerprints() if folder else []
    found = kept.read(folder, identity, fingerprints) if folder else None
    done, state = found or (kept.Done(), work.start())
    before, returned = done.count, 0
    spans = [
        span
        for start in range(0, total, batch)
        if (span := (start, min(start + batch, total))) not in done
    ]
    saved = time.monotonic()
    with (
        kept.begun(folder, identity, fingerprints, state) if folder else nullcontext(),
        catch_interrupts(catch=folder is not None) as interrupted,
    ):
        progress(before, total)
        job = Job(
            model, work, source, spans, state,
            seen=lambda count: progress(before + count, total), stop=interrupted,
        )  # fmt: skip
        with closing(named(engine).run(job)) as parts:
            for part in parts:
                if source.strict and part.skipped:
                    raise PhotoError(part.skipped[min(part.skipped)])
                done.add(part.spans, part.skipped)
                state = part.state
                returned += part.returned
                if folder and time.monotonic() - saved > save_every:
                    kept.save(folder, identity, fingerprints, done, state)
                    saved = time.monotonic()
        if len(done.skipped) == total:
            first = next(iter(done.skipped.values()), "there are none")
            raise PhotoError(f"none of {total} photos can be read; the first: {first}")
    if folder:
        kept.save(folder, identity, fingerprints, done, state)
    if done.count < total:
        so_far = (
            f"which are kept in {folder}; --resume goes on from there"
            if done.count
            else "so that nothing is lost: --resume begins anew"
        )
        raise ConvlensError(f"interrupted after {done.count:,} of {total:,} images, {so_far}")
    return Swept(state, total - len(done.skipped), dict(sorted(done.skipped.items())), returned)


@dataclass(frozen=True)
class Streamed:
    """The work of `sweep`: one forward pass, each value shown to a reducer as it is computed."""

    model: Model
    trace: Trace
    reducer: Reducer

    def start(self) -> State:
        """That of the reducer."""
        return self.reducer.start()

    def take(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Show the reducer the values of a batch."""
        update = partial(self._update, state, ids)
        stream(self.model, self.trace, images, self.reducer.nodes, update)

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """As the reducer does."""
        return self.reducer.merge(one, other)

    def _update(self, state: State, ids: Tensor, value: int, maps: Tensor) -> None:
        self.reducer.update(state, value, maps, ids)

    def __reduce__(self) -> tuple[Any, ...]:
        # A trace holds torch's own functions and stays where it is: it is made again.
        found = self.trace
        names = tuple(found.name(value) for value in self.reducer.nodes)
        partly = bool(found.recording.stopped)
        return _streamed, (self.model, self.reducer, found.image_size, partly, names)


def _streamed(
    model: Model, reducer: Reducer, size: tuple[int, int], partly: bool, names: tuple[str, ...]
) -> Streamed:
    found = trace(model, size=size, partly=partly)
    if tuple(found.name(value) for value in reducer.nodes) != names:
        raise ConvlensError(
            f"{model.name} runs otherwise in another process (it decides by its data), so that "
            f"one process has to do it; leave the engine out"
        )
    return Streamed(model, found, reducer)
