"""A small network with batch normalization, and copies of it with one injected fault each."""

import copy

import torch
from torch import nn

from convlens import wrap

SIZE, MEAN, STD = 24, (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
LABELS = ["ant", "bee", "cat", "dog", "eel"]


def network(seed=0):
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 5),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layers[1].running_mean.copy_(torch.randn(8, generator=generator) / 4)
        layers[1].running_var.copy_(torch.rand(8, generator=generator) + 0.5)
        layers[8].weight.mul_(8)
    return layers.eval()


def model(module=None, **settings):
    settings = {"size": SIZE, "mean": MEAN, "std": STD, "labels": LABELS, **settings}
    return wrap(module if module is not None else network(), **settings)


def images(count=40, seed=1):
    generator = torch.Generator().manual_seed(seed)
    tones = torch.rand(count, 3, 1, 1, generator=generator)
    grain = torch.rand(count, 3, SIZE, SIZE, generator=generator)
    return (0.7 * tones + 0.3 * grain).clamp(0, 1)


def changed(change):
    """A copy of the network with a change, which is given the copy."""
    module = copy.deepcopy(network())
    with torch.no_grad():
        change(module)
    return module


class Normalization(nn.Module):
    """Normalizes images, as a network may do that another normalization precedes."""

    def forward(self, batch):
        mean, std = (
            torch.tensor(values, dtype=batch.dtype).view(3, 1, 1) for values in (MEAN, STD)
        )
        return (batch - mean) / std


def round_to_int8(weight):
    step = weight.abs().max() / 127
    return (weight / step).round() * step
