"""Answers, confusions and calibration of labeled images beside bare forward passes."""

import torch

import convlens
from benchmarks.data_set_pass import IMAGES, compare_with_passes
from benchmarks.floors import Floor
from benchmarks.timing import Work

TITLE = f"Error analysis of {IMAGES:,} labeled images, in units of bare forward passes"
TARGET = 1.15
HOW = (
    "convlens: accuracy with intervals, confusions, calibration with 1,000 resamples, and the "
    "errors; without pictures of errors and without the examination of single errors",
)


def run() -> None:
    """Measure, print and write the results."""
    compare_with_passes(
        "errors", TITLE, "error analysis", _analyze_errors, target=TARGET, remarks=HOW
    )


def _analyze_errors(floor: Floor) -> Work:
    model = convlens.wrap(floor.network)
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(1000, (len(floor.images),), generator=generator).tolist()
    labels = [(index,) for index in classes]
    return lambda: convlens.error_analysis(model, floor.images, labels, show=0, examine=0)
