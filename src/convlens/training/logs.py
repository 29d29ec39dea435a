"""The history of a training as files: a CSV table, and TensorBoard events on request."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from convlens.errors import ConvlensError
from convlens.files import atomic_file

CSV = "log.csv"
LOG_FORMATS = ("csv", "tensorboard")
_TENSORBOARD_FOLDER = "tensorboard"


def check_log_format(log: str) -> None:
    """Raise ConvlensError for an unknown log format, or if its library is not installed."""
    if log not in LOG_FORMATS:
        raise ConvlensError(f"log {log!r}; give {' or '.join(LOG_FORMATS)}")
    if log == "tensorboard":
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            raise ConvlensError(
                "TensorBoard is not installed; pip install tensorboard, or leave --log out"
            ) from None


def write_csv(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the complete history as `log.csv`, a row for each epoch."""
    with atomic_file(folder / CSV) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(history[0]))
        table.writeheader()
        table.writerows(history)


def write_tensorboard(folder: Path, row: Mapping[str, float]) -> None:
    """Add one epoch to the TensorBoard events; later events, written before a kill, are purged."""
    from torch.utils.tensorboard import SummaryWriter

    step = int(row["step"])
    with SummaryWriter(str(folder / _TENSORBOARD_FOLDER), purge_step=step) as writer:
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(name, value, step)
