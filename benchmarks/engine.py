"""The Ray engine beside the local one: what a photo costs more, and what is sent back.

Both run the sweep of `convlens patches` over the same photos, in turn, for two numbers of them. A
photo's cost is the difference between the two sweeps, divided by the difference of their numbers,
so that starting up, which is told by itself, falls out.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import convlens
from benchmarks.tables import tell
from benchmarks.timing import LEAST_ROUNDS, Spread
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.models.loading.demo_photos import demo_photos
from convlens.passes.options import PassOptions
from convlens.passes.ray.engine import RayEngine
from convlens.passes.run import PassResult, run_reducer
from convlens.passes.source import PhotoSource
from convlens.runtime.allocator import keep_freed_memory
from convlens.tracing.selection import find_channel_sources
from convlens.tracing.trace import trace

FEW, BETWEEN, MANY = 512, 1280, 2560
MOST = 1.25  # times the local engine's cost of a photo
LOCAL, RAY = "local", "ray"


@dataclass(frozen=True)
class _Round:
    """Seconds of both sweeps with one engine."""

    few: float
    many: float

    @property
    def each(self) -> float:
        """Seconds that one more photo takes."""
        return (self.many - self.few) / (MANY - FEW)

    @property
    def start(self) -> float:
        """Seconds that do not depend on the photos."""
        return self.few - FEW * self.each


def run() -> None:
    """Measure, print."""
    keep_freed_memory()  # as the command line does, and workers
    paths = [photo.path for photo in demo_photos()]
    rounds: dict[str, list[_Round]] = {LOCAL: [], RAY: []}
    sent: dict[int, set[int]] = {FEW: set(), MANY: set()}
    same = []
    for number in range(LEAST_ROUNDS):
        results = {}
        for engine in (LOCAL, RAY) if number % 2 == 0 else (RAY, LOCAL):
            seconds = {}
            for count in (FEW, MANY):
                seconds[count], results[engine, count] = _timed(
                    partial(_swept, paths, count, engine)
                )
            rounds[engine].append(_Round(seconds[FEW], seconds[MANY]))
            print(f"round {number + 1}, {engine}: {_words(rounds[engine][-1])}", flush=True)
        for count in (FEW, MANY):
            one, other = (results[engine, count] for engine in (LOCAL, RAY))
            sent[count].add(other.returned_bytes)
            same.append(all(bool((one.state[k] == other.state[k]).all()) for k in one.state))
    ratio = Spread.of([b.each / a.each for a, b in zip(rounds[LOCAL], rounds[RAY], strict=True)])
    verdict = "met" if ratio.median <= MOST else "MISSED"
    print(
        f"a photo on Ray: {ratio.median:.2f} ({ratio.least:.2f}-{ratio.most:.2f}) times the local "
        f"engine's; at most {MOST}: {verdict}"
    )
    sent[BETWEEN] = {_swept(paths, BETWEEN, RAY).returned_bytes}
    for count, sizes in sorted(sent.items()):
        told = " or ".join(f"{size / 1e6:.1f} MB" for size in sorted(sizes))
        print(f"states sent back for {count:,} photos: {told}")
    print(f"tables equal in every bit: {sum(same)} of {len(same)} sweeps")
    tell((f"{FEW:,} and {MANY:,} photos (the demonstration's, again and again), default network",))


def _swept(paths: list[Path], count: int, engine: str) -> PassResult:
    model = convlens.load()
    found = trace(model)
    many = [paths[number % len(paths)] for number in range(count)]
    runner = RayEngine() if engine == RAY else None
    return run_reducer(
        model,
        found,
        TopPatchesReducer(find_channel_sources(found, None)),
        PhotoSource(model, many),
        pass_options=PassOptions(engine=runner),
    )


def _timed(work: Any) -> tuple[float, PassResult]:
    began = time.perf_counter()
    swept = work()
    return time.perf_counter() - began, swept


def _words(one: _Round) -> str:
    return f"{1 / one.each:.1f} photos a second, {one.start:.1f} s to start"
