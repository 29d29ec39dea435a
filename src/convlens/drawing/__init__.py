"""Numbers to pixels: color maps, grids of pictures, overlays on photos. All uint8, on the CPU."""

from convlens.drawing.captions import (
    ramp,
    rendered,
    with_bar,
    with_boxes,
    with_scale,
    with_words,
)
from convlens.drawing.colormaps import bar, diverging, sequential
from convlens.drawing.grids import enlarge, grid
from convlens.drawing.overlays import overlay, place
from convlens.drawing.plots import half_circle, outer_ring
from convlens.drawing.sheets import beneath, sheet, titled

__all__ = [
    "bar", "beneath", "diverging", "enlarge", "grid", "half_circle", "outer_ring", "overlay",
    "place", "ramp", "rendered", "sequential", "sheet", "titled", "with_bar", "with_boxes",
    "with_scale", "with_words",
]  # fmt: skip
