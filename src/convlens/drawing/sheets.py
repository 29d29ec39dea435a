"""Sheets: pictures in rows with captions and headings, and titles above pictures."""

from collections.abc import Sequence

import torch
from torch import Tensor

from convlens.drawing.lettering import LINE, PAPER, SIZE, Word, draw_text, text_width, wrap_text
from convlens.errors import ConvlensError

_EDGE = (190, 190, 186)  # line around each tile, as white tiles would not stand out
_MARGIN = 6  # around the sheet
_TEXT_GAP = 3  # between a tile and its caption
_SIDE_GAP = 6  # between a tile and the text on its left
_LEAST_TITLE_WIDTH = 360  # pixels, before a title is broken into lines


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
    """Arrange pictures in rows from the top left, with captions; tiles are not resized.

    Args:
        tiles: uint8 `(H, W, 3)` each, framed by a thin line; None leaves a cell empty. A row
            is as high as its highest tile; smaller ones are at the lower left of their cells, next
            to their captions.
        columns: largest number of tiles in a row.
        captions: text below each tile, broken into lines as wide as the widest tile; default: none.
        heads: text above each column; of several lines the first is at the left end of the tile,
            the last at its right end. Default: none.
        sides: text on the left of each row; of several lines the first is at the top of the tile,
            the last at its bottom. Default: none.
        gap: pixels between cells; default: 8.
        least: smallest width of a line of a caption, in pixels; default: 0.

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
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max((len(tile) for tile in row if tile is not None), default=0) for row in rows]
    widest = max(tile.shape[1] for tile in drawn)
    under = [wrap_text(caption, max(widest, least)) for caption in captions]
    above = [head.split("\n") for head in heads]
    beside = [side.split("\n") for side in sides]
    for row, lines in enumerate(beside):
        heights[row] = max(heights[row], LINE * len(lines))
    wide_words = [text_width(line) for lines in under for line in lines]
    width = max([widest, *wide_words, *(sum(map(text_width, lines)) for lines in above)])
    beneath = max(map(len, under), default=0) * LINE + (_TEXT_GAP if under else 0)
    side = max((text_width(line) for lines in beside for line in lines), default=0)
    left = side + (_SIDE_GAP if sides else 0) + _MARGIN
    top = (LINE + _TEXT_GAP if heads else 0) + _MARGIN
    step_x = width + gap
    tops = [top + sum(heights[:row]) + row * (beneath + gap) for row in range(len(rows))]
    picture = torch.tensor(PAPER, dtype=torch.uint8).repeat(
        tops[-1] + heights[-1] + beneath + _MARGIN, left + columns * step_x - gap + _MARGIN, 1
    )
    words: list[Word] = []
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        x, lower = left + column * step_x, tops[row] + heights[row]
        if tile is not None:
            high, wide = tile.shape[:2]
            edge = torch.tensor(_EDGE, dtype=torch.uint8)
            picture[lower - high - 1 : lower + 1, x - 1 : x + wide + 1] = edge
            picture[lower - high : lower, x : x + wide] = tile
        if under:
            words += [
                (x, lower + _TEXT_GAP + number * LINE, line)
                for number, line in enumerate(under[index])
            ]
    for column, lines in enumerate(above):
        for at, line in _spread(lines):
            right = max(0, at * (widest - text_width(line)))
            words.append((left + column * step_x + right, _MARGIN, line))
    for row, lines in enumerate(beside):
        for at, line in _spread(lines):
            down = at * (heights[row] - SIZE - 2)
            words.append((left - _SIDE_GAP - text_width(line), tops[row] + down, line))
    return draw_text(picture, words)


def _spread(lines: Sequence[str]) -> list[tuple[float, str]]:
    """Lines with positions from 0 to 1; a single line is in the middle."""
    if len(lines) == 1:
        return [(0.5, lines[0])]
    return [(at / (len(lines) - 1), line) for at, line in enumerate(lines)]


def add_title(picture: Tensor, title: str, *notes: str) -> Tensor:
    """Add a title and notes above a picture.

    Args:
        picture: uint8 `(H, W, 3)`.
        title: text in bold letters.
        notes: texts in plain letters below the title, each on a line of its own.

    Returns:
        uint8 `(H', W', 3)`, extended at the top and, if the title needs it, on the right.
    """
    wide = max(picture.shape[1] - 2 * _MARGIN, _LEAST_TITLE_WIDTH)
    bold = wrap_text(title, wide, bold=True)
    plain = [line for note in notes if note for line in wrap_text(note, wide)]
    widths = [text_width(line, bold=True) for line in bold] + [text_width(line) for line in plain]
    total_width = max([picture.shape[1], *(width + 2 * _MARGIN for width in widths)])
    high = _MARGIN + LINE * (len(bold) + len(plain)) + _TEXT_GAP
    canvas = torch.tensor(PAPER, dtype=torch.uint8).repeat(high + len(picture), total_width, 1)
    canvas[high:, : picture.shape[1]] = picture
    lines: list[Word] = [
        (_MARGIN, _MARGIN + number * LINE, line) for number, line in enumerate([*bold, *plain])
    ]
    return draw_text(draw_text(canvas, lines[: len(bold)], bold=True), lines[len(bold) :])


def stack_vertically(*parts: Tensor) -> Tensor:
    """Stack pictures, aligned on the left, with white to the right of narrower ones."""
    room = max(part.shape[1] for part in parts)
    wide = []
    for part in parts:
        free = part.new_full((len(part), room - part.shape[1], 3), 255)
        wide.append(torch.cat([part, free], dim=1))
    return torch.cat(wide)
