"""The checkpoints that a training saved, as Models."""

from pathlib import Path

from convlens.errors import ConvlensError
from convlens.models.loading.load import load
from convlens.models.loading.run_folder import find_run_folder, read_run_folder
from convlens.models.model import Model


def load_checkpoints(spec: str | Path, *, device: str | None = None) -> list[tuple[int, Model]]:
    """Training step and Model of each checkpoint that a training kept, in order.

    Args:
        spec: a run folder.
        device: as for `load`.

    Raises:
        ConvlensError: no run folder, or one without checkpoints.
    """
    found = find_run_folder(str(spec))
    if found is None or found[1]:
        raise ConvlensError(
            f"{spec} is not the folder of a training; checkpoints are kept by "
            f"convlens train DATA --out RUN --checkpoints 5"
        )
    kept = read_run_folder(found[0]).checkpoints()
    return [(step, load(f"{found[0]}@{name}", device=device)) for step, name in kept]
