"""Matplotlib figures as files: vector formats for papers, PNG for everything else."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

from convlens.files import atomic_file, check_figure_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = {".png": 160}  # of the pictures inside vector formats: 300


def write_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure to a file, whole or not at all. Equal figures give equal SVG files.

    Args:
        figure: the figure.
        path: name of the file; its suffix states the format.

    Raises:
        ConvlensError: the suffix is unknown, or the file cannot be written.

    Example:
        >>> from matplotlib.figure import Figure
        >>> write_figure(Figure(), "empty.svg")
    """
    check_figure_file(path)
    suffix = Path(path).suffix.lower()
    # Text stays text, and neither the date nor random identifiers differ between two runs.
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "convlens"}),
        atomic_file(path) as temporary,
    ):
        metadata = {"Date": None} if suffix == ".svg" else None
        figure.savefig(temporary, dpi=_DPI.get(suffix, 300), metadata=metadata)
