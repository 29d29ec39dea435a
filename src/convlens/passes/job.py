"""The contracts between a pass and an engine: the work, the job, its parts, and the engine."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from convlens.models.model import Model
from convlens.passes.reducer import State
from convlens.passes.source import Source


class BatchWork(Protocol):
    """What is done with each batch of a data set, and the state that is kept.

    The state is a mapping of tensors whose size does not grow with the data. It comes out the same
    in whatever order batches are processed and states are merged. The work is sent to other
    processes by pickle.
    """

    def initial_state(self) -> State:
        """The state of no images."""

    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Process a batch and update the state in place.

        Args:
            state: from `initial_state`, `process_batch` or `merge`.
            images: `(N, C, H, W)`.
            ids: int64 `(N,)`, the number of each image in the data set.
        """

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The state of two sets of images together; no image may be in both."""


@dataclass(frozen=True)
class PassJob:
    """What an engine runs.

    Attributes:
        model: the model; left untouched.
        work: processes each batch.
        source: the images.
        spans: the batches to process, as (start, stop).
        state: the state of the batches that an earlier run has finished.
        report_progress: called with the number of images of these batches that have been processed
            so far, whenever it changes. The number falls when batches have to be processed again.
        should_stop: whether to stop early. What has been processed by then is still yielded.
    """

    model: Model
    work: BatchWork
    source: Source
    spans: list[tuple[int, int]]
    state: State
    report_progress: Callable[[int], None]
    should_stop: Callable[[], bool]


@dataclass(frozen=True)
class FinishedBatches:
    """Batches of a job that an engine has finished.

    Attributes:
        spans: these batches, as (start, stop).
        skipped: the reason for each image in them that could not be read, by its number.
        state: the state of all batches that are finished by now.
        returned_bytes: bytes of the states that other processes sent back for these batches.
    """

    spans: list[tuple[int, int]]
    skipped: dict[int, str]
    state: State
    returned_bytes: int = 0


class Engine(Protocol):
    """Runs a job to its end, or until it should stop."""

    def open(self) -> AbstractContextManager[object]:
        """Start what several jobs can share; it lasts until the context is left."""

    def run(self, job: PassJob) -> Generator[FinishedBatches]:
        """Run a job and yield its batches as they are finished; no span is yielded twice."""
