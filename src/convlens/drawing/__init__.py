"""Numbers to pixels: colour maps, grids of pictures, overlays on photos. All uint8, on the CPU."""

from convlens.drawing.colormaps import bar, diverging, sequential
from convlens.drawing.grids import enlarge, grid
from convlens.drawing.overlays import overlay, place

__all__ = ["bar", "diverging", "enlarge", "grid", "overlay", "place", "sequential"]
