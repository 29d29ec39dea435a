"""Images that maximize channels and units: torch-lucent, the least that a step can cost, and time.

VGG-16, the third convolution of its third block (`features.14`). torch-lucent runs at its defaults
in a fresh process for each measurement, as its hooks pile up from call to call; so does convlens.
Its canvas of 128 pixels is enlarged to 224 before the network, which is the size that "the same
canvas" means here.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import convlens
from benchmarks.ascent import CHANNELS, LAYER, SIDE, WEIGHTS, network
from benchmarks.floors import LAYOUTS, Floor, floor, freeze
from benchmarks.tables import METHOD, Entry, Row, compare, show, tell, write
from benchmarks.timing import LEAST_ROUNDS, Pair, Timing, Work

_Times = tuple[float, float]  # wall and CPU seconds of a step and target
TITLE = "Maximized images, VGG-16 features.14, seconds for a step and target"
STEPS = 12  # timed in each process
# What is asked of convlens, and the most that it may cost beside torch-lucent.
TASKS = {
    "a channel, each at its defaults": ("channels", 1 / 3),
    "a unit": ("units", 1 / 8),
    f"one channel, both on {SIDE} pixels": (f"{CHANNELS[0]} same", 0.55),
    f"one of {len(CHANNELS)} in a batch, both on {SIDE} pixels": ("channels same", None),
}
BATCH = 16
FLOOR_STEPS = 16
FLOOR_TARGET = 1.3
LUCENT_STEPS = 64  # of which the time is what convlens gets
PAGE_CHANNELS = 24
PAGE_STEPS, PAGE_SIDE, PAGE_SECONDS = 96, 160, 90


def run() -> None:
    """Measure, print and keep."""
    remarks: list[str] = []
    rows = _beside_lucent(remarks)
    show(TITLE, rows)
    beside_floor = _beside_floor(remarks)
    show(f"{BATCH} channels in a batch, {FLOOR_STEPS} steps", beside_floor)
    remarks.append(_reached())
    remarks.append(_default_network())
    tell((METHOD, *remarks))
    print(f"written: {write('maximize', rows + beside_floor, remarks)}")


def _beside_lucent(remarks: list[str]) -> list[Row]:
    try:
        import lucent  # noqa: F401 # only whether it is there
    except ImportError as error:
        remarks.append(f"torch-lucent is not installed: {error}")
        return []
    taken: dict[str, list[_Times]] = {task: [] for task in TASKS}
    theirs: list[_Times] = []
    for _ in range(LEAST_ROUNDS):
        theirs.append(_child("lucent", str(CHANNELS[0])))
        for task, (ours, _) in TASKS.items():
            taken[task].append(_child("ours", ours))
    least = Timing.of(theirs)
    rows = [Row("vgg16", "a step", "torch-lucent", Pair(least, least), None, "")]
    for task, (_, target) in TASKS.items():
        pair = Pair(Timing.of(taken[task]), least)
        rows.append(Row("vgg16", task, "convlens", pair, target, ""))
    remarks.append("torch-lucent stands where a floor does in the first table")
    return rows


def _child(who: str, what: str, steps: int = STEPS, out: Path | None = None) -> _Times:
    words = [sys.executable, "-W", "ignore", "-m", "benchmarks.ascent", who, what, str(steps)]
    done = subprocess.run(
        [*words, *([str(out)] if out else [])],
        capture_output=True, text=True, check=True, env=os.environ,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    return found["wall"], found["cpu"]


def _beside_floor(remarks: list[str]) -> list[Row]:
    """Sixteen channels in a batch beside forward and backward passes of the truncated network."""
    head = torch.nn.Sequential(*list(network().features)[: LAYER + 1])  # type: ignore[arg-type]
    model = convlens.wrap(network(), name="vgg16")
    targets = [f"features.{LAYER}:{number}" for number in range(BATCH)]
    side = convlens.maximize(model, targets[0], steps=1).maxima[0].images.shape[-1]
    images = torch.rand(BATCH, 3, side, side, generator=torch.Generator().manual_seed(0))
    least = floor("forward and back to the canvas", _there_and_back, head, images)
    remarks.append(f"{side} pixels, {least.describe()}")
    remarks.append(f"layouts tried: {', '.join(LAYOUTS)}")

    def ours(found: Floor) -> Work:
        given = convlens.wrap(network().to(memory_format=LAYOUTS[found.layout]), name="vgg16")
        return lambda: convlens.maximize(given, targets, steps=FLOOR_STEPS)

    task = f"{BATCH} channels, {FLOOR_STEPS} steps and what they reach"
    entry = Entry(task, "convlens", lambda: ours(least), FLOOR_TARGET)
    return compare("vgg16", f"{FLOOR_STEPS} x {least.what}", least.work, [entry])


def _there_and_back(head: torch.nn.Module, images: Tensor) -> Work:
    frozen = freeze(head)
    row = torch.arange(len(images))

    def work() -> list[Tensor]:
        made = []
        for _ in range(FLOOR_STEPS):
            leaf = images.detach().requires_grad_()
            maps = frozen(leaf)
            made.append(torch.autograd.grad(maps[row, row].mean((1, 2)).sum(), leaf)[0])
        return made

    return work


def _reached() -> str:
    """Mean activation of each channel's map after equal time, each on its own canvas."""
    if not WEIGHTS.is_file():
        return "activation reached: not compared, no trained weights at hand"
    try:
        import lucent  # noqa: F401 # only whether it is there
    except ImportError:
        return "activation reached: not compared, torch-lucent is not installed"
    with tempfile.TemporaryDirectory() as folder:
        theirs, seconds = [], []
        for number in CHANNELS:
            out = Path(folder) / f"{number}.pt"
            seconds.append(_child("lucent", str(number), LUCENT_STEPS, out)[0])
            theirs.append(torch.load(out, weights_only=True))
        each = _child("ours", "channels")[0]
        steps = max(1, int(LUCENT_STEPS * median(seconds) / each))
        out = Path(folder) / "ours.pt"
        taken = _child("ours", "channels", steps, out)[0]
        ours = torch.load(out, weights_only=True)
    enlarged = [
        torch.nn.functional.interpolate(one, (SIDE, SIDE), mode="bilinear", align_corners=True)
        for one in theirs
    ]
    own = [_mean(ours[at : at + 1], number) for at, number in enumerate(CHANNELS)]
    other = [_mean(one, number) for one, number in zip(enlarged, CHANNELS, strict=True)]
    higher = sum(a >= b for a, b in zip(own, other, strict=True))
    pairs = ", ".join(f"{a:.1f} against {b:.1f}" for a, b in zip(own, other, strict=True))
    return (
        f"mean of the whole map, {steps} steps of {taken:.4f} s against {LUCENT_STEPS} of "
        f"torch-lucent's {median(seconds):.4f} s for each channel: at least as high for {higher} "
        f"of {len(CHANNELS)} ({pairs})"
    )


def _mean(images: Tensor, channel: int) -> float:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    head = list(network().features)[: LAYER + 1]  # type: ignore[arg-type]
    with torch.no_grad():
        return float(torch.nn.Sequential(*head)((images - mean) / std)[0, channel].mean())


def _default_network() -> str:
    """The time of a whole page's worth of channels of the embedded network."""
    model = convlens.load()
    layers = (
        "blocks.1.0.conv_dw",
        "blocks.2.0.conv_dw",
        "blocks.3.0.conv_dw",
        "blocks.4.0.conv_dw",
    )
    each = PAGE_CHANNELS // len(layers)
    targets = [f"{layer}:{7 * number}" for layer in layers for number in range(each)]
    began = time.perf_counter()
    convlens.maximize(model, targets, steps=PAGE_STEPS, image_size=PAGE_SIDE)
    return (
        f"{PAGE_CHANNELS} channels of the default network up to blocks.4, {PAGE_STEPS} steps, "
        f"{PAGE_SIDE} pixels: {time.perf_counter() - began:.0f} s (target {PAGE_SECONDS})"
    )
