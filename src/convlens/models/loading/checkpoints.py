"""The checkpoints that a training saved, as Models."""

from pathlib import Path

from convlens.errors import ConvlensError
from convlens.models.loading.load import load
from convlens.models.loading.run_folder import find_run_folder, read_run_folder
from convlens.models.model import Model


def load_checkpoints(spec: str | Path, *, device: str | None = None) -> list[tuple[int, Model]]:
    """Load the checkpoints that a training saved along the way.

    Args:
        spec: the run folder of a training.
        device: `cpu` or an available accelerator; default: the CPU.

    Returns:
        Training step and Model of each checkpoint, in order of steps.

    Raises:
        ConvlensError: no run folder, or a run without such checkpoints.
    """
    located = find_run_folder(str(spec))
    if located is None or located[1]:
        raise ConvlensError(
            f"{spec} is not the folder of a training; checkpoints are saved by "
            f"convlens train DATA --out RUN --checkpoints 5"
        )
    folder = located[0]
    checkpoints = read_run_folder(folder).checkpoints()
    return [(step, load(f"{folder}@{name}", device=device)) for step, name in checkpoints]
