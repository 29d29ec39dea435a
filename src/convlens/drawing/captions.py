"""What stands beside a picture: the bar of its scale with numbers, words beneath, boxes on it."""

import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib import get_data_path
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from convlens.drawing.overlays import overlay

_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_SIZE = 11  # of the letters, in pixels
_LINE = 16  # from one line of words to the next
_RAMP = 12  # pixels across the bar
_GAP = 8  # between picture, bar and numbers
_LEFT = 60  # for the numbers
_FRAME = ((0, 0, 0), (255, 255, 255))  # outside and inside of a box's line: one of them is seen

Sides = tuple[float, ...]  # left, top, right, bottom


def ramp(steps: int) -> Tensor:
    """The colours of `overlay` on mid-grey, from minus the scale to plus it: uint8 `(steps, 3)`."""
    grey = torch.full((1, steps, 3), 128, dtype=torch.uint8)
    return overlay(grey, torch.linspace(-1, 1, steps)[None], 1.0)[0]


def with_bar(picture: Tensor, scale: float, unit: str) -> Tensor:
    """A picture with the bar of its signed scale on the right, as `overlay` paints on mid-grey.

    Args:
        picture: uint8 `(H, W, 3)`.
        scale: the magnitude at the ends of the bar.
        unit: stands beside the zero.

    Returns:
        uint8 `(H, W', 3)`.
    """
    height = picture.shape[0]
    margin = torch.tensor(_PAPER, dtype=torch.uint8).repeat(height, _GAP * 2 + _RAMP + _LEFT, 1)
    margin[:, _GAP : _GAP + _RAMP] = ramp(height).flip(0)[:, None]
    image = Image.fromarray(margin.numpy())
    draw = ImageDraw.Draw(image)
    left = 2 * _GAP + _RAMP
    for at, words in ((0.0, f"+{scale:.2g}"), (0.5, f"0 {unit}"), (1.0, f"−{scale:.2g}")):
        draw.text((left, at * (height - _SIZE - 2)), words, fill=_INK, font=_font())
    return torch.cat([picture, torch.from_numpy(np.array(image))], dim=1)


def with_words(picture: Tensor, words: str) -> Tensor:
    """A picture with words beneath it, in as many lines as they take: uint8 `(H', W, 3)`."""
    width = picture.shape[1]
    lines = textwrap.wrap(words, max(8, int(width / (_SIZE * 0.58)))) or [""]
    strip = Image.new("RGB", (width, _LINE * len(lines) + 4), _PAPER)
    draw = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        draw.text((0, 3 + number * _LINE), line, fill=_INK, font=_font())
    return torch.cat([picture, torch.from_numpy(np.array(strip))])


def with_boxes(picture: Tensor, boxes: Sequence[Sides]) -> Tensor:
    """A picture with the outlines of boxes, in a line of black and white.

    Args:
        picture: uint8 `(H, W, 3)`.
        boxes: left, top, right and bottom of each in pixels, 0 being the first pixel's outer edge.
    """
    image = Image.fromarray(picture.numpy())
    draw = ImageDraw.Draw(image)
    for left, top, right, bottom in boxes:
        corners = round(left), round(top), round(right) - 1, round(bottom) - 1
        for inset, colour in enumerate(_FRAME):
            x0, y0, x1, y1 = (
                corners[0] + inset, corners[1] + inset, corners[2] - inset, corners[3] - inset,
            )  # fmt: skip
            if x0 <= x1 and y0 <= y1:
                draw.rectangle((x0, y0, x1, y1), outline=colour)
    return torch.from_numpy(np.array(image))


def rendered(figure: Figure, dpi: int | None = None) -> Tensor:
    """A matplotlib figure as pixels: uint8 `(H, W, 3)`; `dpi` pixels an inch, or its own."""
    if dpi is not None:
        figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())


@cache
def _font() -> ImageFont.FreeTypeFont:
    # matplotlib's own, as Pillow's has neither a minus nor a multiplication sign.
    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _SIZE)
