"""Accuracy of a training at its defaults, and the time that it takes, with several seeds.

MNIST and Fashion-MNIST are read from a folder `data` in `shared` beside the checkout, as IDX
files; without them only the digits are measured.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.tables import RESULTS, tell
from benchmarks.timing import machine
from convlens.training import Dataset, Training, open_data, train

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = (0, 1, 2)
FOLDS = 5
# Least share right of each run's final checkpoint (of all folds together for the digits), and
# most minutes that a run may take on two quiet cores.
TARGETS = {"mnist": (0.995, 15.0), "fashion-mnist": (0.935, 30.0), "digits": (0.98, 1.0)}

_Run = tuple[str, float, float]  # which, share right, minutes


def run() -> None:
    """Train, print and keep."""
    rows: dict[str, list[_Run]] = {"digits": _folds()}
    _show("digits", rows["digits"])
    for name in ("mnist", "fashion-mnist"):
        if not (DATA / name).is_dir():
            print(f"{name}: skipped, there is no {DATA / name}")
            continue
        rows[name] = [_timed(f"seed {seed}", name, _from_files(name, seed)) for seed in SEEDS]
        _show(name, rows[name])
    tell(("convlens at its defaults; minutes with reading the data and each epoch's validation",))
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine(), "targets": TARGETS, "rows": rows}
    path = RESULTS / "accuracy.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def _from_files(name: str, seed: int) -> Callable[[str], Training]:
    return lambda out: train(DATA / name, out=out, seed=seed)


def _in_memory(data: Dataset) -> Callable[[str], Training]:
    return lambda out: train(data, out=out)


def _folds() -> list[_Run]:
    """Five-fold cross-validation: each image is tested once, by a network that never saw it."""
    whole = open_data("digits")
    every = torch.cat([whole.train.pixels, whole.validation.pixels])
    classes = torch.cat([whole.train.classes, whole.validation.classes])
    fold = torch.randperm(len(every), generator=torch.Generator().manual_seed(0)) % FOLDS
    runs = []
    for number in range(FOLDS):
        held = fold == number
        data = replace(
            whole,
            train=type(whole.train)(every[~held], classes[~held]),
            validation=type(whole.train)(every[held], classes[held]),
            held_out=f"fold {number + 1} of {FOLDS}",
        )
        runs.append(_timed(data.held_out, "digits", _in_memory(data)))
    return runs


def _timed(which: str, name: str, work: Callable[[str], Training]) -> _Run:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        accuracy = work(folder).accuracy
        minutes = (time.perf_counter() - began) / 60
    print(f"{name}, {which}: {accuracy:.2%} in {minutes:.1f} min", flush=True)
    return which, accuracy, minutes


def _show(name: str, runs: list[_Run]) -> None:
    least, most = TARGETS[name]
    shares, minutes = [share for _, share, _ in runs], [taken for _, _, taken in runs]
    # The folds of the digits are parts of one measurement; seeds are measurements of their own.
    reached = statistics.mean(shares) if name == "digits" else min(shares)
    table = Table(title=name, title_justify="left")
    for heading in ("", "right", "minutes"):
        table.add_column(heading, justify="right" if heading else "left")
    for which, share, taken in runs:
        table.add_row(which, f"{share:.2%}", f"{taken:.2f}")
    table.add_row("mean" if name == "digits" else "least", f"{reached:.2%}", f"{max(minutes):.2f}")
    table.add_row("target", f"{least:.1%}", f"{most:g}")
    met = reached >= least and max(minutes) <= most
    table.caption = "met" if met else "MISSED"
    Console().print(table)
