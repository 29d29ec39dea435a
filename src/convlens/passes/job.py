"""The contracts of a data set pass: the work, the job that an engine runs, and the engine."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from convlens.models.model import Model
from convlens.passes.reducer import State
from convlens.passes.source import Source


class Work(Protocol):
    """What is done with each batch of a data set, and what is kept of it.

    The state is a mapping of tensors that does not grow with the data, and comes out the same in
    whatever order and grouping batches are taken and states merged. Another process is sent a work
    by pickle.
    """

    def start(self) -> State:
        """The state of no data."""

    def take(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Take in a batch, in place.

        Args:
            state: of `start` or `take`.
            images: `(N, C, H, W)`.
            ids: int64 `(N,)`, the number of each in the data set.
        """

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """The state of both data sets together; no image may be in both."""


@dataclass(frozen=True)
class Job:
    """What an engine is asked to do.

    Attributes:
        model: left untouched.
        work: done with each batch.
        source: the images.
        spans: the batches that are wanted, as (start, stop).
        state: of the batches that are done already.
        seen: called with how many images of these batches have been taken in so far, whenever
            that changes; it falls when some have to be taken in again.
        stop: whether to end early; what has been taken in is still to be given.
    """

    model: Model
    work: Work
    source: Source
    spans: list[tuple[int, int]]
    state: State
    seen: Callable[[int], None]
    stop: Callable[[], bool]


@dataclass(frozen=True)
class Part:
    """Batches that are done.

    Attributes:
        spans: which.
        skipped: reason by number of the images in them that could not be read.
        state: of all batches that are done by now.
        returned: bytes of the states that other processes sent back for it.
    """

    spans: list[tuple[int, int]]
    skipped: dict[int, str]
    state: State
    returned: int = 0


class Engine(Protocol):
    """Runs a job to its end, or until it is to stop."""

    def open(self) -> AbstractContextManager[object]:
        """What has to be started lasts until this is left, for several jobs to share."""

    def run(self, job: Job) -> Generator[Part]:
        """The parts in which the job gets done; no span is in two of them."""
