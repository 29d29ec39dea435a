"""Text in pictures: its width, line breaks and drawing, the same on every machine."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from convlens.text import printable

PAPER, INK = (255, 255, 255), (40, 40, 40)
SIZE = 11  # of the font, in pixels
LINE = 15  # pixels from one line to the next

Word = tuple[float, float, str]  # a text, after its distance from the left and the top in pixels


def text_width(text: str, *, bold: bool = False) -> int:
    """Width of one line of text in pixels."""
    return int(np.ceil(load_font(bold).getlength(printable(text))))


def wrap_text(text: str, width: int, *, bold: bool = False) -> list[str]:
    """Break a text between words into lines, and at its own line breaks.

    Args:
        text: the text.
        width: largest width of a line in pixels; a single word may be wider.
        bold: measure bold letters; default: False.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and text_width(longer, bold=bold) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def draw_text(pixels: Tensor, words: Sequence[Word], *, bold: bool = False) -> Tensor:
    """Draw texts on a copy of a picture uint8 `(H, W, 3)`, each at its upper left corner."""
    image = Image.fromarray(pixels.numpy())
    draw = ImageDraw.Draw(image)
    for x, y, text in words:
        draw.text((round(x), round(y)), printable(text), fill=INK, font=load_font(bold))
    return torch.from_numpy(np.array(image))


@cache
def load_font(bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's font; Pillow's own has neither a minus nor a multiplication sign."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(get_data_path()) / "fonts" / "ttf" / name
    # Pillow's basic layout, as the other one depends on installed libraries.
    return ImageFont.truetype(path, SIZE, layout_engine=ImageFont.Layout.BASIC)
