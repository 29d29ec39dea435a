"""Networks with and without shift equivariance, images and photos for them."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from convlens import (
    wrap,
)

SIZE = 32


def images(count=3, size=SIZE, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def built(*layers):
    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(6))
    network = nn.Sequential(*[layer() for layer in layers], *head)
    network(images(1))
    return wrap(network.eval(), size=SIZE)


def conv(channels, weights, stride=1, padding=1, mode="zeros"):
    return lambda: nn.Conv2d(weights, channels, 3, stride, padding, padding_mode=mode)


STRIDED = (conv(6, 3), nn.ReLU, conv(8, 6, stride=2), nn.ReLU, conv(8, 8))


def photos(folder, count=6, size=48):
    generator = np.random.default_rng(0)
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.png")
        coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def fickle():
    """A network whose prediction depends on shifts."""
    model = built(conv(8, 3, stride=4, padding=0), nn.ReLU)
    with torch.no_grad():
        model.network[-1].weight.mul_(30)
        model.network[-1].bias -= model.network(images(20)).mean(0)
    return model
