"""Photos a second of the data set passes on this machine, without start-up, for docs/scale.md."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import convlens
from benchmarks.photo_files import SIZE, write_photos
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from benchmarks.timing import MIN_ROUNDS, Spread
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.models.model import Model
from convlens.passes.run import run_reducer
from convlens.passes.source import PhotoSource
from convlens.runtime.allocator import keep_freed_memory
from convlens.tracing.selection import find_channel_sources
from convlens.tracing.tracer import trace

NETWORKS = {
    "default": 4,
    "torchvision:resnet50@random": 2,
}  # and number of passes: the others take long
FEW, MANY = 16, 48  # photos; the difference is free of what does not depend on the photos
Pass = Callable[[Model, list[Path], Path], object]


def _run_patches(model: Model, paths: list[Path], out: Path) -> object:
    # Without the crops and their evidence, whose number does not grow with the photos.
    model_trace = trace(model)
    return run_reducer(
        model,
        model_trace,
        TopPatchesReducer(find_channel_sources(model_trace, None)),
        PhotoSource(model, paths),
    )


PASSES: dict[str, Pass] = {
    "patches": _run_patches,
    "gradcam, maps, pictures and table": lambda model, paths, out: convlens.gradcams(
        model, paths, out=out
    ),
    "fgsm, four epsilons and random signs": lambda model, paths, out: convlens.robustness(
        model, paths, pgd_steps=0
    ),
    "shift": lambda model, paths, out: convlens.shift(model, paths, every=0),
}


def run() -> None:
    """Measure, print and write the results."""
    keep_freed_memory()  # as the command line and workers do
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number:03}.jpg" for number in range(MANY)]
        write_photos(paths)
        batch_decoder = PhotoSource(convlens.load(), paths).batch_decoder()
        decoding = [
            _seconds(lambda: batch_decoder.decode(0, MANY)) / MANY for _ in range(MIN_ROUNDS)
        ]
        size = sum(path.stat().st_size for path in paths) / len(paths)
        remarks = [
            f"decoding: {1e3 * Spread.of(decoding).median:.1f} ms a photo on one core, JPEG of "
            f"{SIZE[0]} x {SIZE[1]} pixels and {size / 1e3:.0f} kB"
        ]
        rows = []
        for spec, count in NETWORKS.items():
            model = convlens.load(spec)
            state = TopPatchesReducer(find_channel_sources(trace(model), None)).initial_state()
            remarks.append(
                f"{model.name}: {convlens.anatomy(model).multiply_adds / 1e9:.2f} G multiply-adds, "
                f"{model.size[0] * model.size[1] * 3 / 1e3:.0f} kB of pixels a photo, state of "
                f"patches {sum(tensor.nbytes for tensor in state.values()) / 1e6:.1f} MB"
            )
            for name, run_pass in list(PASSES.items())[:count]:
                rate = _measure_rate(model, paths, run_pass)
                rows.append((model.name, name, f"{rate:.1f}", f"{rate.median / threads:.1f}"))
                print(*rows[-1], flush=True)
    table = TextTable(
        f"photos a second with {threads} threads",
        ("network", "pass", "photos a second", "a core"),
        tuple(rows),
    )
    print_text_table(table)
    print_remarks(remarks)
    write_results("scale", {}, tables=[table], remarks=remarks)


def _measure_rate(model: Model, paths: list[Path], run_pass: Pass) -> Spread:
    """Photos a second of a pass, after a round that is not counted."""
    rates = []
    for number in range(1 + MIN_ROUNDS):
        seconds = []
        for count in (FEW, MANY):
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out"
                seconds.append(_seconds(lambda: run_pass(model, paths[:count], out)))  # noqa: B023
        if number:
            rates.append((MANY - FEW) / (seconds[1] - seconds[0]))
    return Spread.of(rates)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
