"""A small random network with batch normalization and four named classes."""

import torch
from torch import nn

from convlens import wrap

SIZE = 32


def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip
    return wrap(network, size=SIZE, labels=["ant", "bee", "cat", "dog"])
