"""The matplotlib figure that results return: notebooks display it, and its text stays text.

`figures.py` makes it. Importing this module imports matplotlib's figures, which commands that only
write pictures do not need.
"""

import io
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from convlens.drawing.palette import CURVES

NOTEBOOK_DPI = 144  # pixels for each inch in notebooks, three for each two CSS pixels
CSS_DPI = 96  # CSS pixels for each inch

_VECTOR_DPI = 300  # of the pictures inside an SVG or PDF file
_VECTOR = ("svg", "pdf", "eps", "ps")
_STYLE: dict[Any, Any] = {"axes.prop_cycle": cycler(color=CURVES)}


class ResultFigure(Figure):
    """A matplotlib figure that notebooks display, and whose text stays text in vector files.

    Curves that name no color have those of the palette.

    A `Figure` that was not made with pyplot is not displayed by a notebook unless pyplot was
    imported. This one has the method by which Jupyter displays it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"layout": "constrained", **options})

    def add_subplot(self, *args: Any, **options: Any) -> Any:
        """Add axes to a grid, as `Figure.add_subplot` and `Figure.subplots` do."""
        with matplotlib.rc_context(_STYLE):
            return super().add_subplot(*args, **options)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the figure to a file, as `Figure.savefig` does.

        Text in SVG and PDF files is text that can be selected and edited, and pictures inside them
        have 300 pixels for each inch.

        Args:
            fname: path or file.
            **options: options of `Figure.savefig`.
        """
        suffix = str(options.get("format") or fname).rpartition(".")[2].lower()
        if suffix in _VECTOR:
            options.setdefault("dpi", _VECTOR_DPI)
        with matplotlib.rc_context({"svg.fonttype": "none", "pdf.fonttype": 42, "ps.fonttype": 42}):
            super().savefig(fname, **options)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The figure as Jupyter displays it, with its size in CSS pixels."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=NOTEBOOK_DPI)
        width, height = (round(float(side) * CSS_DPI) for side in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}
