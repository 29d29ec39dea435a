"""LabeledImages a second in training: ours beside a plain loop in torchvision's style, in turn.

Both train the same network on the same images for the same number of steps with the same optimizer
and the same kinds of augmentation. The plain loop is what torchvision's references do: a DataLoader
with a transform for each image.
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

from benchmarks.tables import METHOD, Entry, Row, compare, show, tell, write
from benchmarks.timing import Work
from convlens.data.preprocessing import Preprocessing
from convlens.training import Dataset, LabeledImages, default_recipe, train
from convlens.training.description import build_model
from convlens.training.loop import make_optimizer

TITLE = "One epoch of 2,560 gray images of 28 pixels, in those of a plain loop"
COUNT, SIZE, BATCH = 2560, 28, 128
TARGET = 1.0
HOW = (
    "floor: DataLoader in the main process, torchvision's ToTensor, Normalize, RandomCrop and "
    "RandomErasing on each image, default memory layout",
    "plain, two workers: the same with the transforms in two further processes",
    "convlens: train() whole, with reading back the data set's mean, the checks, one validation "
    "of 10 images and its saves",
)


def run() -> None:
    """Measure, print and keep."""
    data = _data()
    rows: list[Row] = compare(
        "allconv",
        "plain loop",
        _plain(data, workers=0),
        [
            Entry("one epoch", "convlens", partial(_ours, data), TARGET),
            Entry("one epoch", "plain, two workers", partial(_plain, data, workers=2)),
        ],
    )
    show(TITLE, rows)
    tell((METHOD, *HOW))
    print(f"written: {write('throughput', rows, HOW)}")


def _data() -> Dataset:
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


def _plain(data: Dataset, *, workers: int) -> Work:
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
        _Pictures(data.train, transform),
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


class _Pictures(TensorDataset):
    """Images as PIL pictures through a transform, one at a time."""

    def __init__(
        self, images: LabeledImages, transform: Callable[[Image.Image], torch.Tensor]
    ) -> None:
        super().__init__(images.pixels, images.classes)
        self._transform = transform

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:  # type: ignore[override]
        pixels, answer = super().__getitem__(index)
        picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0].numpy()))
        return self._transform(picture), int(answer)
