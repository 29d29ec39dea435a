"""Captions of pictures: color bars with numbers, text below, outlines of boxes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from convlens.drawing.lettering import LINE, PAPER, SIZE, Word, draw_text, text_width, wrap_text
from convlens.drawing.overlays import overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BAR_WIDTH = 12  # pixels
_GAP = 8  # between picture, bar and numbers
_LEAST_NUMBER_WIDTH = 60
_MOST_UNIT_WIDTH = 110  # of a line
_FRAME = ((0, 0, 0), (255, 255, 255))  # outer and inner line of a box: one is always visible

Sides = tuple[float, ...]  # left, top, right, bottom


def overlay_colors(steps: int) -> Tensor:
    """The colors of `overlay` on mid-gray from -scale to +scale, uint8 `(steps, 3)`."""
    gray = torch.full((1, steps, 3), 128, dtype=torch.uint8)
    return overlay(gray, torch.linspace(-1, 1, steps, dtype=torch.float32)[None], 1.0)[0]


def add_signed_color_bar(picture: Tensor, scale: float, unit: str) -> Tensor:
    """Add the color bar of an overlay to the right of a picture.

    Args:
        picture: uint8 `(H, W, 3)`.
        scale: magnitude at both ends of the bar.
        unit: text beside the zero.

    Returns:
        uint8 `(H, W', 3)`.
    """
    colors = overlay_colors(picture.shape[0]).flip(0)[:, None].expand(-1, _BAR_WIDTH, -1)
    return add_color_bar(picture, colors, (f"−{scale:.2g}", f"0 {unit}", f"+{scale:.2g}"))


def add_color_bar(picture: Tensor, colors: Tensor, marks: Sequence[str], unit: str = "") -> Tensor:
    """Add a color bar to the right of a picture.

    Args:
        picture: uint8 `(H, W, 3)`.
        colors: uint8 `(h, w, 3)`, highest number on top, as `color_bar(upright=True)` makes it.
        marks: text of the lowest number, optionally of the middle, and of the highest.
        unit: text below the bar; default: none.

    Returns:
        uint8 `(H', W', 3)`, extended on the right and, if the bar needs it, at the bottom.
    """
    high, wide = colors.shape[:2]
    under = wrap_text(unit, _MOST_UNIT_WIDTH) if unit else []
    text_room = max(
        _LEAST_NUMBER_WIDTH,
        *map(text_width, marks),
        *(text_width(line) - wide for line in under),
    )
    below = high + (_GAP + LINE * len(under) if under else 0)
    left = picture.shape[1] + _GAP
    canvas = torch.tensor(PAPER, dtype=torch.uint8).repeat(
        max(len(picture), below, SIZE + 4), left + wide + _GAP + text_room, 1
    )
    canvas[: len(picture), : picture.shape[1]] = picture
    canvas[:high, left : left + wide] = colors
    last = max(1, len(marks) - 1)
    words: list[Word] = [
        (left + wide + _GAP, (1 - at / last) * max(0, high - SIZE - 2), mark)
        for at, mark in enumerate(marks)
    ]
    words += [(left, high + _GAP + at * LINE, line) for at, line in enumerate(under)]
    return draw_text(canvas, words)


def add_caption(picture: Tensor, words: str) -> Tensor:
    """Add text below a picture, in as many lines as it needs.

    Args:
        picture: uint8 `(H, W, 3)`.
        words: the text.

    Returns:
        uint8 `(H', W, 3)`.
    """
    lines = wrap_text(words, picture.shape[1])
    strip = torch.tensor(PAPER, dtype=torch.uint8).repeat(
        LINE * len(lines) + 4, picture.shape[1], 1
    )
    return torch.cat(
        [picture, draw_text(strip, [(0, 3 + at * LINE, line) for at, line in enumerate(lines)])]
    )


def draw_boxes(picture: Tensor, boxes: Sequence[Sides]) -> Tensor:
    """Draw the outlines of boxes in black and white.

    Args:
        picture: uint8 `(H, W, 3)`.
        boxes: left, top, right and bottom of each box in pixels; 0 is the outer edge of the first
            pixel.

    Returns:
        uint8 `(H, W, 3)`, a copy.
    """
    image = Image.fromarray(picture.numpy())
    draw = ImageDraw.Draw(image)
    for left, top, right, bottom in boxes:
        corners = round(left), round(top), round(right) - 1, round(bottom) - 1
        for inset, color in enumerate(_FRAME):
            x0, y0, x1, y1 = (
                corners[0] + inset, corners[1] + inset, corners[2] - inset, corners[3] - inset,
            )  # fmt: skip
            if x0 <= x1 and y0 <= y1:
                draw.rectangle((x0, y0, x1, y1), outline=color)
    return torch.from_numpy(np.array(image))


def render_figure(figure: "Figure", dpi: int | None = None) -> Tensor:
    """Render a matplotlib figure.

    Args:
        figure: the figure.
        dpi: pixels an inch; default: that of the figure.

    Returns:
        uint8 `(H, W, 3)`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if dpi is not None:
        figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())
