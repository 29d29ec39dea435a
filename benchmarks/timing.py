"""Timing: several callables in turn in one process, and the ratios of their times to a floor.

The floor runs again beside every callable, and each ratio is that of two neighboring runs, so that
other work on the machine falls on both. The result is the median over the rounds. CPU time is
measured beside wall time, because two threads under load take several times the CPU time of one.
"""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

Work = Callable[[], object]
_Times = tuple[float, float]  # wall and CPU seconds

MIN_ROUNDS = 5
MAX_ROUNDS = 30
# Whose versions are written beside the figures.
_PACKAGES = (
    "convlens", "torch", "torchvision", "timm", "numpy", "Pillow", "captum", "torchcam", "grad-cam",
    "torchattacks", "foolbox", "torch-lucent", "zennit-crp", "lightning", "ray",
)  # fmt: skip
MIN_SECONDS = 5.0  # after the least number of rounds: until each callable has run for so long


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum over the rounds."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of values, one for each round."""
        return cls(statistics.median(values), min(values), max(values))

    def __format__(self, form: str) -> str:
        return f"{self.median:{form}} ({self.minimum:{form}}-{self.maximum:{form}})"


@dataclass(frozen=True)
class Timing:
    """Seconds that a callable took in each round.

    Attributes:
        wall: seconds by the clock.
        cpu: seconds of CPU time, summed over all threads of the process.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @classmethod
    def of(cls, times: Sequence[_Times]) -> "Timing":
        """The timing made of wall and CPU seconds for each round."""
        return cls(tuple(wall for wall, _ in times), tuple(cpu for _, cpu in times))


@dataclass(frozen=True)
class Pair:
    """Times of a callable and of the floor beside it, for each round."""

    own: Timing
    floor: Timing

    @property
    def wall_ratio(self) -> Spread:
        """Wall time in units of the floor's wall time."""
        return _ratio(self.own.wall, self.floor.wall)

    @property
    def cpu_ratio(self) -> Spread:
        """CPU time in units of the floor's CPU time."""
        return _ratio(self.own.cpu, self.floor.cpu)


def measure(
    floor: Work,
    works: Mapping[str, Work],
    *,
    rounds: int = MIN_ROUNDS,
    seconds: float = MIN_SECONDS,
) -> dict[str, Pair]:
    """Time callables in turn, after one warm-up run each, and the floor beside each of them.

    The floor runs before its neighbor in one round and after it in the next.

    Args:
        floor: does the least work.
        works: the callables by name.
        rounds: the least number of rounds, by default `MIN_ROUNDS`; there are at most `MAX_ROUNDS`.
        seconds: rounds go on until a callable has run for so long; default: `MIN_SECONDS`.

    Returns:
        The times of each callable and of the floor's runs beside it, by name.
    """
    for work in (floor, *works.values()):
        _time(work)
    times: dict[str, list[tuple[_Times, _Times]]] = {name: [] for name in works}
    for number in range(MAX_ROUNDS):
        for name, work in works.items():
            seconds_so_far = sum(own[0] for own, _ in times[name])
            if number >= rounds and seconds_so_far >= seconds:
                continue
            if number % 2 == 0:
                floor_times = _time(floor)
                own_times = _time(work)
            else:
                own_times = _time(work)
                floor_times = _time(floor)
            times[name].append((own_times, floor_times))
    return {
        name: Pair(
            Timing.of([own_times for own_times, _ in pairs]),
            Timing.of([floor_times for _, floor_times in pairs]),
        )
        for name, pairs in times.items()
    }


def describe_machine() -> dict[str, object]:
    """Date, cores, CPU, threads, load and versions, for the JSON file and the last remark."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "cpu": _cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "load": [round(load, 1) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Versions of Python, of convlens and its libraries, and of the peers that are installed."""
    versions = {"Python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _ratio(own: Sequence[float], floor: Sequence[float]) -> Spread:
    return Spread.of([a / b for a, b in zip(own, floor, strict=True)])


def _time(work: Work) -> _Times:
    """Wall and CPU seconds of one run, without the garbage collector's."""
    gc.collect()
    gc.disable()
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        del result  # after the clock has been read
        return seconds
    finally:
        gc.enable()


def _cpu_name() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return "unknown"
