"""Words in pictures: how wide they are, where they break, and drawing them. Always alike."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

PAPER, INK = (255, 255, 255), (40, 40, 40)
SIZE = 11  # of the letters, in pixels
LINE = 15  # from one line of words to the next

Word = tuple[float, float, str]  # pixels from the left and from the top, and a text


def text_width(text: str, *, bold: bool = False) -> int:
    """Pixels that one line of words takes."""
    return int(np.ceil(load_font(bold).getlength(text)))


def wrap_text(text: str, width: int, *, bold: bool = False) -> list[str]:
    """A text broken between words into lines of at most `width` pixels, and at its own breaks.

    A word that is wider stands in a line of its own, and sticks out.
    """
    lines = []
    for own in text.split("\n"):
        line = ""
        for word in own.split():
            longer = f"{line} {word}".strip()
            if line and text_width(longer, bold=bold) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def draw_text(pixels: Tensor, words: Sequence[Word], *, bold: bool = False) -> Tensor:
    """A picture uint8 `(H, W, 3)` with words on it, each by its upper left corner."""
    image = Image.fromarray(pixels.numpy())
    draw = ImageDraw.Draw(image)
    for x, y, text in words:
        draw.text((round(x), round(y)), text, fill=INK, font=load_font(bold))
    return torch.from_numpy(np.array(image))


@cache
def load_font(bold: bool = False) -> ImageFont.FreeTypeFont:
    """The letters: matplotlib's own, as Pillow's have neither a minus nor a multiplication sign."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(get_data_path()) / "fonts" / "ttf" / name
    # Pillow's plain layout: the other one depends on what else is installed.
    return ImageFont.truetype(path, SIZE, layout_engine=ImageFont.Layout.BASIC)
