"""The networks and images that the benchmarks run on, the same in every run."""

import torch
from torch import Tensor, nn

NAMES = ("mobilenet_v2", "resnet50", "vgg16")  # quickest first
BATCH_SIZE = 8
IMAGE_SIZE = 224


def build(name: str) -> nn.Module:
    """A torchvision network with random weights in evaluation mode, parameters not frozen.

    Its batch norms hold the statistics of a batch, as after training. With those of a fresh network
    activations grow from block to block until softmax saturates, and gradients become denormal
    numbers, which are slow.
    """
    from torchvision.models import get_model

    torch.manual_seed(0)
    network: nn.Module = get_model(name, weights=None)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain average over batches, here of a single batch
    with torch.no_grad():
        network.train()(images())
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def images(count: int = BATCH_SIZE) -> Tensor:
    """Noise `(count, 3, 224, 224)` from 0 to 1, of which the first eight images repeat."""
    generator = torch.Generator().manual_seed(1)
    batch = torch.rand(BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    return batch if count == BATCH_SIZE else batch.repeat(-(-count // BATCH_SIZE), 1, 1, 1)[:count]


class ReversedChannels(nn.Module):
    """Reverses the order of the channels of images, as a wrong preprocessing does."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)
