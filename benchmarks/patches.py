"""Top patches of every convolution beside a bare forward pass and zennit-crp.

It also measures whether memory grows with the number of images, and a pass over photos from files
beside decoding and the network alone.
"""

import copy
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, bare_forward_pass, freeze, measure_floor
from benchmarks.tables import METHOD, Entry, Row, compare, print_remarks, print_table, write_rows
from benchmarks.timing import Work, measure
from convlens.analyses.patches.spatial_max import spatial_max
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.capture.folded_networks import fold_batch_norms, keep_folded_networks
from convlens.capture.nodes import stream_nodes
from convlens.passes.run import DEFAULT_BATCH_SIZE, ReducerWork, run_reducer
from convlens.passes.source import ImageBatch, PhotoSource, Source, TensorSource
from convlens.runtime.guard import preserve_network
from convlens.tracing.selection import find_channel_sources
from convlens.tracing.tracer import trace

BATCH_SIZE = DEFAULT_BATCH_SIZE
TITLE = (
    f"Top 16 patches of every convolution, {BATCH_SIZE} images of 224 pixels, "
    "in units of a bare forward pass"
)
NAMES = ("resnet18", "resnet50")
TOP = 16
CRP_IMAGES = 8  # of zennit-crp's whole analysis, which takes many passes for each image
FILES = 64  # photos of the pass from files, in batches of 32
PREVIOUS_BATCHES = 8  # counted in the tables before, as in the middle of a pass
TARGETS = {"top patches": 1.05, "all statistics": 1.3}
PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "photos" / "imagenet"
HOW = (
    f"convlens: post side of every convolution, after {PREVIOUS_BATCHES} other batches",
    "convlens: as in a pass over a data set, a copy of the network with batch normalizations "
    "folded into convolutions, made before the first batch, so that it may take less than the "
    "floor",
    "reading every map once: the least cost of any pass over all channels",
    "zennit-crp, tables only: forward hooks on every convolution, its ActMax tables, k = 40",
    "zennit-crp: FeatureVisualization.run, which also computes gradients for its relevance, writes "
    f"files and reads them back; on {NAMES[0]} and {CRP_IMAGES} images only",
)

_guards = ExitStack()  # closed after each network


def run() -> None:
    """Measure, print and write the results."""
    rows: list[Row] = []
    remarks = list(HOW)
    for name in NAMES:
        images = networks.images(BATCH_SIZE)
        floor = measure_floor("bare forward pass", bare_forward_pass, networks.build(name), images)
        remarks.append(f"{name}, {floor.describe()}")
        entries = [
            Entry(task, "convlens", partial(_ours, floor, statistics=task != "top patches"), target)
            for task, target in TARGETS.items()
        ]
        entries += [
            Entry("reading every map once", "convlens", partial(_read_maps, floor)),
            Entry(
                "activation maximization",
                "zennit-crp, tables only",
                partial(_zennit_crp_tables, floor),
            ),
        ]
        network_rows = compare(name, floor.name, floor.work, entries)
        if name == NAMES[0]:
            network_rows += _compare_whole_crp(name, floor)
        print_table(f"{TITLE}: {name}", network_rows)
        rows += network_rows
        _guards.close()
    remarks += [_measure_memory(), _measure_files()]
    print_remarks((METHOD, *remarks))
    write_rows("patches", rows, remarks)


def _compare_whole_crp(name: str, floor: Floor) -> list[Row]:
    """zennit-crp's whole analysis of a few images beside a bare forward pass of the same images."""
    images = floor.images[:CRP_IMAGES]
    few = replace(floor, images=images, work=bare_forward_pass(floor.network, images))
    entry = Entry("activation maximization", "zennit-crp", partial(_zennit_crp, few))
    return compare(name, f"{floor.name}, {CRP_IMAGES} images", few.work, [entry])


def _ours(floor: Floor, *, statistics: bool) -> Work:
    model = convlens.wrap(floor.network)
    model_trace = trace(model, floor.images)
    reducer = TopPatchesReducer(
        find_channel_sources(model_trace, None), top=TOP, statistics=statistics
    )
    state = reducer.initial_state()
    batch_numbers = itertools.count()
    # Once for all batches, as in the engine.
    _guards.enter_context(preserve_network(floor.network))
    _guards.enter_context(keep_folded_networks())
    reducer_work = ReducerWork(model, model_trace, reducer)

    def work(images: Tensor = floor.images) -> object:
        first = next(batch_numbers) * len(images)
        reducer_work.process_batch(state, images, torch.arange(first, first + len(images)))
        return state

    generator = torch.Generator().manual_seed(2)
    for _ in range(PREVIOUS_BATCHES):
        noise = torch.rand(floor.images.shape, generator=generator)
        work(torch.empty_like(floor.images).copy_(noise))
    return work


def _zennit_crp_tables(floor: Floor) -> Work:
    from crp.concepts import ChannelConcept
    from crp.maximization import Maximization

    network = freeze(floor.network)
    layers = _convolutions(network)
    folder = tempfile.mkdtemp()
    tables = Maximization("activation", "max", abs_norm=False, path=folder)
    batch_numbers = itertools.count()

    def work() -> object:
        first = next(batch_numbers) * BATCH_SIZE
        ids = torch.arange(first, first + BATCH_SIZE).numpy()
        maps_by_layer: dict[str, Tensor] = {}
        hooks = [
            layer.register_forward_hook(
                lambda module, inputs, output, name=name: maps_by_layer.__setitem__(
                    name, output.contiguous()
                )
            )
            for name, layer in layers.items()
        ]
        with torch.no_grad():
            network(floor.images)
        for hook in hooks:
            hook.remove()
        for name, maps in maps_by_layer.items():
            tables.analyze_layer(maps, ChannelConcept(), name, ids, ids)
        return tables

    return work


def _zennit_crp(floor: Floor) -> Work:
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from crp.visualization import FeatureVisualization

    # Its views of tensors need the default memory format.
    network = copy.deepcopy(floor.network).to(memory_format=torch.contiguous_format)
    images = floor.images.contiguous()
    data = [(image, 0) for image in images]
    layers = {name: ChannelConcept() for name in _convolutions(network)}

    def work() -> object:
        with (
            tempfile.TemporaryDirectory() as folder,
            redirect_stdout(StringIO()),
            redirect_stderr(StringIO()),
        ):
            visualization = FeatureVisualization(
                CondAttribution(network), data, layers, max_target="max", path=folder
            )
            return visualization.run(None, 0, len(data), len(data))

    return work


def _convolutions(network: nn.Module) -> dict[str, nn.Module]:
    return {
        name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    }


def _read_maps(floor: Floor) -> Work:
    """The maximum of each map and nothing else."""
    model = convlens.wrap(floor.network)
    model_trace = trace(model, floor.images)
    nodes = [source.node for source in find_channel_sources(model_trace, None)]

    def read(node: int, maps: Tensor) -> None:
        spatial_max(maps)

    @fold_batch_norms()
    def work() -> None:
        stream_nodes(model, model_trace, floor.images, nodes, read)

    return work


class _Noise(TensorSource):
    """Noise images that are computed when they are read."""

    def __init__(self, count: int, side: int) -> None:
        super().__init__(torch.empty(1, 3, side, side))
        self._count, self._side = count, side

    def __len__(self) -> int:
        return self._count

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[ImageBatch]:
        """Different noise for each batch."""
        for start, stop in spans:
            generator = torch.Generator().manual_seed(start)
            images = torch.rand(stop - start, 3, self._side, self._side, generator=generator)
            yield ImageBatch(start, stop, torch.arange(start, stop), images, {})


def measure_peak(count: int) -> int:
    """Peak memory in KiB of a process that runs the pass with ResNet-18 on small images.

    Args:
        count: number of images.
    """
    model = convlens.wrap(networks.build("resnet18"), size=64)
    model_trace = trace(model)
    source: Source = _Noise(count, 64)
    run_reducer(
        model,
        model_trace,
        TopPatchesReducer(find_channel_sources(model_trace, None), top=TOP),
        source,
    )
    # getrusage would count the memory of the parent process.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _measure_memory() -> str:
    """Peak memory for 1,000 and for 5,000 images, each in a process of its own."""
    peaks = []  # MiB
    for count in (1_000, 5_000):
        program = f"from benchmarks.patches import measure_peak; print(measure_peak({count}))"
        process = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        peaks.append(int(process.stdout) / 1024)
    growth = peaks[1] / peaks[0] - 1
    return (
        f"memory: ResNet-18 on images of 64 pixels, all statistics: peak {peaks[0]:.0f} MiB for "
        f"1,000 images, {peaks[1]:.0f} MiB for 5,000: {growth:+.1%} (target 5 %: "
        f"{'met' if growth <= 0.05 else 'MISSED'})"
    )


def _measure_files() -> str:
    """Photos a second of decoding, of the network, and of a pass from files, which does both."""
    if not PHOTOS.is_dir():
        return f"from files: skipped, there is no {PHOTOS}"
    model = convlens.wrap(networks.build("resnet50"))
    paths = sorted(PHOTOS.glob("*.jpg"))[:FILES]
    model_trace = trace(model)
    reducer = TopPatchesReducer(find_channel_sources(model_trace, None), top=TOP)
    photos = PhotoSource(model, paths)
    images = torch.cat(
        [batch.images for batch in photos.batches([(0, FILES)]) if batch.images is not None]
    )
    spans = [(start, start + BATCH_SIZE) for start in range(0, FILES, BATCH_SIZE)]

    def decode() -> object:
        return [len(batch.ids) for batch in photos.batches(spans)]

    def run_network() -> object:
        return run_reducer(model, model_trace, reducer, TensorSource(images)).images_read

    def run_pass() -> object:
        return run_reducer(model, model_trace, reducer, photos).images_read

    pairs = measure(run_network, {"decode": decode, "pass": run_pass})
    rates = {
        "decoding alone": len(paths) / median(pairs["decode"].own.wall),
        "network alone": len(paths) / median(pairs["pass"].floor.wall),
        "from files": len(paths) / median(pairs["pass"].own.wall),
    }
    share = rates["from files"] / min(rates["decoding alone"], rates["network alone"])
    rate_list = ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items())
    return (
        f"from files, ResNet-50, photos a second: {rate_list}: {share:.0%} of the slower "
        f"(target 90 %: {'met' if share >= 0.9 else 'MISSED'}); decoding and network share "
        f"{torch.get_num_threads()} threads"
    )
