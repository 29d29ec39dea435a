"""Prints the result of the train command."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers
from convlens.models.loading.run_folder import CURVES
from convlens.wording import percent

if TYPE_CHECKING:
    from convlens.training import Training

_MOST_CLASSES = 20  # in the table
_LONGEST_NAME = 32  # characters of a class in the table


def show_training(trained: "Training", out: Path, *, json: bool) -> None:
    """Print the accuracy, that of each class, and the command that makes a page about the network.

    Args:
        trained: the result.
        out: the run folder.
        json: print the numbers as JSON instead.
    """
    if _is_helper_process():
        return
    if json:
        print_numbers(trained)
        return
    correct = trained.correct()
    terminal.show(
        f"{trained.recipe['network']}, {trained.parameters:,} parameters: "
        f"{percent(trained.accuracy, 2)} (95 % interval {percent(correct.low, 2)} to "
        f"{percent(correct.high, 2)}) of {trained.validated:,} validation images predicted "
        f"correctly ({trained.held_out})"
    )
    if trained.best_accuracy > trained.accuracy:
        terminal.show(
            f"best checkpoint, after step {trained.best_step:,}: "
            f"{percent(trained.best_accuracy, 2)}, selected on these same images"
        )
    _show_classes(trained)
    terminal.show(f"curves: {Path(trained.folder) / CURVES}")
    terminal.show(f"convlens report --model {shlex.quote(str(out))}")
    terminal.show(str(out.resolve()))


def _show_classes(trained: "Training") -> None:
    """A row for each class, the weakest first."""
    accuracies, weakest = trained.class_accuracies(), trained.weakest_classes()
    table = terminal.table("class", ">images", ">right", ">share", ">95 % interval")
    for index in weakest[:_MOST_CLASSES]:
        share = accuracies[index]
        table.add_row(
            _shorten(trained.labels[index]), f"{share.total:,}", f"{share.count:,}",
            percent(share.share, 1), f"{percent(share.low, 1)} to {percent(share.high, 1)}",
        )  # fmt: skip
    terminal.show(table)
    if len(weakest) > _MOST_CLASSES:
        terminal.show(f"the {_MOST_CLASSES} weakest of {len(weakest)} classes")


def _shorten(label: str) -> str:
    return label if len(label) <= _LONGEST_NAME else f"{label[: _LONGEST_NAME - 1]}…"


def _is_helper_process() -> bool:
    """Whether another process that runs the same command started this one."""
    from torch import distributed

    together = distributed.is_available() and distributed.is_initialized()
    return together and distributed.get_rank() > 0
