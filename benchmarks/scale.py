"""What a photo costs in sweeps on this machine, step by step: the figures of docs/scale.md."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import convlens
from benchmarks.tables import tell
from benchmarks.timing import LEAST_ROUNDS, Spread
from convlens.loading import demo_photos
from convlens.memory import keep_freed
from convlens.model import Model
from convlens.sweep.source import Photos
from convlens.tracing import trace
from convlens.views.patches.excitation import Excitation, watched

NETWORKS = ("default", "torchvision:resnet50@random", "torchvision:vgg16@random")
PHOTOS, FEW = 64, 32  # two batches; one of gradients in a sweep that changes images
SWEEPS: tuple[tuple[str, int, Callable[[Model, list[Path], Path], object]], ...] = (
    ("patches", PHOTOS, lambda model, paths, _: convlens.patches(model, paths, show=0)),
    ("gradcam", PHOTOS, lambda model, paths, out: convlens.gradcams(model, paths, out=out)),
    ("fgsm, 4 epsilons", FEW, lambda model, paths, _: convlens.fragility(model, paths, steps=0)),
    ("shift", FEW, lambda model, paths, _: convlens.shift(model, paths, every=0)),
)


def run() -> None:
    """Measure, print."""
    keep_freed()  # as the command line does, and workers
    paths = [photo.path for photo in demo_photos()]
    threads = torch.get_num_threads()
    decoding = [_seconds(lambda: _decoded(paths)) / len(paths) for _ in range(LEAST_ROUNDS)]
    print(f"decode: {1e3 * Spread.of(decoding).median:.1f} ms a photo on one core")
    for spec in NETWORKS:
        model = convlens.load(spec)
        found = trace(model)
        anatomy = convlens.anatomy(model)
        state = Excitation(watched(found, None)).start()
        size = sum(tensor.nbytes for tensor in state.values())
        print(
            f"{model.name}: {anatomy.multiply_adds / 1e9:.2f} G multiply-adds, "
            f"{model.size[0] * model.size[1] * 3 / 1e3:.0f} kB of pixels a photo, "
            f"{size / 1e6:.1f} MB of state for patches"
        )
        for name, count, work in SWEEPS:
            many = [paths[number % len(paths)] for number in range(count)]
            taken = []
            for _ in range(1 + LEAST_ROUNDS):
                with tempfile.TemporaryDirectory() as folder:
                    out = Path(folder) / "out"
                    taken.append(_seconds(lambda: work(model, many, out)))  # noqa: B023
            rate = Spread.of([count / one for one in taken[1:]])
            print(
                f"  {name}: {rate.median:.1f} ({rate.least:.1f}-{rate.most:.1f}) photos a second "
                f"on {threads} cores, {rate.median / threads:.1f} a core",
                flush=True,
            )
    tell(())


def _decoded(paths: list[Path]) -> None:
    Photos(convlens.load(), paths).portable().decode(0, len(paths))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
