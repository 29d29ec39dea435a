"""Stages: times each stage, reports progress, and records why a part of the page is missing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from convlens.errors import ConvlensError, PhotoError

Progress = Callable[[str, int, int], None]


@dataclass
class Stages:
    """The stages of one report.

    Attributes:
        progress: called with (stage, items done, number of items), or None.
        seconds: duration of each stage. Nothing else depends on the clock.
        failures: for each part that could not be computed, the reason.
    """

    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the duration of the block to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Time the block; if the network cannot do what it asks, record the reason and go on.

        Raises:
            PhotoError: the block raised it.
        """
        with self.timed(name):
            try:
                yield
            except PhotoError:
                raise
            except ConvlensError as error:
                self.failures.setdefault(name, str(error))

    def reporter(self, section: str) -> Progress:
        """A function that reports the progress of the stages inside a section."""
        return lambda stage, done, total: self.report(f"{section}, {stage}", done, total)

    def report(self, stage: str, done: int, total: int) -> None:
        """Report the progress of a stage."""
        if self.progress is not None:
            self.progress(stage, done, total)
