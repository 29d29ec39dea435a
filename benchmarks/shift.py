"""Equivariance of all layers for one shift, beside bare forward passes."""

from functools import partial

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, bare_forward_pass, measure_floor
from benchmarks.tables import METHOD, Entry, Row, compare, print_remarks, print_table, write_rows
from benchmarks.timing import Work

TITLE = (
    f"Equivariance of all layers for one shift of {networks.BATCH_SIZE} images, "
    "in units of a bare forward pass"
)
TARGET = 2.5
HOW = (
    "convlens: image and shifted image in one batch; the maps of every convolution and pooling are "
    "compared as soon as they are computed; the network is not frozen",
)


def run() -> None:
    """Measure, print and write the results."""
    rows: list[Row] = []
    remarks = list(HOW)
    for name in networks.NAMES:
        floor = measure_floor("forward", bare_forward_pass, networks.build(name), networks.images())
        remarks.append(f"{name}, {floor.describe()}")
        network_rows = compare(
            name,
            floor.name,
            floor.work,
            [Entry("one shift", "convlens", partial(_ours, floor), TARGET)],
        )
        print_table(f"{TITLE}: {name}", network_rows)
        rows += network_rows
    print_remarks((METHOD, *remarks))
    write_rows("shift", rows, remarks)


def _ours(floor: Floor) -> Work:
    model = convlens.wrap(floor.network)
    return lambda: convlens.equivariance(model, floor.images, shifts=[1])
