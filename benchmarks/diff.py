"""Answers and the first difference of two networks beside bare forward passes of one of them."""

import copy
from dataclasses import replace
from functools import partial

import torch

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, measure_pass_floor
from benchmarks.tables import METHOD, Entry, compare, print_remarks, print_table, write_rows
from benchmarks.timing import Work
from convlens.runtime.allocator import keep_freed_memory

NETWORK = networks.NAMES[0]  # with the slower ones a run would take half an hour
IMAGES = 256  # answers are for a data set; the layers are compared on two of its photos
TITLE = f"Comparison of two networks on {IMAGES} images, in units of bare forward passes of one"
TARGET = 2.3
HOW = (
    "convlens: answers of both networks, with the changed ones classified again; weights, and "
    "every node of both networks on two images, in single and in double precision",
)


def run() -> None:
    """Measure, print and write the results."""
    keep_freed_memory()  # as the command line does
    floor = measure_pass_floor(networks.build(NETWORK), networks.images(IMAGES))
    rows = compare(
        NETWORK,
        floor.name,
        floor.work,
        [Entry("answers and layers", "convlens", partial(_compare, floor), TARGET)],
    )
    remarks = (*HOW, f"{NETWORK}, {floor.describe()}")
    print_table(f"{TITLE}: {NETWORK}", rows)
    print_remarks((METHOD, *remarks))
    write_rows("diff", rows, remarks)


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
