"""Run a pass over a data set, save what is finished, and resume it.

`run_reducer` runs the network forward and shows a reducer the values at the nodes that it reads.
`run_pass` is the layer below it, for work that needs more than a forward pass: gradients, changed
images, files that are written.
"""

import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.nodes import stream_nodes
from convlens.capture.tiles import TileStream, explain_refusal
from convlens.errors import ConvlensError, PhotoError
from convlens.models.model import Model
from convlens.passes import saved_state
from convlens.passes.engines import find_engine
from convlens.passes.job import BatchWork, PassJob
from convlens.passes.options import PassOptions
from convlens.passes.reducer import Image, Reducer, State, TiledReducer
from convlens.passes.source import Source
from convlens.runtime.interrupts import catch_interrupts
from convlens.tracing.memory import images_at_once
from convlens.tracing.model_fingerprint import fingerprint_model
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace

DEFAULT_BATCH_SIZE = 32  # fixed, because a convolution's last bits may depend on it


@dataclass(frozen=True)
class PassResult:
    """What a finished pass has computed.

    Attributes:
        state: the state of all images.
        images_read: number of images that were read.
        skipped: the reason for each image that could not be read, by its number.
        returned_bytes: bytes of the states that other processes sent back.
    """

    state: State
    images_read: int
    skipped: dict[int, str]
    returned_bytes: int = 0


def run_reducer(
    model: Model,
    trace: Trace,
    reducer: Reducer,
    source: Source,
    *,
    stage: str = "photos",
    pass_options: PassOptions = PassOptions(),
    settings: Mapping[str, Any] | None = None,
) -> PassResult:
    """Run the network forward once over all images, as far as the last node of a reducer.

    Args:
        model: the model; left untouched.
        trace: its trace, for images of the size that the source gives.
        reducer: reads the values at its nodes. Only its state is kept.
        source: the images, numbered from 0 in the order of the source.
        stage: name of the pass, passed on to `pass_options.progress`; default: `photos`.
        pass_options: engine, batch size, resume folder and progress. Default: `PassOptions()`.
        settings: everything else that decides the result, by name, as plain values (see
            `fingerprints.to_plain`). A resume folder with other settings is refused.
            Default: none.

    Returns:
        The reducer's state after all images.

    Raises:
        ConvlensError: if no image can be read, the resume folder belongs to another pass, the
            pass is interrupted, or the engine is not available.
    """
    work = ReducerWork(model, trace, reducer)
    return run_pass(model, work, source, stage=stage, pass_options=pass_options, settings=settings)


def run_pass(
    model: Model,
    work: BatchWork,
    source: Source,
    *,
    stage: str = "photos",
    pass_options: PassOptions = PassOptions(),
    settings: Mapping[str, Any] | None = None,
) -> PassResult:
    """Process every batch of a data set once, and resume a pass that was killed.

    Args:
        model: the model that the work uses; left untouched. A resume folder of another model is
            refused.
        work: processes each batch once. Whatever it writes to disk may be written again, because a
            batch whose state was not saved is processed again; the second time must give the same.
        source: the images, numbered from 0 in the order of the source. Image n is always in the
            batch that begins at a multiple of the batch size.
        stage: name of the pass, passed on to `pass_options.progress`; default: `photos`.
        pass_options: engine, batch size, resume folder and progress. Default: `PassOptions()`.
        settings: everything else that decides the result, by name, as plain values (see
            `fingerprints.to_plain`). A resume folder with other settings is refused.
            Default: none.

    Returns:
        The state of the work after all images.

    Raises:
        ConvlensError: as `run_reducer`.
        PhotoError: if none of the photos can be read or, with a strict source, if one cannot.
    """
    folder = pass_options.resume_folder
    with saved_state.claim_saved_state(folder) if folder else nullcontext():
        return _run_pass(model, work, source, stage, pass_options, settings or {})


def default_batch_size(source: Source, most: int = DEFAULT_BATCH_SIZE) -> int:
    """Images that the network is given at a time: `most`, and fewer if they are large."""
    return images_at_once(source.pixels, most)


def _run_pass(
    model: Model,
    work: BatchWork,
    source: Source,
    stage: str,
    pass_options: PassOptions,
    settings: Mapping[str, Any],
) -> PassResult:
    """`run_pass`, while no other process uses the resume folder."""
    folder, total = pass_options.resume_folder, len(source)
    batch_size = pass_options.batch_size or default_batch_size(source)
    identity: dict[str, Any] = {}
    image_fingerprints: list[str] = []
    finished, state = saved_state.FinishedImages(), work.initial_state()
    if folder:
        identity = {
            "model": f"{model.name} {fingerprint_model(model)}",
            "batch_size": batch_size,
            **settings,
        }
        image_fingerprints = source.fingerprints()
        if saved := saved_state.read(folder, identity, image_fingerprints, state):
            finished, state = saved
    before, returned_bytes = finished.count, 0
    spans = _list_batches(total, batch_size)
    spans = [span for span in spans if span not in finished]
    last_save = time.monotonic()
    with (
        saved_state.mark_folder(folder, identity, image_fingerprints, state)
        if folder
        else nullcontext(),
        catch_interrupts(catch=folder is not None) as interrupted,
    ):
        pass_options.progress(stage, before, total)
        job = PassJob(
            model, work, source, spans, state,
            report_progress=lambda count: pass_options.progress(stage, before + count, total),
            should_stop=interrupted,
        )  # fmt: skip
        with closing(find_engine(pass_options.engine).run(job)) as parts:
            for part in parts:
                if source.strict and part.skipped:
                    raise PhotoError(part.skipped[min(part.skipped)])
                finished.add(part.spans, part.skipped)
                state = part.state
                returned_bytes += part.returned_bytes
                if folder and time.monotonic() - last_save > pass_options.save_interval:
                    saved_state.save(folder, identity, image_fingerprints, finished, state)
                    last_save = time.monotonic()
        if len(finished.skipped) == total:
            first = next(iter(finished.skipped.values()), "there are none")
            raise PhotoError(f"none of {total} photos can be read; the first: {first}")
    if folder:
        saved_state.save(folder, identity, image_fingerprints, finished, state)
    if finished.count < total:
        raise _interruption(finished.count, total, folder)
    skipped = dict(sorted(finished.skipped.items()))
    return PassResult(state, total - len(skipped), skipped, returned_bytes)


def _list_batches(total: int, batch_size: int) -> list[tuple[int, int]]:
    """The first image of each batch, and the one after its last."""
    return [(start, min(start + batch_size, total)) for start in range(0, total, batch_size)]


def _interruption(count: int, total: int, folder: Path | None) -> ConvlensError:
    """The error of a pass that was interrupted after some of its images."""
    saved = (
        f"which are saved in {folder}; --resume continues from there"
        if count
        else "before anything was saved; --resume starts from the beginning"
    )
    return ConvlensError(f"interrupted after {count:,} of {total:,} images, {saved}")


@dataclass(frozen=True)
class ReducerWork:
    """One forward pass per batch; a reducer reads each value as soon as it is computed.

    Large images run in tiles, one after the other, if the reducer can read them so.

    Attributes:
        model: the model.
        trace: its trace.
        reducer: reads the values.
    """

    model: Model
    trace: Trace
    reducer: Reducer

    def initial_state(self) -> State:
        """The reducer's state of no images."""
        return self.reducer.initial_state()

    @fold_batch_norms()
    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Run the network on a batch and update the reducer's state with its values."""
        if isinstance(self.reducer, TiledReducer) and self._tiles.runs_in_tiles(images[:1]):
            for image, number in zip(images.split(1), ids.split(1), strict=True):
                self._process_in_tiles(self.reducer, state, image, number)
            return
        update = partial(self._update, state, ids)
        with explain_refusal(self._tiles.reason):
            stream_nodes(self.model, self.trace, images, self.reducer.nodes, update)

    @cached_property
    def _tiles(self) -> TileStream:
        return TileStream(self.model, self.trace, self.reducer.nodes)

    def _process_in_tiles(
        self, reducer: TiledReducer[Image], state: State, image: Tensor, number: Tensor
    ) -> None:
        """Update the reducer's state with an image `(1, C, H, W)` of a number `(1,)`."""
        maps: dict[int, Image] = {}
        for node in self.reducer.nodes:
            dims = self.trace.spatial_dims(node)
            assert dims is not None  # tiles are of maps
            rows, columns = (self.trace.shape(node)[dim] for dim in dims)
            maps[node] = reducer.begin_image(node, (rows, columns))
        self._tiles.stream(image, lambda node, tile, units: maps[node].add(tile, units))
        for node, image_maps in maps.items():
            reducer.update_from_tiles(state, node, image_maps, number)

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """Merge two states as the reducer does."""
        return self.reducer.merge(state_a, state_b)

    def _update(self, state: State, ids: Tensor, node: int, maps: Tensor) -> None:
        self.reducer.update(state, node, maps, ids)

    def __reduce__(self) -> tuple[Any, ...]:
        # A trace holds functions of torch, which pickle cannot send: it is recorded again there.
        names = tuple(self.trace.name(node) for node in self.reducer.nodes)
        partly = bool(self.trace.recording.stopped)
        return _trace_again, (self.model, self.reducer, self.trace.image_size, partly, names)


def _trace_again(
    model: Model, reducer: Reducer, size: tuple[int, int], partly: bool, names: tuple[str, ...]
) -> ReducerWork:
    trace_here = trace(model, size=size, partly=partly)
    if tuple(trace_here.name(node) for node in reducer.nodes) != names:
        raise ConvlensError(
            f"{model.name} executes other operations in another process, because it decides by "
            f"its data; run the pass in one process, without an engine"
        )
    return ReducerWork(model, trace_here, reducer)
