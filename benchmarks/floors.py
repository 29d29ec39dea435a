"""Floors: the least that the work can cost, measured in both memory layouts.

The faster layout is the floor, and everyone is given network and images in it, so that layout does
not pass for an algorithm.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import Pair, Work, measure

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Floor:
    """The least cost of a piece of work, and what it was found with.

    Attributes:
        what: the work, in words.
        layout: name of the faster memory layout.
        pair: the second layout's times beside the first's.
        work: does it once more, in the faster layout.
        network: in that layout, parameters not frozen, as a user has it.
        images: in that layout.
    """

    what: str
    layout: str
    pair: Pair
    work: Work
    network: nn.Module
    images: Tensor

    def describe(self) -> str:
        """Both layouts in a line."""
        first, second = LAYOUTS
        return (
            f"{self.what}: {second} takes {self.pair.wall_ratio.median:.2f} of {first}'s time; "
            f"floor and everyone's network and input: {self.layout}"
        )


def bare_pass(network: nn.Module, images: Tensor) -> Work:
    """One forward pass that keeps nothing for gradients."""

    def work() -> Tensor:
        with torch.inference_mode():
            return network(images)

    return work


def pass_and_back(network: nn.Module, images: Tensor) -> Work:
    """One forward pass and one backward pass to the images, parameters frozen."""
    frozen = freeze(network)
    with torch.inference_mode():
        labels = frozen(images).argmax(dim=1)
    labels = labels.clone()  # one that gradients may be taken beside

    def work() -> Tensor:
        leaf = images.detach().requires_grad_()
        loss = F.cross_entropy(frozen(leaf), labels, reduction="sum")
        return torch.autograd.grad(loss, leaf)[0]

    return work


def floor(
    what: str, kind: Callable[[nn.Module, Tensor], Work], network: nn.Module, images: Tensor
) -> Floor:
    """Measure a kind of work in both layouts and take the faster."""
    networks = {name: arranged(network, layout) for name, layout in LAYOUTS.items()}
    inputs = {name: images.contiguous(memory_format=layout) for name, layout in LAYOUTS.items()}
    works = {name: kind(networks[name], inputs[name]) for name in LAYOUTS}
    first, second = LAYOUTS
    pair = measure(works[first], {second: works[second]})[second]
    layout = second if pair.wall_ratio.median < 1 else first
    return Floor(what, layout, pair, works[layout], networks[layout], inputs[layout])


def arranged(network: nn.Module, layout: torch.memory_format) -> nn.Module:
    """A copy with its weights in a layout."""
    return copy.deepcopy(network).to(memory_format=layout)


def freeze(network: nn.Module) -> nn.Module:
    """A copy whose parameters need no gradients."""
    return copy.deepcopy(network).requires_grad_(False)
