"""What stands beside a picture: the bar of its scale with numbers, words beneath, boxes on it."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor

from convlens.drawing.lettering import LINE, PAPER, SIZE, Word, draw_text, text_width, wrap_text
from convlens.drawing.overlays import overlay

_RAMP = 12  # pixels across the bar
_GAP = 8  # between picture, bar and numbers
_LEFT = 60  # for the numbers, at least
_UNIT = 110  # of a line of the unit, at most
_FRAME = ((0, 0, 0), (255, 255, 255))  # outside and inside of a box's line: one of them is seen

Sides = tuple[float, ...]  # left, top, right, bottom


def overlay_colors(steps: int) -> Tensor:
    """The colors of `overlay` on mid-gray, from minus the scale to plus it: uint8 `(steps, 3)`."""
    gray = torch.full((1, steps, 3), 128, dtype=torch.uint8)
    return overlay(gray, torch.linspace(-1, 1, steps)[None], 1.0)[0]


def add_signed_color_bar(picture: Tensor, scale: float, unit: str) -> Tensor:
    """A picture with the bar of its signed scale on the right, as `overlay` paints on mid-gray.

    Args:
        picture: uint8 `(H, W, 3)`.
        scale: the magnitude at the ends of the bar.
        unit: stands beside the zero.

    Returns:
        uint8 `(H, W', 3)`.
    """
    colors = overlay_colors(picture.shape[0]).flip(0)[:, None].expand(-1, _RAMP, -1)
    return add_color_bar(picture, colors, (f"−{scale:.2g}", f"0 {unit}", f"+{scale:.2g}"))


def add_color_bar(picture: Tensor, colors: Tensor, marks: Sequence[str], unit: str = "") -> Tensor:
    """A picture with the bar of its colors on the right, and what the bar stands for.

    Args:
        picture: uint8 `(H, W, 3)`.
        colors: uint8 `(h, w, 3)`, the greatest number on top, as `bar(upright=True)` gives it.
        marks: texts for the least number, maybe one for the middle, and the greatest.
        unit: stands under the bar.

    Returns:
        uint8 `(H', W', 3)`, larger on the right, and at the bottom where the bar needs it.
    """
    high, wide = colors.shape[:2]
    under = wrap_text(unit, _UNIT) if unit else []
    room = max(_LEFT, *map(text_width, marks), *(text_width(line) - wide - _GAP for line in under))
    below = high + (_GAP + LINE * len(under) if under else 0)
    left = picture.shape[1] + _GAP
    made = torch.tensor(PAPER, dtype=torch.uint8).repeat(
        max(len(picture), below, SIZE + 4), left + wide + _GAP + room, 1
    )
    made[: len(picture), : picture.shape[1]] = picture
    made[:high, left : left + wide] = colors
    last = max(1, len(marks) - 1)
    words: list[Word] = [
        (left + wide + _GAP, (1 - at / last) * max(0, high - SIZE - 2), mark)
        for at, mark in enumerate(marks)
    ]
    words += [(left, high + _GAP + at * LINE, line) for at, line in enumerate(under)]
    return draw_text(made, words)


def add_caption(picture: Tensor, words: str) -> Tensor:
    """A picture with words beneath it, in as many lines as they take: uint8 `(H', W, 3)`."""
    lines = wrap_text(words, picture.shape[1])
    strip = torch.tensor(PAPER, dtype=torch.uint8).repeat(
        LINE * len(lines) + 4, picture.shape[1], 1
    )
    return torch.cat(
        [picture, draw_text(strip, [(0, 3 + at * LINE, line) for at, line in enumerate(lines)])]
    )


def draw_boxes(picture: Tensor, boxes: Sequence[Sides]) -> Tensor:
    """A picture with the outlines of boxes, in a line of black and white.

    Args:
        picture: uint8 `(H, W, 3)`.
        boxes: left, top, right and bottom of each in pixels, 0 being the first pixel's outer edge.
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


def render_figure(figure: Figure, dpi: int | None = None) -> Tensor:
    """A matplotlib figure as pixels: uint8 `(H, W, 3)`; `dpi` pixels an inch, or its own."""
    if dpi is not None:
        figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())
