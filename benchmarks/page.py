"""The page of the embedded network: seconds of each section, beside bare passes of the network.

The page is made twice: with an empty disk cache, and then with the photos mirrored, so that what
the cache keeps of the network is used for other photos.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

import convlens
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens import capture
from convlens.cache.folder import FOLDER_VARIABLE
from convlens.models.loading.demo_photos import demo_photos
from convlens.models.model import Model
from convlens.runtime.allocator import keep_freed_memory
from convlens.tracing.trace import Trace

HOW = (
    "passes alone: as many runs of the network on as many images of the same sizes, as far as the "
    "same nodes, and with gradients where the page needs them; the fastest of three runs of each "
    "kind, times their number",
    "mirrored photos: the same network, loaded again, with the disk cache of the first page",
)


@dataclass(frozen=True)
class Pass:
    """A run of the network: what is run, as far as which nodes, and where gradients start.

    Attributes:
        model: the model, or one of its copies.
        trace: its trace for images of this size.
        nodes: the nodes that are captured.
        gradient_nodes: those among them at which gradients start.
        shape: of the images.
        to_images: whether gradients are taken to the images.
    """

    model: Model
    trace: Trace
    nodes: frozenset[int]
    gradient_nodes: frozenset[int]
    shape: tuple[int, ...]
    to_images: bool

    def run(self) -> None:
        """Run it on gray images."""
        low, high = self.model.bounds
        images = torch.full(self.shape, (low + high) / 2)
        images = images.contiguous(memory_format=torch.channels_last)
        images.requires_grad_(self.to_images)
        activations = capture.capture_nodes(
            self.model, self.trace, images, sorted(self.nodes - self.gradient_nodes),
            gradient_nodes=sorted(self.gradient_nodes),
        )  # fmt: skip
        inputs = [images] if self.to_images else [activations[node] for node in self.gradient_nodes]
        outputs = [activations[node].sum() for node in self.nodes - self.gradient_nodes]
        if inputs and outputs:
            torch.autograd.grad(outputs, inputs, allow_unused=True)


def run() -> None:
    """Measure, print and write the results."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        with patch.dict(os.environ, {FOLDER_VARIABLE: f"{folder}/cache"}):
            passes: Counter[Pass] = Counter()
            with _recorded_passes(passes):
                first = _measure_page(None, Path(folder, "first"))
            mirrored = _mirror_photos(Path(folder, "photos"))
            second = _measure_page(mirrored, Path(folder, "second"))
        alone = _measure_passes(passes)
    names = list(dict.fromkeys((*first["sections"], *second["sections"])))
    rows = [
        (name, *(f"{page['sections'].get(name, 0.0):.1f}" for page in (first, second)), "")
        for name in names
    ]
    rows += [
        (f"all, {kind}", *(f"{page[kind]:.1f}" for page in (first, second, alone)))
        for kind in ("wall", "CPU")
    ]
    headings = ("section", "first page", "mirrored photos", "passes alone")
    table = TextTable("The page of the embedded network, seconds", headings, tuple(rows))
    print_text_table(table)
    images = sum(each.shape[0] * number for each, number in passes.items())
    remarks = (*HOW, f"{sum(passes.values())} runs of the network on {images:,} images")
    print_remarks(remarks)
    write_results(
        "page",
        {"first": first, "second": second, "passes": alone},
        tables=[table],
        remarks=remarks,
    )


@contextmanager
def _recorded_passes(passes: Counter[Pass]) -> Iterator[None]:
    """Count the runs of networks inside the block."""
    original = capture._Capture.run

    def run(self: capture._Capture, model: Model, network: nn.Module, images: Tensor) -> None:
        passes[
            Pass(
                model, self.trace, frozenset(self.requested), frozenset(self.gradient_nodes),
                tuple(images.shape), images.requires_grad,
            )
        ] += 1  # fmt: skip
        original(self, model, network, images)

    with patch.object(capture._Capture, "run", run):
        yield


def _measure_page(photos: list[Path] | None, out: Path) -> dict[str, Any]:
    """Wall and CPU seconds of a page, and wall seconds of its stages."""
    model = convlens.load()
    wall, cpu = time.perf_counter(), time.process_time()
    report = convlens.report(model, photos, out=out)
    return {
        "wall": time.perf_counter() - wall,
        "CPU": time.process_time() - cpu,
        "sections": {name: seconds for name, seconds in report.seconds.items() if seconds >= 0.05},
    }


def _measure_passes(passes: Counter[Pass]) -> dict[str, float]:
    """Wall and CPU seconds of all passes, by the fastest of three runs of each kind."""
    totals = {"wall": 0.0, "CPU": 0.0}
    for each, number in passes.items():
        times = []
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            each.run()
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
        for kind, seconds in zip(totals, map(min, zip(*times, strict=True)), strict=True):
            totals[kind] += number * seconds
    return totals


def _mirror_photos(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{photo.path.stem}.png" for photo in demo_photos()]
    for photo, path in zip(demo_photos(), paths, strict=True):
        with Image.open(photo.path) as picture:
            ImageOps.mirror(picture.convert("RGB")).save(path)
    return paths
