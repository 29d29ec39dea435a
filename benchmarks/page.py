"""The page of the embedded network: seconds of each section, beside bare passes of the network.

The page is made twice: with an empty disk cache, and then with the photos mirrored, so that what
the cache keeps of the network is used for other photos.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

import convlens
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.cache.folder import FOLDER_VARIABLE
from convlens.capture.folded_networks import fold_batch_norms, keep_folded_networks
from convlens.capture.forward_pass import Capture
from convlens.capture.nodes import capture_nodes
from convlens.models.loading.demo_photos import demo_photos
from convlens.models.model import Model
from convlens.page.progress import Stages
from convlens.runtime.allocator import keep_freed_memory
from convlens.runtime.guard import unwrap_network
from convlens.tracing.trace import Trace
from convlens.wording import counted

HOW = (
    "passes alone: as many runs of the network on as many images of the same sizes, as far as the "
    "same nodes, and with gradients where the page needs them; the fastest of three runs of each "
    "kind, times their number",
    "mirrored photos: the same network, loaded again, with the disk cache of the first page",
)
WHOLE = "the page"
SHORTEST = 0.05  # seconds of the stages that are printed


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
        is_folded: whether a copy with folded batch normalizations runs.
    """

    model: Model
    trace: Trace
    nodes: frozenset[int]
    gradient_nodes: frozenset[int]
    shape: tuple[int, ...]
    to_images: bool
    is_folded: bool = False

    @property
    def has_gradients(self) -> bool:
        """Whether gradients are taken, to the images or to nodes."""
        return self.to_images or bool(self.gradient_nodes)

    def run(self) -> None:
        """Run it on gray images."""
        with fold_batch_norms() if self.is_folded else nullcontext():
            self._run_as_chosen()

    def _run_as_chosen(self) -> None:
        low, high = self.model.bounds
        images = torch.full(self.shape, (low + high) / 2)
        images = images.contiguous(memory_format=torch.channels_last)
        images.requires_grad_(self.to_images)
        activations = capture_nodes(
            self.model, self.trace, images, sorted(self.nodes - self.gradient_nodes),
            gradient_nodes=sorted(self.gradient_nodes),
        )  # fmt: skip
        inputs = [images] if self.to_images else [activations[node] for node in self.gradient_nodes]
        outputs = [activations[node].sum() for node in self.nodes - self.gradient_nodes]
        if inputs and outputs:
            torch.autograd.grad(outputs, inputs, allow_unused=True)


@dataclass
class Stage:
    """What one stage of a page takes, with all stages inside it.

    Attributes:
        wall: seconds by the clock.
        cpu: seconds of CPU time.
        passes: the runs of networks.
    """

    wall: float = 0.0
    cpu: float = 0.0
    passes: Counter[Pass] = field(default_factory=Counter)

    def sum_passes(self, times: Mapping[Pass, float]) -> float:
        """Seconds of the passes alone, of which `times` has those of each kind."""
        return sum(number * times[each] for each, number in self.passes.items())


def run() -> None:
    """Measure, print and write the results."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        with patch.dict(os.environ, {FOLDER_VARIABLE: f"{folder}/cache"}):
            pages = {"first page": _measure_page(None, Path(folder, "first"))}
            mirrored = _mirror_photos(Path(folder, "photos"))
            pages["mirrored photos"] = _measure_page(mirrored, Path(folder, "second"))
        kinds = {each for stages in pages.values() for each in stages[WHOLE].passes}
        with keep_folded_networks():
            times = {each: min(_cpu_seconds(each.run) for _ in range(3)) for each in kinds}
    tables = [
        _tabulate(pages, times),
        *(_tabulate_passes(name, stages, times) for name, stages in pages.items()),
    ]
    for table in tables:
        print_text_table(table)
    remarks = [*HOW, *(_state_limit(name, stages[WHOLE], times) for name, stages in pages.items())]
    print_remarks(remarks)
    content = {
        name: {
            stage: {
                "wall": entry.wall, "CPU": entry.cpu, "passes alone": entry.sum_passes(times),
            }
            for stage, entry in stages.items()
        }
        for name, stages in pages.items()
    }  # fmt: skip
    write_results("page", content, tables=tables, remarks=remarks)


def _tabulate(pages: Mapping[str, Mapping[str, Stage]], times: Mapping[Pass, float]) -> TextTable:
    """The seconds of each stage of the pages, and of its passes alone."""
    headings = [""]
    for name in pages:
        headings += [f"{name}, wall", "CPU", "CPU of its passes alone"]
    rows = []
    for stage in dict.fromkeys(stage for stages in pages.values() for stage in stages):
        figures: list[float] = []
        for stages in pages.values():
            entry = stages.get(stage, Stage())
            figures += [entry.wall, entry.cpu, entry.sum_passes(times)]
        if max(figures) >= SHORTEST:
            rows.append((stage, *(f"{seconds:.1f}" for seconds in figures)))
    title = "The page of the embedded network, seconds"
    return TextTable(title, tuple(headings), tuple(rows))


def _tabulate_passes(
    page: str, stages: Mapping[str, Stage], times: Mapping[Pass, float]
) -> TextTable:
    """The images that run through networks in each stage of a page."""
    rows = []
    for stage, entry in stages.items():
        if not entry.passes:
            continue
        forward, backward = (
            sum(
                kind.shape[0] * number
                for kind, number in entry.passes.items()
                if kind.has_gradients is has_gradients
            )
            for has_gradients in (False, True)
        )
        rows.append((
            stage, f"{entry.passes.total():,}", f"{forward:,}", f"{backward:,}",
            f"{entry.sum_passes(times):.1f}",
        ))  # fmt: skip
    headings = ("", "runs", "images", "images with gradients", "CPU seconds of the runs alone")
    return TextTable(f"Runs of networks, {page}", headings, tuple(rows))


def _state_limit(page: str, whole: Stage, times: Mapping[Pass, float]) -> str:
    """What a page would take if it did nothing but run its networks."""
    passes, threads = whole.sum_passes(times), torch.get_num_threads()
    return (
        f"{page}: its runs of networks take {passes:.1f} s of CPU time, so at best "
        f"{passes / threads:.1f} s by the clock with {counted(threads, 'thread')} always busy; "
        f"everything else takes {whole.cpu - passes:.1f} s of CPU time"
    )


@contextmanager
def _recorded_stages(stages: dict[str, Stage]) -> Iterator[None]:
    """Measure the stages of a page inside the block, and count the runs of networks in each."""
    run_network, time_stage = Capture.run, Stages.timed
    running = [WHOLE]

    def run(self: Capture, model: Model, network: nn.Module, images: Tensor) -> None:
        kind = Pass(
            model, self.trace, frozenset(self.requested), frozenset(self.gradient_nodes),
            tuple(images.shape), images.requires_grad,
            network is not unwrap_network(model.network),
        )  # fmt: skip
        for name in set(running):
            stages[name].passes[kind] += 1
        run_network(self, model, network, images)

    @contextmanager
    def timed(self: Stages, name: str) -> Iterator[None]:
        running.append(name)
        entry = stages.setdefault(name, Stage())
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            with time_stage(self, name):
                yield
        finally:
            entry.wall += time.perf_counter() - wall
            entry.cpu += time.process_time() - cpu
            running.pop()

    with patch.object(Capture, "run", run), patch.object(Stages, "timed", timed):
        yield


def _measure_page(photos: list[Path] | None, out: Path) -> dict[str, Stage]:
    """The stages of a page by name, the page as a whole first."""
    model = convlens.load()
    whole = Stage()
    stages = {WHOLE: whole}
    wall, cpu = time.perf_counter(), time.process_time()
    with _recorded_stages(stages):
        convlens.report(model, photos, out=out)
    whole.wall, whole.cpu = time.perf_counter() - wall, time.process_time() - cpu
    return stages


def _cpu_seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _mirror_photos(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{photo.path.stem}.png" for photo in demo_photos()]
    for photo, path in zip(demo_photos(), paths, strict=True):
        with Image.open(photo.path) as picture:
            ImageOps.mirror(picture.convert("RGB")).save(path)
    return paths
