"""Sheets for people: pictures in rows with words at each, a title above, a bar on the right."""

from collections.abc import Sequence

import torch
from torch import Tensor

from convlens.drawing.lettering import LINE, PAPER, SIZE, Word, draw_text, text_width, wrap_text
from convlens.errors import ConvlensError

_EDGE = (190, 190, 186)  # a line around each tile, as white ones would run into the paper
_MARGIN = 6  # around the whole
_AIR = 3  # between a tile and its words
_BESIDE = 6  # between a tile and the words on its left
_TITLE = 360  # pixels that a title has at least, before it is broken


def make_sheet(
    tiles: Sequence[Tensor | None],
    columns: int,
    *,
    captions: Sequence[str] = (),
    heads: Sequence[str] = (),
    sides: Sequence[str] = (),
    gap: int = 8,
    least: int = 0,
) -> Tensor:
    """Pictures in rows from the top left, with words at each; the tiles stay as they are.

    Args:
        tiles: uint8 `(H, W, 3)` each, with a thin line around it; None leaves a cell without one.
            Smaller ones stand at the lower left of their cells, on their caption.
        columns: tiles in a row, at most.
        captions: beneath each tile, broken into lines as wide as the widest tile.
        heads: above each column; of several lines the first stands at the tile's left end, the last
            at its right end.
        sides: on the left of each row; of several lines the first stands at the top of the tile,
            the last at its bottom.
        gap: pixels between cells.
        least: pixels of a line of a caption, at least.

    Returns:
        uint8 `(H, W, 3)`.

    Raises:
        ConvlensError: no tiles or no columns, or another number of captions than of tiles.
    """
    drawn = [tile for tile in tiles if tile is not None]
    if not drawn or columns < 1 or (captions and len(captions) != len(tiles)):
        raise ConvlensError(
            f"a sheet of {len(drawn)} tiles in {columns} columns with {len(captions)} captions; "
            f"give one or more tiles, and a caption for each or none"
        )
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    height = max(len(tile) for tile in drawn)
    widest = max(tile.shape[1] for tile in drawn)
    under = [wrap_text(one, max(widest, least)) for one in captions]
    above = [head.split("\n") for head in heads]
    beside = [side.split("\n") for side in sides]
    wide_words = [text_width(line) for lines in under for line in lines]
    width = max([widest, *wide_words, *(sum(map(text_width, lines)) for lines in above)])
    beneath = max(map(len, under), default=0) * LINE + (_AIR if under else 0)
    side = max((text_width(line) for lines in beside for line in lines), default=0)
    left = side + (_BESIDE if sides else 0) + _MARGIN
    top = (LINE + _AIR if heads else 0) + _MARGIN
    step_y, step_x = height + beneath + gap, width + gap
    picture = torch.tensor(PAPER, dtype=torch.uint8).repeat(
        top + rows * step_y - gap + _MARGIN, left + columns * step_x - gap + _MARGIN, 1
    )
    words: list[Word] = []
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        y, x = top + row * step_y, left + column * step_x
        if tile is not None:
            high, wide = tile.shape[:2]
            lower = y + height
            edge = torch.tensor(_EDGE, dtype=torch.uint8)
            picture[lower - high - 1 : lower + 1, x - 1 : x + wide + 1] = edge
            picture[lower - high : lower, x : x + wide] = tile
        if under:
            words += [
                (x, y + height + _AIR + number * LINE, line)
                for number, line in enumerate(under[index])
            ]
    for column, lines in enumerate(above):
        for at, line in _spread(lines):
            right = max(0, at * (widest - text_width(line)))
            words.append((left + column * step_x + right, _MARGIN, line))
    for row, lines in enumerate(beside):
        for at, line in _spread(lines):
            down = at * (height - SIZE - 2)
            words.append((left - _BESIDE - text_width(line), top + row * step_y + down, line))
    return draw_text(picture, words)


def _spread(lines: Sequence[str]) -> list[tuple[float, str]]:
    """Lines with their places from 0 to 1; a single one is in the middle."""
    if len(lines) == 1:
        return [(0.5, lines[0])]
    return [(at / (len(lines) - 1), line) for at, line in enumerate(lines)]


def add_title(picture: Tensor, title: str, *notes: str) -> Tensor:
    """A picture with what it is above it, and remarks in a line each under that.

    Args:
        picture: uint8 `(H, W, 3)`; it is made wider where the title needs it.
        title: in bold letters.
        notes: in plain ones.

    Returns:
        uint8, larger at the top, and maybe on the right.
    """
    wide = max(picture.shape[1] - 2 * _MARGIN, _TITLE)
    bold = wrap_text(title, wide, bold=True)
    plain = [line for note in notes if note for line in wrap_text(note, wide)]
    widths = [text_width(line, bold=True) for line in bold] + [text_width(line) for line in plain]
    room = max([picture.shape[1], *(one + 2 * _MARGIN for one in widths)])
    high = _MARGIN + LINE * (len(bold) + len(plain)) + _AIR
    made = torch.tensor(PAPER, dtype=torch.uint8).repeat(high + len(picture), room, 1)
    made[high:, : picture.shape[1]] = picture
    lines: list[Word] = [
        (_MARGIN, _MARGIN + number * LINE, line) for number, line in enumerate([*bold, *plain])
    ]
    return draw_text(draw_text(made, lines[: len(bold)], bold=True), lines[len(bold) :])


def stack_vertically(*parts: Tensor) -> Tensor:
    """Pictures one under the other, level on the left, white beside those that are narrower."""
    room = max(part.shape[1] for part in parts)
    wide = []
    for part in parts:
        free = part.new_full((len(part), room - part.shape[1], 3), 255)
        wide.append(torch.cat([part, free], dim=1))
    return torch.cat(wide)
