"""Training with default settings on digits: accuracy of five-fold cross-validation, and minutes."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.training import Dataset, LabeledImages, Training, open_data, train

FOLDS = 5
MIN_ACCURACY, MAX_MINUTES = 0.98, 1.0  # mean of the folds; longest fold, on two quiet cores
HOW = "default settings; minutes include reading the data and the validation of each epoch"


@dataclass(frozen=True)
class Run:
    """A training.

    Attributes:
        part: the seed or the fold in words.
        accuracy: of the last checkpoint on the held-out images.
        minutes: of the whole call.
    """

    part: str
    accuracy: float
    minutes: float


def run() -> None:
    """Train, print and write the results."""
    runs = _cross_validate()
    mean = statistics.mean(each.accuracy for each in runs)
    table = make_table("digits", runs, "mean", mean, MIN_ACCURACY, MAX_MINUTES)
    print_text_table(table)
    print_remarks((HOW,))
    write_results(
        "accuracy", {"digits": [vars(each) for each in runs]}, tables=[table], remarks=[HOW]
    )


def time_training(name: str, part: str, run_training: Callable[[str], Training]) -> Run:
    """Train into a folder that is removed afterwards.

    Args:
        name: the data set.
        part: the seed or the fold in words.
        run_training: trains into the folder that it gets.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        accuracy = run_training(folder).accuracy
        minutes = (time.perf_counter() - start) / 60
    print(f"{name}, {part}: {accuracy:.2%} in {minutes:.1f} min", flush=True)
    return Run(part, accuracy, minutes)


def make_table(
    name: str,
    runs: list[Run],
    summary: str,
    accuracy: float,
    min_accuracy: float,
    max_minutes: float,
) -> TextTable:
    """A line for each training, one for all of them, and the targets.

    Args:
        name: the data set.
        runs: its trainings.
        summary: what `accuracy` is of theirs, in a word.
        accuracy: what the target is compared with.
        min_accuracy: target.
        max_minutes: target for the longest training.
    """
    longest = max(each.minutes for each in runs)
    met = accuracy >= min_accuracy and longest <= max_minutes
    rows = [(each.part, f"{each.accuracy:.2%}", f"{each.minutes:.2f}") for each in runs]
    rows += [
        (f"{summary}, longest", f"{accuracy:.2%}", f"{longest:.2f}"),
        (f"target: {'met' if met else 'MISSED'}", f"{min_accuracy:.1%}", f"{max_minutes:g}"),
    ]
    return TextTable(name, ("run", "accuracy", "minutes"), tuple(rows))


def _cross_validate() -> list[Run]:
    whole = open_data("digits")
    pixels = torch.cat([whole.train.pixels, whole.validation.pixels])
    classes = torch.cat([whole.train.classes, whole.validation.classes])
    fold = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0)) % FOLDS
    runs = []
    for number in range(FOLDS):
        held_out = fold == number
        data = replace(
            whole,
            train=LabeledImages(pixels[~held_out], classes[~held_out]),
            validation=LabeledImages(pixels[held_out], classes[held_out]),
            held_out=f"fold {number + 1} of {FOLDS}",
        )
        runs.append(time_training("digits", data.held_out, _train_on(data)))
    return runs


def _train_on(data: Dataset) -> Callable[[str], Training]:
    return lambda out: train(data, out=out)
