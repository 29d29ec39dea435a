"""Floors: the least cost of a piece of work, measured in both memory formats.

The faster memory format is the floor. All libraries run with the network and the images in it, so
that no difference between them comes from the memory format.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import Pair, Work, measure
from convlens.passes.run import DEFAULT_BATCH_SIZE

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
_FORMAT_ROUNDS = 3  # enough to choose between formats whose times differ by more than their spread


@dataclass(frozen=True)
class Floor:
    """The least cost of a piece of work, with the network and images that it was measured on.

    Attributes:
        name: the work in words.
        memory_format: name of the faster memory format.
        pair: times of the second memory format beside those of the first.
        work: does the work once, in the faster memory format.
        network: in that memory format, parameters not frozen, as a user has it.
        images: in that memory format.
    """

    name: str
    memory_format: str
    pair: Pair
    work: Work
    network: nn.Module
    images: Tensor

    def describe(self) -> str:
        """The times of both memory formats in a line."""
        first, second = MEMORY_FORMATS
        return (
            f"{self.name}: {second} takes {self.pair.wall_ratio.median:.2f} of {first}'s time; "
            f"the floor and all libraries run in {self.memory_format}"
        )


def bare_forward_pass(network: nn.Module, images: Tensor) -> Work:
    """A forward pass that keeps nothing for gradients."""

    def work() -> Tensor:
        with torch.inference_mode():
            return network(images)

    return work


def forward_in_batches(network: nn.Module, images: Tensor) -> Work:
    """Forward passes in batches of the size that a pass over a data set has.

    One batch of hundreds of images takes longer, because its activations need fresh memory.
    """

    def work() -> list[Tensor]:
        with torch.inference_mode():
            return [network(part) for part in images.split(DEFAULT_BATCH_SIZE)]

    return work


def forward_and_backward(network: nn.Module, images: Tensor) -> Work:
    """A forward pass and a backward pass to the images, parameters frozen."""
    frozen = freeze(network)
    with torch.inference_mode():
        labels = frozen(images).argmax(dim=1)
    labels = labels.clone()  # tensors of inference mode cannot take part in a graph

    def work() -> Tensor:
        leaf = images.detach().requires_grad_()
        loss = F.cross_entropy(frozen(leaf), labels, reduction="sum")
        return torch.autograd.grad(loss, leaf)[0]

    return work


def measure_floor(
    name: str, make: Callable[[nn.Module, Tensor], Work], network: nn.Module, images: Tensor
) -> Floor:
    """Measure a piece of work in both memory formats and take the faster.

    Args:
        name: the work in words.
        make: returns the callable that is timed, for a network and images.
        network: copied into both memory formats.
        images: `(N, C, H, W)`, copied into both memory formats.
    """
    networks, inputs, works = {}, {}, {}
    for key, memory_format in MEMORY_FORMATS.items():
        networks[key] = copy.deepcopy(network).to(memory_format=memory_format)
        inputs[key] = images.contiguous(memory_format=memory_format)
        works[key] = make(networks[key], inputs[key])
    first, second = MEMORY_FORMATS
    pair = measure(works[first], {second: works[second]}, rounds=_FORMAT_ROUNDS, seconds=0)[second]
    faster = second if pair.wall_ratio.median < 1 else first
    return Floor(name, faster, pair, works[faster], networks[faster], inputs[faster])


def measure_pass_floor(network: nn.Module, images: Tensor) -> Floor:
    """The floor of a pass over a data set: forward passes in batches.

    The memory format is chosen by the times of the first batch.

    Args:
        network: copied into both memory formats.
        images: `(N, C, H, W)`.
    """
    floor = measure_floor(
        f"forward, in batches of {DEFAULT_BATCH_SIZE}",
        bare_forward_pass,
        network,
        images[:DEFAULT_BATCH_SIZE],
    )
    images = images.contiguous(memory_format=MEMORY_FORMATS[floor.memory_format])
    return replace(floor, work=forward_in_batches(floor.network, images), images=images)


def freeze(network: nn.Module) -> nn.Module:
    """A copy whose parameters need no gradients."""
    return copy.deepcopy(network).requires_grad_(False)
