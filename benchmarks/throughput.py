"""Training throughput: an epoch of `convlens.train` beside a plain loop with a DataLoader.

Both train the same network on the same images for the same number of steps with the same optimizer
and the same kinds of augmentation. The plain loop follows torchvision's reference scripts: a
DataLoader with a transform for each image.
"""

import copy
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.tables import METHOD, Entry, Row, compare, print_remarks, print_table, write_rows
from benchmarks.timing import Work
from convlens.data.preprocessing import Preprocessing
from convlens.training import Dataset, LabeledImages, default_recipe, train
from convlens.training.description import build_model
from convlens.training.loop import make_optimizer

TITLE = "An epoch of 2,560 gray images of 28 pixels, in units of an epoch of a plain loop"
COUNT, SIZE, BATCH = 2560, 28, 128
TARGET = 1.0
HOW = (
    "floor: DataLoader in the main process, torchvision's ToTensor, Normalize, RandomCrop and "
    "RandomErasing on each image, default memory layout",
    "plain loop, two workers: the same with the transforms in two further processes",
    "convlens: a whole call of train(), with computing the mean of the data, its checks, a "
    "validation on 10 images and saving",
)


def run() -> None:
    """Measure, print and write the results."""
    data = _make_noise()
    rows: list[Row] = compare(
        "allconv",
        "plain loop",
        _plain_loop(data, workers=0),
        [
            Entry("one epoch", "convlens", partial(_ours, data), TARGET),
            Entry("one epoch", "plain loop, two workers", partial(_plain_loop, data, workers=2)),
        ],
    )
    print_table(TITLE, rows)
    print_remarks((METHOD, *HOW))
    write_rows("throughput", rows, HOW)


def _make_noise() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        0, 256, (COUNT + 10, SIZE, SIZE, 1), dtype=torch.uint8, generator=generator
    )
    classes = torch.arange(COUNT + 10) % 10
    return Dataset(
        name="noise",
        train=LabeledImages(pixels[:COUNT], classes[:COUNT]),
        validation=LabeledImages(pixels[COUNT:], classes[COUNT:]),
        labels=tuple(map(str, range(10))),
        preprocessing=Preprocessing(size=(SIZE, SIZE), resize=None),
        held_out="the last ten",
    )


def _ours(data: Dataset) -> Work:
    def work() -> object:
        with tempfile.TemporaryDirectory() as folder:
            return train(data, out=folder, epochs=1, batch=BATCH, device="cpu")

    return work


def _plain_loop(data: Dataset, *, workers: int) -> Work:
    from torchvision import transforms

    recipe = replace(default_recipe(data), epochs=1, batch=BATCH)
    model = build_model(data, recipe)
    mean, std = list(model.mean), list(model.std)
    transform = transforms.Compose(
        [
            transforms.RandomCrop(SIZE, padding=recipe.shift),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
            transforms.RandomErasing(recipe.erase, scale=(1 / 64, 1 / 4)),
        ]
    )
    loader = DataLoader(
        _TransformedImages(data.train.read(torch.arange(COUNT)), transform),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
    )
    network = model.network
    start = copy.deepcopy(network.state_dict())
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def work() -> object:
        network.load_state_dict(start)
        network.train()
        optimizer = make_optimizer(network, recipe)
        total = 0.0
        for images, classes in loader:
            optimizer.zero_grad()
            loss = loss_of(network(images), classes)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return work


class _TransformedImages(TensorDataset):
    """Images that are converted to PIL and transformed one at a time."""

    def __init__(
        self, images: LabeledImages, transform: Callable[[Image.Image], torch.Tensor]
    ) -> None:
        super().__init__(images.pixels, images.classes)
        self._transform = transform

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:  # type: ignore[override]
        pixels, label = super().__getitem__(index)
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0].numpy()))
        return self._transform(image), int(label)
