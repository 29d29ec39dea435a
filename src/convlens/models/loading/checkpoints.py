"""The checkpoints that a training saved, as Models."""

from pathlib import Path

from convlens.errors import ConvlensError
from convlens.models.loading.load import load
from convlens.models.loading.run_folder import read_run_folder
from convlens.models.loading.specs import find_run_folder
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

    Example:
        >>> import convlens, numpy
        >>> pixels = numpy.arange(40 * 12 * 12, dtype=numpy.uint8).reshape(40, 12, 12)
        >>> numpy.savez("data.npz", images=pixels, labels=numpy.arange(40) % 2)
        >>> training = convlens.train(
        ...     "data.npz", out="run", network="lenet5", epochs=1, checkpoints=2
        ... )
        >>> [model.size for step, model in convlens.load_checkpoints("run")]
        [(12, 12), (12, 12)]
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
