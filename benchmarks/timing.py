"""The harness: several callables in turn in one process, their times and the ratios to a floor.

The floor runs again beside every callable, and a ratio is that of two neighbors: other work on
the machine then falls on both. The median over the rounds is what counts. CPU time stands beside
wall time, since two threads under load cost several times the CPU of one.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

Work = Callable[[], object]
_Times = tuple[float, float]  # wall and CPU seconds

LEAST_ROUNDS = 5
MOST_ROUNDS = 30
ENOUGH_SECONDS = 10.0  # beyond the least number of rounds a callable goes on for so long


@dataclass(frozen=True)
class Spread:
    """A median and what it lies between."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of one value for each round."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Timing:
    """Seconds that one callable took, round by round.

    Attributes:
        wall: as a clock shows it.
        cpu: of all threads of the process together.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @classmethod
    def of(cls, times: Sequence[_Times]) -> "Timing":
        """Of wall and CPU seconds for each round."""
        return cls(tuple(wall for wall, _ in times), tuple(cpu for _, cpu in times))


@dataclass(frozen=True)
class Pair:
    """The times of a callable and those of the floor beside it, round by round."""

    own: Timing
    floor: Timing

    @property
    def wall_ratio(self) -> Spread:
        """How many times the floor's wall time."""
        return _ratio(self.own.wall, self.floor.wall)

    @property
    def cpu_ratio(self) -> Spread:
        """How many times the floor's CPU time."""
        return _ratio(self.own.cpu, self.floor.cpu)


def measure(floor: Work, works: Mapping[str, Work]) -> dict[str, Pair]:
    """Time callables in turn, after one warm-up each, and the floor beside each of them.

    The floor runs before its neighbor in one round and after it in the next.
    """
    for work in (floor, *works.values()):
        _timed(work)
    taken: dict[str, list[tuple[_Times, _Times]]] = {name: [] for name in works}
    for number in range(MOST_ROUNDS):
        for name, work in works.items():
            spent = sum(own[0] for own, _ in taken[name])
            if number >= LEAST_ROUNDS and spent >= ENOUGH_SECONDS:
                continue
            if number % 2 == 0:
                least = _timed(floor)
                taken[name].append((_timed(work), least))
            else:
                own = _timed(work)
                taken[name].append((own, _timed(floor)))
    return {
        name: Pair(Timing.of([own for own, _ in pairs]), Timing.of([least for _, least in pairs]))
        for name, pairs in taken.items()
    }


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    return {
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "cpu": _cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": [round(load, 1) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _ratio(one: Sequence[float], other: Sequence[float]) -> Spread:
    return Spread.of([a / b for a, b in zip(one, other, strict=True)])


def _timed(work: Work) -> _Times:
    """Wall and CPU seconds of one run, without those of the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        kept = work()
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        del kept
        return seconds
    finally:
        gc.enable()


def _cpu_name() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return "unknown"
