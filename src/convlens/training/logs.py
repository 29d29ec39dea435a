"""The history of a training as files: CSV always, TensorBoard on request."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from convlens.errors import ConvlensError
from convlens.files import atomic_file

CSV = "log.csv"
LOGS = ("csv", "tensorboard")
_BOARD = "tensorboard"


def check_log(log: str) -> None:
    """Raise ConvlensError for an unknown kind of log, or one whose library is not installed."""
    if log not in LOGS:
        raise ConvlensError(f"log {log!r}; give {' or '.join(LOGS)}")
    if log == "tensorboard":
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            raise ConvlensError(
                "TensorBoard is not installed; pip install tensorboard, or leave --log out"
            ) from None


def write_csv(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """The whole history, a row for each epoch."""
    with atomic_file(folder / CSV) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(history[0]))
        table.writeheader()
        table.writerows(history)


def add_to_board(folder: Path, row: Mapping[str, float]) -> None:
    """One epoch's numbers; those of later steps, written before a kill, no longer count."""
    from torch.utils.tensorboard import SummaryWriter

    step = int(row["step"])
    with SummaryWriter(str(folder / _BOARD), purge_step=step) as writer:
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(name, value, step)
