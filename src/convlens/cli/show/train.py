"""Prints the result of the train command."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.training import Training


def show_training(trained: "Training", out: Path, *, json: bool) -> None:
    """Print accuracy, the run folder and the command that makes a report about the network."""
    if _is_helper_process():
        return
    if json:
        terminal.print_json(trained.to_json())
        return
    terminal.show(
        f"{trained.recipe['network']}, {trained.parameters:,} parameters: {trained.accuracy:.2%} "
        f"of {trained.validated:,} validation images predicted correctly ({trained.held_out})"
    )
    if trained.best_accuracy > trained.accuracy:
        terminal.show(
            f"best checkpoint, after step {trained.best_step:,}: {trained.best_accuracy:.2%}, "
            f"selected on these same images"
        )
    terminal.show(f"convlens report PHOTOS --model {shlex.quote(str(out))}")
    terminal.show(str(out.resolve()))


def _is_helper_process() -> bool:
    """Whether another process that runs the same command started this one."""
    from torch import distributed

    together = distributed.is_available() and distributed.is_initialized()
    return together and distributed.get_rank() > 0
