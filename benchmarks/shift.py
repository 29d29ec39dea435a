"""Shifts: equivariance of all layers beside bare passes, and what anti-aliased pooling does.

The second part trains the same network with max pooling and with max pooling that is blurred before
it is subsampled (Zhang 2019), each with several seeds and without shifts among the augmentations,
and measures how often two views of an image are answered alike.
"""

import json
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, bare_pass, floor
from benchmarks.tables import METHOD, RESULTS, Entry, Row, compare, show, tell, write
from benchmarks.timing import Work, machine
from convlens.training import Dataset, open_data, train

TITLE = f"Equivariance of all layers for one shift of {networks.BATCH} images, in forward passes"
TARGET = 2.5
HOW = (
    "convlens: image and shifted image in one batch, every convolution and pooling compared as it "
    "is computed; the network as a user has it",
)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "fashion-mnist"
SEEDS = (0, 1, 2, 3, 4)
TRAINED, TESTED = 6000, 2000  # of Fashion-MNIST
EPOCHS = 8
POOLINGS = ("max", "blur")


def run() -> None:
    """Measure, print and keep."""
    rows: list[Row] = []
    remarks = list(HOW)
    for name in networks.NAMES:
        least = floor("forward", bare_pass, networks.build(name), networks.images())
        remarks.append(f"{name}, {least.describe()}")
        measured = compare(
            name,
            least.what,
            least.work,
            [Entry("one shift", "convlens", partial(_ours, least), TARGET)],
        )
        show(f"{TITLE}: {name}", measured)
        rows += measured
    tell((METHOD, *remarks))
    print(f"written: {write('shift', rows, remarks)}")
    _antialiasing()


def _ours(least: Floor) -> Work:
    model = convlens.wrap(least.network)
    return lambda: convlens.equivariance(model, least.images, shifts=[1])


def _antialiasing() -> None:
    """Train with both kinds of pooling, print and keep."""
    told: dict[str, object] = {"machine": machine(), "epochs": EPOCHS}
    for name, data in _data().items():
        runs = {kind: [_trained(data, kind, seed) for seed in SEEDS] for kind in POOLINGS}
        for measure in ("accuracy", "crop", "circular"):
            values = {kind: [one[measure] for one in runs[kind]] for kind in POOLINGS}
            words = ", ".join(
                f"{kind} {statistics.mean(those):.1%} ({min(those):.1%} to {max(those):.1%})"
                for kind, those in values.items()
            )
            print(f"{name}, {len(SEEDS)} seeds, {measure}: {words}")
        told[name] = {"trained": len(data.train), "tested": len(data.validation), "runs": runs}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "antialiasing.json"
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def _data() -> dict[str, Dataset]:
    """The digits, and some of Fashion-MNIST where it is there."""
    found = {"digits": open_data("digits")}
    if not DATA.is_dir():
        print(f"fashion-mnist: skipped, there is no {DATA}")
        return found
    whole = open_data(DATA)
    found["fashion-mnist"] = replace(
        whole,
        train=whole.train[torch.arange(TRAINED)],
        validation=whole.validation[torch.arange(TESTED)],
    )
    return found


def _trained(data: Dataset, kind: str, seed: int) -> dict[str, float]:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made = train(
            data, out=Path(folder) / "run", seed=seed, epochs=EPOCHS, pooling=kind, shift=0
        )
        model = convlens.load(made.folder)
    images = _images(data.validation.pixels)
    labels = [[int(one)] for one in data.validation.classes]
    found = convlens.shift(model, images, labels=labels, shifts=[], every=0)
    told = {one.protocol: one.agreement.share for one in found.consistency}
    minutes = (time.perf_counter() - began) / 60
    print(f"{kind}, seed {seed}: {made.accuracy:.1%} right, {told}, {minutes:.1f} min", flush=True)
    return {"accuracy": made.accuracy, **told}


def _images(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float() / 255
