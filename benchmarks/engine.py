"""The Ray engine beside the local engine: seconds for each photo, and bytes that workers return.

Both engines run the pass of `convlens patches` over the same photos in turn, for two numbers of
photos. The difference between the two passes divided by the difference of the numbers is the cost
of a photo without the cost of starting, which is printed separately.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import convlens
from benchmarks.tables import print_remarks, write_results
from benchmarks.timing import MIN_ROUNDS, Spread
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.models.loading.demo_photos import demo_photos
from convlens.passes.options import PassOptions
from convlens.passes.ray.engine import RayEngine
from convlens.passes.run import PassResult, run_reducer
from convlens.passes.source import PhotoSource
from convlens.runtime.allocator import keep_freed_memory
from convlens.tracing.selection import find_channel_sources
from convlens.tracing.tracer import trace

FEW, BETWEEN, MANY = 256, 640, 1024
TARGET = 1.25  # times the local engine's cost of a photo
LOCAL, RAY = "local", "ray"


@dataclass(frozen=True)
class _Round:
    """Seconds of the passes over FEW and over MANY photos with an engine."""

    few: float
    many: float

    @property
    def per_photo(self) -> float:
        """Seconds for each further photo."""
        return (self.many - self.few) / (MANY - FEW)

    @property
    def start(self) -> float:
        """Seconds that do not depend on the number of photos."""
        return self.few - FEW * self.per_photo


def run() -> None:
    """Measure, print and write the results."""
    keep_freed_memory()  # as the command line and workers do
    paths = [photo.path for photo in demo_photos()]
    rounds: dict[str, list[_Round]] = {LOCAL: [], RAY: []}
    returned: dict[int, set[int]] = {FEW: set(), MANY: set()}
    equal = []
    for number in range(MIN_ROUNDS):
        results = {}
        for engine in (LOCAL, RAY) if number % 2 == 0 else (RAY, LOCAL):
            seconds = {}
            for count in (FEW, MANY):
                seconds[count], results[engine, count] = _time(
                    partial(_run_pass, paths, count, engine)
                )
            rounds[engine].append(_Round(seconds[FEW], seconds[MANY]))
            print(f"round {number + 1}, {engine}: {_format(rounds[engine][-1])}", flush=True)
        for count in (FEW, MANY):
            local, ray = (results[engine, count] for engine in (LOCAL, RAY))
            returned[count].add(ray.returned_bytes)
            equal.append(
                all(bool((local.state[key] == ray.state[key]).all()) for key in local.state)
            )
    ratio = Spread.of(
        [
            ray_round.per_photo / local_round.per_photo
            for local_round, ray_round in zip(rounds[LOCAL], rounds[RAY], strict=True)
        ]
    )
    verdict = "met" if ratio.median <= TARGET else "MISSED"
    remarks = [
        f"{FEW:,} and {MANY:,} photos (the demonstration photos, repeated), default network",
        f"a photo on Ray: {ratio:.2f} times the cost with the local engine; at most {TARGET}: "
        f"{verdict}",
        f"seconds to start: local {_start(rounds[LOCAL]):.1f}, Ray {_start(rounds[RAY]):.1f}",
    ]
    returned[BETWEEN] = {_run_pass(paths, BETWEEN, RAY).returned_bytes}
    for count, sizes in sorted(returned.items()):
        megabytes = " or ".join(f"{size / 1e6:.1f} MB" for size in sorted(sizes))
        remarks.append(f"states returned by workers for {count:,} photos: {megabytes}")
    remarks.append(f"states equal in every bit: {sum(equal)} of {len(equal)} passes")
    print_remarks(remarks)
    write_results(
        "engine",
        {"rounds": {engine: [vars(times) for times in rounds[engine]] for engine in rounds}},
        remarks=remarks,
    )


def _run_pass(paths: list[Path], count: int, engine: str) -> PassResult:
    model = convlens.load()
    model_trace = trace(model)
    photos = [paths[number % len(paths)] for number in range(count)]
    return run_reducer(
        model,
        model_trace,
        TopPatchesReducer(find_channel_sources(model_trace, None)),
        PhotoSource(model, photos),
        pass_options=PassOptions(engine=RayEngine() if engine == RAY else None),
    )


def _time(work: Callable[[], PassResult]) -> tuple[float, PassResult]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _start(rounds: list[_Round]) -> Spread:
    return Spread.of([times.start for times in rounds])


def _format(times: _Round) -> str:
    return f"{1 / times.per_photo:.1f} photos a second, {times.start:.1f} s to start"
