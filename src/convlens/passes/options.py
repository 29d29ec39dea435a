"""PassOptions: how a pass over a data set runs, whatever the pass computes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from convlens.errors import ConvlensError
from convlens.passes.job import Engine

Progress = Callable[[str, int, int], None]


def no_progress(stage: str, done: int, total: int) -> None:
    """Report nothing: the default of `PassOptions.progress`."""


@dataclass(frozen=True)
class PassOptions:
    """How a pass over a data set runs. None of these options changes what the pass computes.

    Only `batch_size` may change the last bits of floating-point numbers, because a convolution may
    add in another order for another number of images.

    Attributes:
        engine: what runs the pass: `"local"` (this process; the default), `"ray"`, or an engine
            such as `RayEngine(address="auto")`.
        batch_size: images that the network is given at a time. Default: 32, and 16 for Grad-CAM;
            fewer where the images of a batch would have more than 8 million pixels together.
        resume_folder: folder in which the pass saves what it has finished. A pass that was killed
            or interrupted continues from there when it is called again with the same arguments; a
            folder of another pass is refused. Whoever has saved the result removes the folder.
            Default: nothing is saved.
        save_interval: seconds between two saves into `resume_folder`; default 30.
        progress: called with the name of a stage, how many items of it are finished and how many
            there are; default: not called.

    Raises:
        ConvlensError: if `batch_size` is less than 1.

    Example:
        >>> import convlens
        >>> options = convlens.PassOptions(batch_size=8)
        >>> options.batch_size, options.save_interval
        (8, 30.0)
    """

    engine: Engine | str | None = None
    batch_size: int | None = None
    resume_folder: Path | None = None
    save_interval: float = 30.0
    progress: Progress = no_progress

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConvlensError(f"batch size {self.batch_size}; give at least 1")

    def in_subfolder(self, name: str) -> "PassOptions":
        """The options of a further pass of the same analysis, with a resume folder of its own."""
        if self.resume_folder is None:
            return self
        return replace(self, resume_folder=self.resume_folder / name)

    def without_resuming(self) -> "PassOptions":
        """The options of a pass that is so cheap that it always starts from the beginning."""
        return replace(self, resume_folder=None)
