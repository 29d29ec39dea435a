"""Answers and the first difference of two networks beside bare forward passes of one of them."""

import copy
from dataclasses import replace

import torch

import convlens
from benchmarks.data_set_pass import IMAGES, compare_with_passes
from benchmarks.floors import Floor
from benchmarks.timing import Work

TITLE = f"Comparison of two networks on {IMAGES:,} images, in units of bare forward passes of one"
TARGET = 2.3
HOW = (
    "convlens: answers of both networks, by copies with folded batch normalizations, which take "
    "less time than the floor; weights; every node of both networks on two images, in single and "
    "in double precision, which takes the same time for any number of images",
)


def run() -> None:
    """Measure, print and write the results."""
    compare_with_passes("diff", TITLE, "answers and layers", _compare, target=TARGET, remarks=HOW)


def _models(floor: Floor) -> tuple[convlens.Model, convlens.Model]:
    """A network, and a copy of which one weight is another."""
    first = convlens.wrap(floor.network)
    network = copy.deepcopy(floor.network)
    with torch.no_grad():
        weights = [weight for weight in network.parameters() if weight.ndim == 4]
        weights[len(weights) // 2].flatten()[0] += 1
    return first, replace(first, network=network)


def _compare(floor: Floor) -> Work:
    first, second = _models(floor)
    return lambda: convlens.diff(first, second, floor.images, parts=())
