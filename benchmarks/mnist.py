"""Short trainings on MNIST and Fashion-MNIST: the accuracies that `make reproduce` compares.

LeNet-5 learns MNIST without augmentation, as in the paper that is compared with, and the default
network learns Fashion-MNIST in eight epochs, shifted and mirrored. The data are read as IDX files
from the folder `shared/data` beside the checkout. Both together take about 20 minutes on two cores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.accuracy import Run, make_table, time_training
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.training import Training, train

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Setting:
    """How a data set is learned.

    Attributes:
        words: network, epochs and augmentation.
        options: those of `train`; the others are the defaults.
        seeds: a training runs with each.
        accuracy: the least that every training should reach.
        minutes: the most that a training should take on two quiet cores.
    """

    words: str
    options: Mapping[str, Any]
    seeds: tuple[int, ...]
    accuracy: float
    minutes: float


SETTINGS = {
    "mnist": Setting(
        "LeNet-5, 10 epochs, not augmented",
        {"network": "lenet5", "epochs": 10, "shift": 0, "erase": 0.0},
        (0, 1, 2), 0.9905, 1.5,
    ),
    "fashion-mnist": Setting(
        "allconv, 8 epochs, shifted and mirrored",
        {"network": "allconv", "epochs": 8, "flip": True, "erase": 0.0},
        (0,), 0.935, 13.0,
    ),
}  # fmt: skip


def run() -> None:
    """Train, write the results after each training, and print them."""
    remarks = [f"{name}: {setting.words}" for name, setting in SETTINGS.items()]
    runs: dict[str, list[Run]] = {}
    tables: list[TextTable] = []
    for name, setting in SETTINGS.items():
        if not (DATA / name).is_dir():
            remarks.append(f"{name}: skipped, there is no {DATA / name}")
            continue
        runs[name] = []
        for seed in setting.seeds:
            training = time_training(name, f"seed {seed}", partial(_train, name, seed))
            runs[name].append(training)
            tables = _write(runs, remarks)
    for table in tables:
        print_text_table(table)
    print_remarks(remarks)


def _train(name: str, seed: int, out: str) -> Training:
    return train(DATA / name, out=out, seed=seed, **SETTINGS[name].options)


def _write(runs: Mapping[str, Sequence[Run]], remarks: Sequence[str]) -> list[TextTable]:
    """Write the results of the trainings so far and return their tables."""
    tables = [_make_table(name, list(trainings)) for name, trainings in runs.items()]
    content = {
        name: {"setting": SETTINGS[name].words, "runs": [vars(each) for each in trainings]}
        for name, trainings in runs.items()
    }
    write_results("mnist", content, tables=tables, remarks=remarks)
    return tables


def _make_table(name: str, runs: list[Run]) -> TextTable:
    setting = SETTINGS[name]
    lowest = min(each.accuracy for each in runs)
    return make_table(name, runs, "minimum", lowest, setting.accuracy, setting.minutes)
