"""Pictures as uint8 pixels on the CPU, and matplotlib figures.

colormaps.py      color maps and color bars
grids.py          grids of pictures, enlarged pixels
sheets.py         pictures in rows with captions and headings
captions.py       color bars with numbers, text below pictures, outlines
lettering.py      text in pictures
palette.py        the colors of text, lines and areas in figures
overlays.py       maps over photos
plots.py          orientations and frequencies as dots
figures.py        figures of pictures in rows
bars.py           bar charts
boards.py         grids of numbers
reliability.py    reliability diagrams
result_figure.py  the figure that notebooks display
figure_files.py   figures as files
"""

from convlens.drawing.bars import Bars, bar_figure
from convlens.drawing.captions import (
    add_caption,
    add_color_bar,
    add_signed_color_bar,
    draw_boxes,
    overlay_colors,
    render_figure,
)
from convlens.drawing.colormaps import color_bar, diverging_colors, sequential_colors
from convlens.drawing.figures import Panel, Scale, grid_figure, new_figure, picture_figure
from convlens.drawing.grids import enlarge, fit_tile, make_grid, reduce_map
from convlens.drawing.overlays import overlay, place_map
from convlens.drawing.plots import outer_radius, plot_orientations
from convlens.drawing.reliability import ReliabilityBins, reliability_figure
from convlens.drawing.sheets import add_title, make_sheet, stack_vertically

__all__ = [
    "Bars",
    "Panel",
    "ReliabilityBins",
    "Scale",
    "add_caption",
    "add_color_bar",
    "add_signed_color_bar",
    "add_title",
    "bar_figure",
    "color_bar",
    "diverging_colors",
    "draw_boxes",
    "enlarge",
    "fit_tile",
    "grid_figure",
    "make_grid",
    "make_sheet",
    "new_figure",
    "outer_radius",
    "overlay",
    "overlay_colors",
    "picture_figure",
    "place_map",
    "plot_orientations",
    "reduce_map",
    "reliability_figure",
    "render_figure",
    "sequential_colors",
    "stack_vertically",
]
