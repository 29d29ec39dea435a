"""The desk at which a page is made: it times each stage and keeps what could not be made."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from convlens.errors import ConvlensError, PhotoError
from convlens.page import budget

Progress = Callable[[str, int, int], None]
Item = TypeVar("Item")


@dataclass
class Desk:
    """Times each stage, tells how far it is, and keeps why a section could not be made."""

    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Time the block; what the network cannot do becomes a sentence."""
        began = time.perf_counter()
        try:
            yield
        except PhotoError:
            raise
        except ConvlensError as error:
            self.failures.setdefault(name, str(error))
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def each(self, stage: str, items: Sequence[Item]) -> Iterator[Item]:
        """The items, until the stage's seconds are spent."""
        most = {"predictions": budget.PREDICTIONS, "photos": budget.PHOTOS}[stage].seconds
        began = time.perf_counter()
        for done, item in enumerate(items):
            if time.perf_counter() - began > most:
                return
            yield item
            self.tell(stage, done + 1, len(items))

    def tell(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)
