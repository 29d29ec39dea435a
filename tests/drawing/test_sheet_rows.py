"""Rows of sheets that differ in height, and the room of the text beneath a color bar."""

import torch

from convlens.drawing import add_color_bar, color_bar, make_sheet
from convlens.drawing.lettering import PAPER
from support.drawn import corner


def tile(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 200, (height, width, 3), dtype=torch.uint8, generator=generator)


def test_a_row_of_small_tiles_takes_no_more_room_than_they_need():
    small, large = [tile(10, 30, seed) for seed in (0, 1)], [tile(80, 30, seed) for seed in (2, 3)]
    sheet = make_sheet([*small, *large], 2)
    assert corner(sheet, small[0])[0] == corner(sheet, small[1])[0] < 10
    assert len(sheet) < 10 + 80 + 30
    assert corner(sheet, large[0])[0] > corner(sheet, small[0])[0] + 10


def test_the_smaller_tile_of_a_row_stands_on_the_line_of_the_larger():
    small, large = tile(10, 30, 0), tile(40, 30, 1)
    sheet = make_sheet([small, large], 2, captions=["a", "b"])
    assert corner(sheet, small)[0] + 10 == corner(sheet, large)[0] + 40


def test_a_row_is_high_enough_for_the_lines_on_its_left():
    flat = tile(4, 30, 0)
    sides = ["first\nsecond\nthird"]
    inked = (make_sheet([flat], 1, sides=sides) != torch.tensor(PAPER)).any(dim=2)
    left = int(inked.any(dim=0).nonzero()[-1]) - 32  # of the tile and the line around it
    lines = inked[:, :left].any(dim=1).int().diff().eq(1).sum()
    assert int(lines) >= 3  # rows of letters with paper between them


def test_the_unit_beneath_a_bar_does_not_touch_the_edge():
    bar = color_bar(80, colors="gray", upright=True)
    sheet = add_color_bar(tile(90, 40, 0), bar, ("0", "1"), "weight: of red, green and blue")
    inked = (sheet != torch.tensor(PAPER)).any(dim=2).any(dim=0)
    assert not inked[-4:].any()
