"""Cells: Gabor functions, fits of them, gratings, and the visual cortex."""
