"""Training with default settings: accuracy and minutes on digits, MNIST and Fashion-MNIST.

MNIST and Fashion-MNIST are read as IDX files from the folder `shared/data` beside the checkout.
Without them only the digits are measured.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.training import Dataset, LabeledImages, Training, open_data, train

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = (0, 1, 2)
FOLDS = 5
# Minimum accuracy of each run's last checkpoint (for the digits the mean over all folds), and
# maximum minutes of a run on two quiet cores.
TARGETS = {"mnist": (0.995, 15.0), "fashion-mnist": (0.935, 30.0), "digits": (0.98, 1.0)}

_Run = tuple[str, float, float]  # seed or fold, accuracy, minutes


def run() -> None:
    """Train, print and write the results."""
    runs: dict[str, list[_Run]] = {"digits": _cross_validate()}
    tables = [_make_table("digits", runs["digits"])]
    print_text_table(tables[-1])
    for name in ("mnist", "fashion-mnist"):
        if not (DATA / name).is_dir():
            print(f"{name}: skipped, there is no {DATA / name}")
            continue
        runs[name] = [_time(name, f"seed {seed}", _train_on_files(name, seed)) for seed in SEEDS]
        tables.append(_make_table(name, runs[name]))
        print_text_table(tables[-1])
    remarks = (
        "default settings; minutes include reading the data and the validation of each epoch",
    )
    print_remarks(remarks)
    write_results("accuracy", {"targets": TARGETS, "runs": runs}, tables=tables, remarks=remarks)


def _train_on_files(name: str, seed: int) -> Callable[[str], Training]:
    return lambda out: train(DATA / name, out=out, seed=seed)


def _train_on(data: Dataset) -> Callable[[str], Training]:
    return lambda out: train(data, out=out)


def _cross_validate() -> list[_Run]:
    """Five-fold cross-validation on the digits."""
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
        runs.append(_time("digits", data.held_out, _train_on(data)))
    return runs


def _time(name: str, part: str, run_training: Callable[[str], Training]) -> _Run:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        accuracy = run_training(folder).accuracy
        minutes = (time.perf_counter() - start) / 60
    print(f"{name}, {part}: {accuracy:.2%} in {minutes:.1f} min", flush=True)
    return part, accuracy, minutes


def _make_table(name: str, runs: list[_Run]) -> TextTable:
    min_accuracy, max_minutes = TARGETS[name]
    accuracies = [accuracy for _, accuracy, _ in runs]
    longest = max(minutes for _, _, minutes in runs)
    # The folds of the digits are parts of one measurement, seeds are separate measurements.
    accuracy = statistics.mean(accuracies) if name == "digits" else min(accuracies)
    rows = [
        (part, f"{part_accuracy:.2%}", f"{minutes:.2f}") for part, part_accuracy, minutes in runs
    ]
    summary = "mean" if name == "digits" else "minimum"
    rows.append((f"{summary}, longest", f"{accuracy:.2%}", f"{longest:.2f}"))
    met = accuracy >= min_accuracy and longest <= max_minutes
    target = f"target: {'met' if met else 'MISSED'}"
    rows.append((target, f"{min_accuracy:.1%}", f"{max_minutes:g}"))
    return TextTable(name, ("run", "accuracy", "minutes"), tuple(rows))
