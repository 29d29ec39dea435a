"""Training on photos decoded as they are used, beside decoding alone and the network alone.

The network has one thread of torch and photos are decoded by one thread, so that on two cores both
can work at once. The floor is the slower of the two: the network's steps on images in memory, or
decoding the same photos without a network.
"""

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.photo_files import SIZE, write_photos
from benchmarks.tables import METHOD, Entry, compare, print_remarks, print_table, write_rows
from benchmarks.timing import Work, measure
from convlens.training import Dataset, default_recipe, open_data
from convlens.training.data import TrainingImages
from convlens.training.description import build_model
from convlens.training.loop import make_optimizer, training_step
from convlens.training.processes import make_fabric

PHOTOS, BATCH, SIDE = 128, 16, 64
EPOCHS = 4
TARGET = 1.11  # 90 % of the rate of the slower of decoding and network
TITLE = f"{EPOCHS} epochs of {PHOTOS} photos, in units of the slower of decoding and network"
HOW = (
    f"photos: JPEG of {SIZE[0]} x {SIZE[1]} pixels, shrunk to {SIDE}; one thread each "
    f"for the network and for decoding",
    "convlens: the loop of `train`, from photos in files to changed weights; the network waits for "
    f"the first of {EPOCHS * PHOTOS // BATCH} batches, and nothing is decoded beside the last",
)


def run() -> None:
    """Measure, print and write the results."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as name, patch("os.cpu_count", return_value=1):
            folder = Path(name)
            _write_photos(folder)
            data = open_data(folder, size=SIDE, stream=True, validation=0.01)
            decoding = _decode(data.train)
            network = _train(data, data.train.read(torch.arange(PHOTOS)))
            pair = measure(decoding, {"network": network})["network"]
            network_is_slower = pair.wall_ratio.median > 1
            floor, floor_name = (
                (network, "network alone") if network_is_slower else (decoding, "decoding alone")
            )
            rows = compare(
                "allconv",
                floor_name,
                floor,
                [Entry("training", "convlens", partial(_train, data, data.train), TARGET)],
            )
    finally:
        torch.set_num_threads(threads)
    remarks = (*HOW, f"the network alone takes {pair.wall_ratio:.2f} of the time of decoding alone")
    print_table(TITLE, rows)
    print_remarks((METHOD, *remarks))
    write_rows("streaming", rows, remarks)


def _write_photos(folder: Path) -> None:
    """Photos of two classes, one more of each than are trained on: those are held out."""
    classes = ("even", "odd")
    write_photos(folder / classes[number % 2] / f"{number:03}.jpg" for number in range(PHOTOS + 2))


def _batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(PHOTOS, generator=generator) for _ in range(EPOCHS)]
    return [batch for order in orders for batch in order.split(BATCH)]


def _decode(images: TrainingImages) -> Work:
    def work() -> int:
        with closing(images.batches(_batches())) as batches:
            return sum(map(len, batches))

    return work


def _train(data: Dataset, images: TrainingImages) -> Work:
    """Steps on the images, which have the same batches in every run."""
    recipe = default_recipe(data, batch=BATCH)
    model = build_model(data, recipe)
    fabric = make_fabric("cpu", 1, 1, "auto", "32-true")
    fabric.launch()
    model.network.to(memory_format=torch.channels_last).train()
    network, optimizer = fabric.setup(model.network, make_optimizer(model.network, recipe))

    def work() -> None:
        with closing(images.batches(_batches())) as batches:
            for batch in batches:
                training_step(fabric, network, optimizer, model, batch, recipe)

    return work
