"""Accuracies, and what anti-aliased pooling adds, as the benchmarks measured them last."""

import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.reproductions.published_figure import (
    MISSING,
    Outcome,
    PublishedFigure,
    judge,
    percent,
)
from benchmarks.tables import RESULTS

# Benchmarks whose results are read, and about how long they take on two quiet cores.
_LENGTHS = {"mnist": "20 minutes", "antialiasing": "ten minutes"}
_ZHANG = "Zhang, Making Convolutional Networks Shift-Invariant Again, 2019"
# Data set, published accuracy, network and augmentation that reached it, source.
_ACCURACIES = (
    ("mnist", 0.9905, "LeNet-5, not augmented", "LeCun et al., Gradient-Based Learning, 1998"),
    (
        "fashion-mnist", 0.935, "VGG-16, 26 million parameters",
        "table in the README of zalandoresearch/fashion-mnist",
    ),
)  # fmt: skip


def reproductions() -> list[PublishedFigure]:
    """The figures, in the order of the table."""
    accuracies = [
        PublishedFigure(
            f"accuracy on {name}", f"{percent(accuracy, 2)} ({network})", source,
            partial(_read, "mnist", partial(_compare_accuracy, name, accuracy)),
        )
        for name, accuracy, network, source in _ACCURACIES
    ]  # fmt: skip
    blur = PublishedFigure(
        "consistency of shifted crops, max against blur pooling",
        "blur 2.1 to 5.1 points higher (ImageNet)",
        _ZHANG, partial(_read, "antialiasing", _compare_pooling),
    )  # fmt: skip
    return [*accuracies, blur]


def _read(benchmark: str, compare: Callable[[dict[str, Any]], Outcome]) -> Outcome:
    """The outcome by a benchmark's last results."""
    path: Path = RESULTS / f"{benchmark}.json"
    if not path.exists():
        return Outcome(
            f"measure it: make bench ONLY={benchmark} (about {_LENGTHS[benchmark]})", MISSING
        )
    return compare(json.loads(path.read_text(encoding="utf-8")))


def _compare_accuracy(name: str, published: float, results: dict[str, Any]) -> Outcome:
    if name not in results:
        return Outcome(f"the benchmark had no {name}", MISSING)
    shares = [training["accuracy"] for training in results[name]["runs"]]
    mean, low, high = (
        percent(share, 2) for share in (statistics.mean(shares), min(shares), max(shares))
    )
    spread = f"{low} to {high} of {len(shares)} seeds" if len(shares) > 1 else "one seed"
    return judge(f"{mean} ({spread}; {results[name]['setting']})", min(shares) >= published)


def _compare_pooling(results: dict[str, Any]) -> Outcome:
    texts, higher = [], True
    for name in ("digits", "fashion-mnist"):
        if name in results:
            runs = results[name]["runs"]
            plain, blurred = (
                statistics.mean(run["crop"] for run in runs[pooling]) for pooling in ("max", "blur")
            )
            texts.append(f"{name} {percent(plain)} and {percent(blurred)}")
            higher = higher and blurred > plain
    return judge("; ".join(texts), higher)
