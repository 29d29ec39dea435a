"""Training with default settings on MNIST and Fashion-MNIST: accuracy and minutes of three seeds.

The data are read as IDX files from the folder `shared/data` beside the checkout. `make reproduce`
compares the accuracies with published ones.
"""

from collections.abc import Callable
from pathlib import Path

from benchmarks.accuracy import HOW, Run, make_table, time_training
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.training import Training, train

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = (0, 1, 2)
# Minimum accuracy of each training, and maximum minutes of a training on two quiet cores.
TARGETS = {"mnist": (0.995, 15.0), "fashion-mnist": (0.935, 30.0)}


def run() -> None:
    """Train, print and write the results after each training, which takes long."""
    runs: dict[str, list[Run]] = {}
    for name in TARGETS:
        if not (DATA / name).is_dir():
            print(f"{name}: skipped, there is no {DATA / name}")
            continue
        runs[name] = []
        for seed in SEEDS:
            runs[name].append(time_training(name, f"seed {seed}", _train_on_files(name, seed)))
            tables = [_make_table(*item) for item in runs.items()]
            content = {each: [vars(training) for training in runs[each]] for each in runs}
            write_results("mnist", {"runs": content}, tables=tables, remarks=[HOW])
        print_text_table(tables[-1])
    print_remarks((HOW,))


def _train_on_files(name: str, seed: int) -> Callable[[str], Training]:
    return lambda out: train(DATA / name, out=out, seed=seed)


def _make_table(name: str, runs: list[Run]) -> TextTable:
    return make_table(name, runs, "minimum", min(each.accuracy for each in runs), *TARGETS[name])
