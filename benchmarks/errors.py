"""Answers, confusions and calibration of labeled images beside bare forward passes."""

from functools import partial

import torch

import convlens
from benchmarks import networks
from benchmarks.floors import Floor, measure_pass_floor
from benchmarks.tables import METHOD, Entry, compare, print_remarks, print_table, write_rows
from benchmarks.timing import Work
from convlens.runtime.allocator import keep_freed_memory

NETWORK = networks.NAMES[0]  # with the slower ones a run would take half an hour
IMAGES = 256
TITLE = f"Error analysis of {IMAGES} labeled images, in units of bare forward passes"
TARGET = 1.15
HOW = (
    "convlens: accuracy with intervals, confusions, calibration with 1,000 resamples, and the "
    "errors; without pictures of errors and without the examination of single errors",
)


def run() -> None:
    """Measure, print and write the results."""
    keep_freed_memory()  # as the command line does
    floor = measure_pass_floor(networks.build(NETWORK), networks.images(IMAGES))
    rows = compare(
        NETWORK,
        floor.name,
        floor.work,
        [Entry("error analysis", "convlens", partial(_analyze_errors, floor), TARGET)],
    )
    remarks = (*HOW, f"{NETWORK}, {floor.describe()}")
    print_table(f"{TITLE}: {NETWORK}", rows)
    print_remarks((METHOD, *remarks))
    write_rows("errors", rows, remarks)


def _analyze_errors(floor: Floor) -> Work:
    model = convlens.wrap(floor.network)
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(1000, (len(floor.images),), generator=generator).tolist()
    labels = [(index,) for index in classes]
    return lambda: convlens.error_analysis(model, floor.images, labels, show=0, examine=0)
