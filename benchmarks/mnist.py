"""Training with default settings on MNIST and Fashion-MNIST: accuracy and minutes of three seeds.

The data are read as IDX files from the folder `shared/data` beside the checkout. `make reproduce`
compares the accuracies with published ones.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.accuracy import HOW, Run, make_table, time_training
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.training import Training, train

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = (0, 1, 2)
# Minimum accuracy of each training, and maximum minutes of a training on two quiet cores.
TARGETS = {"mnist": (0.995, 15.0), "fashion-mnist": (0.935, 30.0)}


def run() -> None:
    """Train, write the results after each training, which takes long, and print them."""
    names = [name for name in TARGETS if (DATA / name).is_dir()]
    missing = [
        f"{name}: skipped, there is no {DATA / name}" for name in TARGETS if name not in names
    ]
    remarks = (HOW, *missing)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    tables = _write(runs, remarks)
    for seed in SEEDS:
        for name in names:
            runs[name].append(time_training(name, f"seed {seed}", _train_on_files(name, seed)))
            tables = _write(runs, remarks)
    for table in tables:
        print_text_table(table)
    print_remarks(remarks)


def _write(runs: dict[str, list[Run]], remarks: Sequence[str]) -> list[TextTable]:
    """Write the results of the trainings so far and return their tables."""
    finished = {name: trainings for name, trainings in runs.items() if trainings}
    tables = [_make_table(name, trainings) for name, trainings in finished.items()]
    content = {name: [vars(each) for each in trainings] for name, trainings in finished.items()}
    write_results("mnist", {"runs": content}, tables=tables, remarks=remarks)
    return tables


def _train_on_files(name: str, seed: int) -> Callable[[str], Training]:
    return lambda out: train(DATA / name, out=out, seed=seed)


def _make_table(name: str, runs: list[Run]) -> TextTable:
    return make_table(name, runs, "minimum", min(each.accuracy for each in runs), *TARGETS[name])
