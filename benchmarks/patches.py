"""Patches: one pass that watches every convolution, beside bare passes and a peer's pass.

Then what a pass costs from files, and that memory does not grow with the data.
"""

import copy
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor, nn

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, bare_pass, floor, freeze
from benchmarks.tables import METHOD, Entry, Row, compare, show, tell, write
from benchmarks.timing import Work, measure
from convlens.analyses.patches.spatial_max import spatial_max
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.capture import stream_nodes
from convlens.passes.run import DEFAULT_BATCH_SIZE, run_reducer
from convlens.passes.source import Batch, PhotoSource, Source, TensorSource
from convlens.runtime.guard import untouched
from convlens.tracing.selection import find_channel_sources
from convlens.tracing.trace import trace

BATCH = DEFAULT_BATCH_SIZE
TITLE = f"Top 16 patches of every convolution, {BATCH} images of 224 pixels, in bare forward passes"
NAMES = ("resnet18", "resnet50", "vgg16")
TOP = 16
FILLED = 8  # batches that the tables have seen before, as in the middle of a pass
TARGETS = {"top patches": 1.05, "all statistics": 1.3}
PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "photos" / "imagenet"
HOW = (
    f"convlens: every convolution's post side, {FILLED} batches seen before",
    "reading every map once: the least that a pass over all channels costs here",
    "zennit-crp, tables alone: forward hooks on every convolution, its ActMax tables, k = 40",
    "zennit-crp: FeatureVisualization.run as shipped, which also takes gradients for its "
    "relevance, writes files and reads them back",
)


_guards = ExitStack()


def run() -> None:
    """Measure, print and keep."""
    rows: list[Row] = []
    remarks = list(HOW)
    for name in NAMES:
        images = networks.images().repeat(BATCH // networks.BATCH, 1, 1, 1)
        least = floor("bare forward pass", bare_pass, networks.build(name), images)
        remarks.append(f"{name}, {least.describe()}")
        entries = [
            Entry(task, "convlens", partial(_ours, least, statistics=task != "top patches"), target)
            for task, target in TARGETS.items()
        ]
        entries += [
            Entry("reading every map once", "convlens", partial(_reading, least)),
            Entry("activation maximization", "zennit-crp, tables alone", partial(_tables, least)),
            Entry("activation maximization", "zennit-crp", partial(_peer, least)),
        ]
        measured = compare(name, least.what, least.work, entries)
        show(f"{TITLE}: {name}", measured)
        rows += measured
        _guards.close()
    remarks += [_memory(), _from_files()]
    tell((METHOD, *remarks))
    print(f"written: {write('patches', rows, remarks)}")


def _ours(least: Floor, *, statistics: bool) -> Work:
    model = convlens.wrap(least.network)
    found = trace(model, least.images)
    reducer = TopPatchesReducer(find_channel_sources(found, None), top=TOP, statistics=statistics)
    state = reducer.initial_state()
    numbers = itertools.count()
    _guards.enter_context(untouched(least.network))  # once for all batches, as the engine does

    def work(images: Tensor = least.images) -> object:
        first = next(numbers) * len(images)
        ids = torch.arange(first, first + len(images))
        stream_nodes(
            model,
            found,
            images,
            reducer.nodes,
            lambda value, maps: reducer.update(state, value, maps, ids),
        )
        return state

    generator = torch.Generator().manual_seed(2)
    for _ in range(FILLED):
        drawn = torch.rand(least.images.shape, generator=generator)
        work(torch.empty_like(least.images).copy_(drawn))
    return work


def _tables(least: Floor) -> Work:
    from crp.concepts import ChannelConcept
    from crp.maximization import Maximization

    network = freeze(least.network)
    layers = _convolutions(network)
    folder = tempfile.mkdtemp()
    tables = Maximization("activation", "max", abs_norm=False, path=folder)
    numbers = itertools.count()

    def work() -> object:
        first = next(numbers) * BATCH
        ids = torch.arange(first, first + BATCH).numpy()
        kept: dict[str, Tensor] = {}
        hooks = [
            layer.register_forward_hook(
                lambda module, given, gave, name=name: kept.__setitem__(name, gave.contiguous())
            )
            for name, layer in layers.items()
        ]
        with torch.no_grad():
            network(least.images)
        for hook in hooks:
            hook.remove()
        for name, maps in kept.items():
            tables.analyze_layer(maps, ChannelConcept(), name, ids, ids)
        return tables

    return work


def _peer(least: Floor) -> Work:
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from crp.visualization import FeatureVisualization

    # In the default layout, which its views of tensors need.
    network = copy.deepcopy(least.network).to(memory_format=torch.contiguous_format)
    images = least.images.contiguous()
    data = [(image, 0) for image in images]
    layers = {name: ChannelConcept() for name in _convolutions(network)}

    def work() -> object:
        with (
            tempfile.TemporaryDirectory() as folder,
            redirect_stdout(StringIO()),
            redirect_stderr(StringIO()),
        ):
            made = FeatureVisualization(
                CondAttribution(network), data, layers, max_target="max", path=folder
            )
            return made.run(None, 0, len(data), len(data))

    return work


def _convolutions(network: nn.Module) -> dict[str, nn.Module]:
    return {
        name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    }


def _reading(least: Floor) -> Work:
    """The greatest of each map and nothing else: what any pass has to read."""
    model = convlens.wrap(least.network)
    found = trace(model, least.images)
    values = [one.node for one in find_channel_sources(found, None)]

    def read(value: int, maps: Tensor) -> None:
        spatial_max(maps)

    return lambda: stream_nodes(model, found, least.images, values, read)


class _Noise(TensorSource):
    """So many images, made when they are asked for."""

    def __init__(self, count: int, side: int) -> None:
        super().__init__(torch.empty(0))
        self._count, self._side = count, side

    def __len__(self) -> int:
        return self._count

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[Batch]:
        """Noise, another for each batch."""
        for start, stop in spans:
            generator = torch.Generator().manual_seed(start)
            images = torch.rand(stop - start, 3, self._side, self._side, generator=generator)
            yield Batch(start, stop, torch.arange(start, stop), images, {})


def peak(count: int) -> int:
    """Watch ResNet-18 on so many small images; the process's greatest memory in KiB."""
    model = convlens.wrap(networks.build("resnet18"), size=64)
    found = trace(model)
    source: Source = _Noise(count, 64)
    run_reducer(model, found, TopPatchesReducer(find_channel_sources(found, None), top=TOP), source)
    # Not getrusage, which counts what the process that started this one had.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _memory() -> str:
    """Peak memory of processes of their own, for 1,000 and for 10,000 images."""
    peaks = []
    for count in (1_000, 10_000):
        words = f"from benchmarks.patches import peak; print(peak({count}))"
        done = subprocess.run(
            [sys.executable, "-c", words], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout) / 1024)
    growth = peaks[1] / peaks[0] - 1
    return (
        f"memory: ResNet-18 on images of 64 pixels, all statistics: peak {peaks[0]:.0f} MiB for "
        f"1,000 images, {peaks[1]:.0f} MiB for 10,000: {growth:+.1%} (target 5 %: "
        f"{'met' if growth <= 0.05 else 'MISSED'})"
    )


def _from_files() -> str:
    """Photos a second of decoding alone, of the network alone, and of both together."""
    if not PHOTOS.is_dir():
        return f"from files: skipped, there is no {PHOTOS}"
    model = convlens.wrap(networks.build("resnet50"))
    paths = sorted(PHOTOS.glob("*.jpg"))[:96]
    found = trace(model)
    reducer = TopPatchesReducer(find_channel_sources(found, None), top=TOP)
    photos = PhotoSource(model, paths)
    ready = torch.cat([one.images for one in photos.batches([(0, 96)]) if one.images is not None])
    spans = [(start, start + 32) for start in range(0, 96, 32)]

    def decode() -> object:
        return [len(one.ids) for one in photos.batches(spans)]

    def network() -> object:
        return run_reducer(model, found, reducer, TensorSource(ready)).seen

    def both() -> object:
        return run_reducer(model, found, reducer, photos).seen

    pairs = measure(network, {"decode": decode, "both": both})
    alone = pairs["both"].floor.wall
    rates = {
        "decoding alone": len(paths) / _median(pairs["decode"].own.wall),
        "network alone": len(paths) / _median(alone),
        "from files": len(paths) / _median(pairs["both"].own.wall),
    }
    share = rates["from files"] / min(rates["decoding alone"], rates["network alone"])
    told = ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items())
    return (
        f"from files, ResNet-50, photos a second: {told}: {share:.0%} of the slower (target 90 %: "
        f"{'met' if share >= 0.9 else 'MISSED'}); both share {torch.get_num_threads()} threads"
    )


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
