"""The colors of text, lines and areas in figures.

Where a document holds a figure as SVG, `html.figures` replaces these by the document's own, which
are others in the dark.
"""

INK = "#1d1d1b"  # text
MUTED = "#5f5f59"  # secondary text and lines
LINE = "#b9b9b2"  # frames and grids
ACCENT = "#8d4700"
ACCENT_FILL = "#f3dfc8"
FILL = "#e4e4dd"
SECOND = "#2b5c9e"  # a second accent, where two things are told apart
SECOND_FILL = "#d5e2f4"

CURVES = (ACCENT, SECOND, MUTED, INK)  # colors of curves that name none, in this order
