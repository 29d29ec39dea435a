"""Activation maximization beside torch-lucent and beside bare forward and backward passes.

The layer is the third convolution of VGG-16's third block (`features.14`). torch-lucent runs at its
defaults. Each round runs in two fresh processes, one for each library, because torch-lucent's hooks
pile up from call to call. torch-lucent enlarges its image of 128 pixels to 224 before the network,
so that convlens runs with images of 224 pixels where both libraries are to have the same size.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import convlens
from benchmarks.ascent import CHANNELS, LAYER, SIDE, WEIGHTS, network
from benchmarks.floors import MEMORY_FORMATS, freeze, measure_floor
from benchmarks.tables import METHOD, Entry, Row, compare, print_remarks, print_table, write_rows
from benchmarks.timing import MIN_ROUNDS, Pair, Timing, Work

_Times = tuple[float, float]  # wall and CPU seconds of a step and target
TITLE = "Maximized images, VGG-16 features.14, milliseconds for each step and target"
STEPS = 8  # timed in each process
# The task of convlens for `benchmarks.ascent`, and the most that it may cost beside torch-lucent.
TASKS = {
    "a channel, both at their defaults": ("channels", 1 / 3),
    "a unit": ("units", 1 / 8),
    f"one channel, both on {SIDE} pixels": (f"{CHANNELS[0]} same", 0.55),
}
BATCH = 4
FLOOR_STEPS = 8
FLOOR_TARGET = 1.3
LUCENT_STEPS = 16  # convlens then gets the same time


def run() -> None:
    """Measure, print and write the results."""
    remarks: list[str] = []
    rows = _compare_with_lucent(remarks)
    print_table(TITLE, rows)
    floor_rows = _compare_with_floor(remarks)
    print_table(f"{BATCH} channels in a batch, {FLOOR_STEPS} steps", floor_rows)
    remarks.append(_compare_activations())
    print_remarks((METHOD, *remarks))
    write_rows("maximize", rows + floor_rows, remarks)


def _compare_with_lucent(remarks: list[str]) -> list[Row]:
    if not find_spec("lucent"):
        remarks.append("torch-lucent is not installed")
        return []
    times: dict[str, list[_Times]] = {task: [] for task in TASKS}
    lucent_times: list[_Times] = []
    for _ in range(MIN_ROUNDS):
        lucent_times += _run_process("lucent", [str(CHANNELS[0])])
        arguments = [argument for argument, _ in TASKS.values()]
        for task, own_times in zip(TASKS, _run_process("convlens", arguments), strict=True):
            times[task].append(own_times)
    lucent = Timing.of(lucent_times)
    rows = [Row("vgg16", "a step", "torch-lucent", Pair(lucent, lucent), None, "")]
    for task, (_, target) in TASKS.items():
        pair = Pair(Timing.of(times[task]), lucent)
        rows.append(Row("vgg16", task, "convlens", pair, target, ""))
    remarks.append("in the first table torch-lucent takes the place of the floor")
    return rows


def _run_process(
    library: str, tasks: Sequence[str], steps: int = STEPS, out: Path | None = None
) -> list[_Times]:
    """Seconds for each step of each task; the images of the last are written to `out`."""
    arguments = [library, str(steps), *tasks, *(["--out", str(out)] if out else [])]
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.ascent", *arguments],
        capture_output=True, text=True, check=True, env=os.environ,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    lines = process.stdout.splitlines()[-len(tasks) :]
    return [(figures["wall"], figures["cpu"]) for figures in map(json.loads, lines)]


def _compare_with_floor(remarks: list[str]) -> list[Row]:
    """Channels in a batch beside forward and backward passes up to their layer."""
    head = torch.nn.Sequential(*list(network().features)[: LAYER + 1])  # type: ignore[arg-type]
    model = convlens.wrap(network(), name="vgg16")
    targets = [f"features.{LAYER}:{number}" for number in range(BATCH)]
    side = convlens.maximize(model, targets[0], steps=1).maxima[0].images.shape[-1]
    images = torch.rand(BATCH, 3, side, side, generator=torch.Generator().manual_seed(0))
    make_passes = partial(_passes_to_layer, steps=1)
    floor = measure_floor("forward and backward pass to the image", make_passes, head, images)
    remarks.append(f"{side} pixels, {floor.describe()}")
    remarks.append(f"memory formats measured: {', '.join(MEMORY_FORMATS)}")

    def make() -> Work:
        memory_format = MEMORY_FORMATS[floor.memory_format]
        fast_model = convlens.wrap(network().to(memory_format=memory_format), name="vgg16")
        return lambda: convlens.maximize(fast_model, targets, steps=FLOOR_STEPS)

    task = f"{BATCH} channels, {FLOOR_STEPS} steps and a last measurement"
    entry = Entry(task, "convlens", make, FLOOR_TARGET)
    passes = _passes_to_layer(floor.network, floor.images, steps=FLOOR_STEPS)
    return compare("vgg16", f"{FLOOR_STEPS} x {floor.name}", passes, [entry])


def _passes_to_layer(head: torch.nn.Module, images: Tensor, *, steps: int) -> Work:
    frozen = freeze(head)
    numbers = torch.arange(len(images))

    def work() -> list[Tensor]:
        gradients = []
        for _ in range(steps):
            leaf = images.detach().requires_grad_()
            maps = frozen(leaf)
            gradients.append(
                torch.autograd.grad(maps[numbers, numbers].mean((1, 2)).sum(), leaf)[0]
            )
        return gradients

    return work


def _compare_activations() -> str:
    """Mean activation of each channel's map after equal time, each at its default image size."""
    if not WEIGHTS.is_file():
        return f"mean activation: not compared, there is no {WEIGHTS}"
    if not find_spec("lucent"):
        return "mean activation: not compared, torch-lucent is not installed"
    with tempfile.TemporaryDirectory() as folder:
        lucent_images, seconds = [], []
        for number in CHANNELS:
            out = Path(folder) / f"{number}.pt"
            ((wall, _),) = _run_process("lucent", [str(number)], LUCENT_STEPS, out)
            seconds.append(wall)
            lucent_images.append(torch.load(out, weights_only=True))
        ((per_step, _),) = _run_process("convlens", ["channels"])
        steps = max(1, int(LUCENT_STEPS * median(seconds) / per_step))
        out = Path(folder) / "convlens.pt"
        ((per_step, _),) = _run_process("convlens", ["channels"], steps, out)
        images = torch.load(out, weights_only=True)
    enlarged = [
        torch.nn.functional.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=True)
        for image in lucent_images
    ]
    pairs = [
        (_mean_activation(image[None], channel), _mean_activation(lucent_image, channel))
        for image, lucent_image, channel in zip(images, enlarged, CHANNELS, strict=True)
    ]
    higher = sum(mean >= lucent_mean for mean, lucent_mean in pairs)
    means = ", ".join(f"{mean:.1f} against {lucent_mean:.1f}" for mean, lucent_mean in pairs)
    return (
        f"mean of the whole map, {steps} steps of {per_step:.4f} s against {LUCENT_STEPS} of "
        f"torch-lucent's {median(seconds):.4f} s for each channel: at least as high for {higher} "
        f"of {len(CHANNELS)} ({means})"
    )


def _mean_activation(images: Tensor, channel: int) -> float:
    """Mean of a channel's map for an image `(1, 3, H, W)`."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    head = list(network().features)[: LAYER + 1]  # type: ignore[arg-type]
    with torch.no_grad():
        return float(torch.nn.Sequential(*head)((images - mean) / std)[0, channel].mean())
