"""The networks and images that the benchmarks run on, the same in every run."""

import torch
from torch import Tensor, nn

NAMES = ("mobilenet_v2", "resnet50", "vgg16")  # quickest first
BATCH = 8
SIZE = 224


def build(name: str) -> nn.Module:
    """A network of torchvision with random weights, in evaluation mode, as a user would have it.

    Its batch norms have the statistics of a batch, as after training: with those of a fresh
    network activations grow from block to block until softmax saturates, gradients vanish into
    denormal numbers, and these are slow.
    """
    from torchvision.models import get_model

    torch.manual_seed(0)
    network: nn.Module = get_model(name, weights=None)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain average over batches, here of one
    with torch.no_grad():
        network.train()(images())
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    return network.eval()


def images() -> Tensor:
    """Noise `(8, 3, 224, 224)` within 0 to 1."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(BATCH, 3, SIZE, SIZE, generator=generator)
