"""Equivariance of all layers beside bare forward passes; consistency with anti-aliased pooling.

The second part trains the same network with max pooling and with max pooling that is blurred before
it is subsampled (Zhang 2019). Each is trained with several seeds and without shifts among the
augmentations. It measures how often two shifted views of an image get the same prediction.
"""

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
from benchmarks.floors import Floor, bare_forward_pass, measure_floor
from benchmarks.tables import (
    METHOD,
    Entry,
    Row,
    compare,
    print_remarks,
    print_table,
    write_results,
    write_rows,
)
from benchmarks.timing import Work
from convlens.training import Dataset, open_data, train

TITLE = (
    f"Equivariance of all layers for one shift of {networks.BATCH_SIZE} images, "
    "in units of a bare forward pass"
)
TARGET = 2.5
HOW = (
    "convlens: image and shifted image in one batch; the maps of every convolution and pooling are "
    "compared as soon as they are computed; the network is not frozen",
)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "fashion-mnist"
SEEDS = (0, 1, 2, 3, 4)
TRAINING, VALIDATION = 6000, 2000  # images of Fashion-MNIST
EPOCHS = 8
POOLINGS = ("max", "blur")


def run() -> None:
    """Measure, print and write the results."""
    rows: list[Row] = []
    remarks = list(HOW)
    for name in networks.NAMES:
        floor = measure_floor("forward", bare_forward_pass, networks.build(name), networks.images())
        remarks.append(f"{name}, {floor.describe()}")
        network_rows = compare(
            name,
            floor.name,
            floor.work,
            [Entry("one shift", "convlens", partial(_ours, floor), TARGET)],
        )
        print_table(f"{TITLE}: {name}", network_rows)
        rows += network_rows
    remarks += _measure_antialiasing()
    print_remarks((METHOD, *remarks))
    write_rows("shift", rows, remarks)


def _ours(floor: Floor) -> Work:
    model = convlens.wrap(floor.network)
    return lambda: convlens.equivariance(model, floor.images, shifts=[1])


def _measure_antialiasing() -> list[str]:
    """Train with both kinds of pooling and write the results; returns them in words."""
    results: dict[str, object] = {"epochs": EPOCHS}
    remarks = []
    datasets = _load_data()
    if "fashion-mnist" not in datasets:
        remarks.append(f"fashion-mnist: skipped, there is no {DATA}")
    for name, data in datasets.items():
        runs = {pooling: [_train(data, pooling, seed) for seed in SEEDS] for pooling in POOLINGS}
        for metric in ("accuracy", "crop", "circular"):
            values = {
                pooling: [figures[metric] for figures in runs[pooling]] for pooling in POOLINGS
            }
            spreads = ", ".join(
                f"{pooling} {statistics.mean(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})"
                for pooling, shares in values.items()
            )
            remarks.append(f"{name}, {len(SEEDS)} seeds, {metric}: {spreads}")
        results[name] = {
            "training_images": len(data.train),
            "validation_images": len(data.validation),
            "runs": runs,
        }
    write_results("antialiasing", results)
    return remarks


def _load_data() -> dict[str, Dataset]:
    """The digits, and a part of Fashion-MNIST if it is in the data folder."""
    datasets = {"digits": open_data("digits")}
    if not DATA.is_dir():
        return datasets
    whole = open_data(DATA)
    datasets["fashion-mnist"] = replace(
        whole,
        train=whole.train[torch.arange(TRAINING)],
        validation=whole.validation[torch.arange(VALIDATION)],
    )
    return datasets


def _train(data: Dataset, pooling: str, seed: int) -> dict[str, float]:
    """Accuracy and consistency of a network that is trained with a kind of pooling."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        training = train(
            data, out=Path(folder) / "run", seed=seed, epochs=EPOCHS, pooling=pooling, shift=0
        )
        model = convlens.load(training.folder)
    images = _images(data.validation.pixels)
    labels = [[int(label)] for label in data.validation.classes]
    invariance = convlens.shift(model, images, labels=labels, shifts=[], every=0)
    consistency = {
        protocol.protocol: protocol.agreement.share for protocol in invariance.consistency
    }
    minutes = (time.perf_counter() - start) / 60
    print(
        f"{pooling}, seed {seed}: accuracy {training.accuracy:.1%}, consistency {consistency}, "
        f"{minutes:.1f} min",
        flush=True,
    )
    return {"accuracy": training.accuracy, **consistency}


def _images(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float() / 255
