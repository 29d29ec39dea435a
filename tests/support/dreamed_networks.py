"""A small network for DeepDream, its pre-activations written out, and photos of noise."""

import torch
from torch import nn
from torch.nn import functional as F

from convlens import wrap


def small_network():
    """conv-BN-ReLU twice, with statistics as after training."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.ReLU(inplace=True),
        nn.Flatten(), nn.LazyLinear(5),
    )  # fmt: skip
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 32, 32))
    return network.eval()


def pre_activations(network, images):
    """The pre-activations of the second convolution, written out."""
    images = (images - 0.4) / 0.3
    for module in network[:6]:
        images = F.relu(images) if isinstance(module, nn.ReLU) else module(images)
    return images


def small_model(**options):
    return wrap(small_network(), mean=0.4, std=0.3, size=32, **options)


def photo(height=40, width=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, height, width, generator=generator)
