"""Colors, grids and interpolated maps, compared with numpy and scipy."""

from typing import Any

import numpy as np
import pytest
import scipy.interpolate
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convlens.drawing import (
    add_color_bar,
    add_title,
    color_bar,
    diverging_colors,
    enlarge,
    make_grid,
    make_sheet,
    outer_radius,
    overlay,
    place_map,
    plot_orientations,
    reduce_map,
    sequential_colors,
)
from convlens.drawing.lettering import text_width, wrap_text
from convlens.errors import ConvlensError
from support.drawn import corner, holds

MAGENTA = [255, 0, 255]
WHITE = [255, 255, 255]


class TestDiverging:
    def test_zero_is_white_and_signs_have_their_hue(self):
        colors = diverging_colors(torch.tensor([0.0, 1.0, -1.0, torch.nan]), 1.0)
        assert colors.dtype == torch.uint8
        zero, positive, negative, missing = colors.tolist()
        assert zero == WHITE
        assert positive[0] > 2 * max(positive[1:])  # red
        assert negative[2] > 2 * negative[0]  # blue
        assert missing == MAGENTA

    def test_strength(self):
        reds = diverging_colors(torch.linspace(0, 2, 41), 2.0).double()
        blues = diverging_colors(-torch.linspace(0, 2, 41), 2.0).double()
        for colors in (reds, blues):
            assert (colors.sum(-1).diff() < 0).all()  # ever darker

    def test_saturation(self):
        values = torch.tensor([2.0, 5.0, torch.inf, -2.0, -9.0, -torch.inf])
        colors = diverging_colors(values, 2.0).tolist()
        assert colors[0] == colors[1] == colors[2]
        assert colors[3] == colors[4] == colors[5]
        assert colors[0] != colors[3]

    def test_shape_and_type(self):
        assert diverging_colors(torch.zeros(2, 3, 4, dtype=torch.bfloat16), 1.0).shape == (
            2,
            3,
            4,
            3,
        )
        assert diverging_colors(torch.tensor(0.0), 1.0).tolist() == WHITE

    def test_a_map_of_zeros(self):
        colors = diverging_colors(torch.tensor([0.0, 1e-9]), 0.0).tolist()
        assert colors[0] == WHITE
        assert colors[1] == diverging_colors(torch.tensor(1.0), 1.0).tolist()
        assert diverging_colors(torch.tensor(torch.nan), 0.0).tolist() == MAGENTA

    @pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
    def test_bad_scale(self, scale):
        with pytest.raises(ConvlensError, match="finite number of at least 0"):
            diverging_colors(torch.zeros(2), scale)


class TestSequential:
    def test_ends_and_order(self):
        colors = sequential_colors(torch.tensor([-5.0, 2.0, 3.0, 4.0, 9.0, torch.nan]), 2.0, 4.0)
        assert colors[0].tolist() == colors[1].tolist() == [68, 1, 84]  # viridis' own ends
        assert colors[3].tolist() == colors[4].tolist() == [253, 231, 36]
        assert colors[5].tolist() == MAGENTA
        light = sequential_colors(torch.linspace(0, 1, 20), 0, 1).double() @ torch.tensor(
            [0.299, 0.587, 0.114], dtype=torch.float64
        )
        assert (light.diff() > 0).all()

    def test_no_range(self):
        assert sequential_colors(torch.tensor([3.0, 4.0]), 3.0, 3.0).tolist() == [
            [68, 1, 84],
            [253, 231, 36],
        ]
        with pytest.raises(ConvlensError, match="from 2 to 1"):
            sequential_colors(torch.zeros(1), 2.0, 1.0)


class TestBar:
    def test_lying_and_upright(self):
        lying = color_bar(101, 7)
        assert lying.shape == (7, 101, 3)
        assert lying[3, 50].tolist() == WHITE
        assert torch.equal(lying[0], diverging_colors(torch.linspace(-1, 1, 101).double(), 1.0))
        upright = color_bar(101, 7, upright=True)
        assert torch.equal(upright, lying.transpose(0, 1).flip(0))

    def test_sequential(self):
        picture = color_bar(50, colors="sequential", upright=True)
        assert picture.shape == (50, 12, 3)
        assert picture[0, 0].tolist() == [253, 231, 36]  # the greatest on top


def test_each_pixel_becomes_a_square():
    pixels = torch.randint(0, 256, (3, 4, 3), dtype=torch.uint8)
    assert np.array_equal(enlarge(pixels, 5), np.kron(pixels, np.ones((5, 5, 1), dtype=np.uint8)))
    with pytest.raises(ConvlensError, match="0 times"):
        enlarge(pixels, 0)


class TestGrid:
    def tile(self, height, width, value):
        return torch.full((height, width, 3), value, dtype=torch.uint8)

    def test_rows_and_gaps(self):
        picture = make_grid([self.tile(2, 3, k) for k in range(5)], 3, gap=1, background=(9, 8, 7))
        assert picture.shape == (5, 11, 3)
        assert picture[0, :, 0].tolist() == [0, 0, 0, 9, 1, 1, 1, 9, 2, 2, 2]
        assert picture[4, :, 1].tolist() == [3, 3, 3, 8, 4, 4, 4, 8, 8, 8, 8]
        assert (picture[2] == torch.tensor([9, 8, 7])).all()

    def test_smaller_tiles_stand_in_the_middle(self):
        picture = make_grid([self.tile(3, 5, 1), self.tile(1, 3, 2)], 2, gap=0)
        right = picture[:, 5:, 0]
        assert (right == 2).nonzero().tolist() == [[1, 1], [1, 2], [1, 3]]
        assert (right == 255).sum() == 12

    def test_fewer_tiles_than_columns(self):
        assert make_grid([self.tile(2, 2, 1)], 8).shape == (2, 2, 3)

    def test_nothing_to_draw(self):
        with pytest.raises(ConvlensError, match="0 tiles"):
            make_grid([], 3)


class TestOverlay:
    def test_zero_leaves_the_photo_in_gray(self):
        photo = torch.tensor([[[255, 0, 0], [0, 255, 0], [10, 10, 10]]], dtype=torch.uint8)
        picture = overlay(photo, torch.zeros(1, 3), 1.0)
        assert picture.tolist() == [[[76] * 3, [150] * 3, [10] * 3]]

    def test_strength_is_opacity(self):
        photo = torch.full((1, 5, 3), 100, dtype=torch.uint8)
        strengths = torch.tensor([[0.0, 0.5, 1.0, 2.0, -1.0]])
        picture = overlay(photo, strengths * 3, 3.0).double()[0]
        red, blue = diverging_colors(torch.tensor([0.75, -0.75]), 1.0).double()
        assert torch.allclose(picture[2] - 100, (red - 100) * 0.75, atol=0.51)
        assert torch.allclose(picture[1] - 100, (red - 100) * 0.375, atol=0.51)
        assert torch.equal(picture[3], picture[2])
        assert torch.allclose(picture[4] - 100, (blue - 100) * 0.75, atol=0.51)

    def test_the_photo_can_be_read_where_the_map_is_strongest(self):
        photo = torch.arange(256, dtype=torch.uint8).view(1, 256, 1).expand(1, 256, 3)
        picture = overlay(photo, torch.ones(1, 256), 1.0).double()
        assert picture[0, -1].sum() - picture[0, 0].sum() > 0.24 * 3 * 255

    def test_nan(self):
        photo = torch.zeros(1, 1, 3, dtype=torch.uint8)
        assert overlay(photo, torch.tensor([[torch.nan]]), 1.0).tolist() == [[MAGENTA]]

    def test_shapes_that_differ(self):
        with pytest.raises(ConvlensError, match=r"a map .* for a photo"):
            overlay(torch.zeros(4, 4, 3, dtype=torch.uint8), torch.zeros(4, 5), 1.0)


def plain_place(cells, centers_y, centers_x, size):
    """numpy.interp down each column, then along each row."""
    columns = [np.interp(np.arange(size[0]), centers_y, column) for column in cells.T]
    return np.stack([np.interp(np.arange(size[1]), centers_x, row) for row in np.stack(columns).T])


centers = st.lists(st.floats(-30, 60, width=32), min_size=1, max_size=6, unique=True).map(sorted)


class TestPlace:
    @given(centers, centers, st.integers(1, 30), st.integers(1, 30))
    @settings(max_examples=60, deadline=None)
    def test_against_numpy(self, centers_y, centers_x, height, width):
        cells = np.random.default_rng(0).normal(size=(len(centers_y), len(centers_x)))
        placed = place_map(
            torch.from_numpy(cells),
            torch.tensor(centers_y),
            torch.tensor(centers_x),
            (height, width),
        )
        assert placed.shape == (height, width)
        expected = plain_place(cells, centers_y, centers_x, (height, width))
        assert np.allclose(placed, expected, atol=1e-9)

    def test_against_scipy(self):
        cells = np.random.default_rng(1).normal(size=(4, 5))
        centers_y, centers_x = np.array([0, 3.5, 9, 19]), np.array([-2, 4, 4.25, 11, 40.0])
        oracle = scipy.interpolate.RegularGridInterpolator((centers_y, centers_x), cells)
        y, x = np.meshgrid(np.arange(20), np.arange(30), indexing="ij")
        placed = place_map(
            torch.from_numpy(cells), torch.tensor(centers_y), torch.tensor(centers_x), (20, 30)
        )
        assert np.allclose(placed, oracle((y, x)))

    def test_leading_axes_and_type(self):
        cells = torch.rand(2, 3, 4, 5)
        y, x = torch.tensor([1.0, 4, 7, 10]), torch.tensor([2.0, 3, 5, 8, 9])
        placed = place_map(cells, y, x, (12, 13))
        assert placed.dtype == torch.float32
        assert torch.equal(placed[1, 2], place_map(cells[1, 2], y, x, (12, 13)))

    def test_a_bad_cell_spoils_only_its_neighborhood(self):
        cells = torch.tensor([[0.0, torch.nan, 2.0, 4.0]])
        placed = place_map(cells, torch.tensor([0.0]), torch.tensor([0.0, 2, 4, 6]), (1, 8))[0]
        assert placed.isnan().nonzero().flatten().max() < 4
        assert placed[4:].tolist() == [2, 3, 4, 4]

    def test_cells_that_look_at_the_same_pixel(self):
        cells = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        y = torch.tensor([0.0])
        placed = place_map(cells, y, torch.tensor([1.0, 1, 3, 3]), (1, 5))
        assert placed[0].tolist() == [1, 2, 2.5, 4, 4]

    def test_bad_centers(self):
        cells, good = torch.zeros(2, 2), torch.tensor([0.0, 1.0])
        for bad in ([1.0, 0.0], [0.0, torch.nan], [0.0], [0.0, 1.0, 2.0]):
            with pytest.raises(ConvlensError, match="give one for each cell, in ascending order"):
                place_map(cells, good, torch.tensor(bad), (4, 4))


class TestSheets:
    def tiles(self, count=5):
        generator = torch.Generator().manual_seed(0)
        shape = (count, 20, 30, 3)
        return list(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))

    def test_tiles_are_untouched_and_in_order(self):
        tiles = self.tiles()
        drawn = make_sheet(tiles, 2, captions=["a word that breaks", *"bcde"], heads=["1", "2"])
        places = [corner(drawn, tile) for tile in tiles]
        assert places == sorted(places)
        assert len({y for y, _ in places}) == 3 and len({x for _, x in places}) == 2

    @pytest.mark.parametrize("which", ["captions", "heads", "sides"])
    def test_words_stand_at_their_tile(self, which):
        """Another word changes pixels there alone: beneath, above or on the left."""
        tiles = self.tiles(4)
        plain, second = ["17", "17", "17", "17"], ["17", "17", "17", "18"]
        if which != "captions":
            plain, second = plain[2:], second[2:]
        options: list[dict[str, Any]] = [{which: words} for words in (plain, second)]
        first, two = (make_sheet(tiles, 2, **words) for words in options)
        assert first.shape == two.shape
        ys, xs = (first != two).any(dim=2).nonzero().T
        top, left = corner(first, tiles[{"captions": 3, "heads": 1, "sides": 2}[which]])
        assert len(ys)
        if which == "captions":
            assert top + 20 < int(ys.min()) and int(ys.max()) < top + 40
        elif which == "heads":
            assert int(ys.max()) < top
        else:
            assert int(xs.max()) < left and top <= int(ys.min()) and int(ys.max()) < top + 20
        if which != "sides":
            assert left <= int(xs.min()) and int(xs.max()) < left + 30

    def test_long_words_break_within_their_width(self):
        words = "reaches 12.3, which is 4.5 times the greatest of 2,000 photos"
        lines = wrap_text(words, 90)
        assert " ".join(lines) == words and len(lines) > 3
        assert all(text_width(line) <= 90 for line in lines)
        assert wrap_text("one\ntwo", 900) == ["one", "two"]

    def test_titles_stand_above(self):
        pixels = self.tiles(1)[0]
        drawn = add_title(pixels, "layer 1", "remark 1")
        assert torch.equal(drawn[-20:, :30], pixels)
        other = add_title(pixels, "layer 1", "remark 2")
        ys, _ = (drawn != other).any(dim=2).nonzero().T
        assert len(ys) and int(ys.max()) < len(drawn) - 20
        assert not torch.equal(drawn, add_title(pixels, "layer 2", "remark 1"))

    def test_what_is_wrong(self):
        for tiles, columns, captions in (
            ([], 2, []),
            (self.tiles(2), 0, []),
            (self.tiles(2), 1, "a"),
        ):
            with pytest.raises(ConvlensError, match="one or more tiles, and a caption for each"):
                make_sheet(tiles, columns, captions=captions)


class TestPlots:
    @pytest.mark.parametrize("height", [8, 200])
    def test_the_bar_stands_beside_a_picture(self, height):
        pixels = torch.zeros(height, 50, 3, dtype=torch.uint8)
        colors = color_bar(80, colors="sequential", upright=True)
        drawn = add_color_bar(pixels, colors, ("0", "12.5"), "activation")
        assert torch.equal(drawn[:height, :50], pixels)
        assert holds(drawn, colors)
        other = add_color_bar(pixels, colors, ("0", "12.6"), "activation")
        rows, _ = (drawn != other).any(dim=2).nonzero().T
        assert len(rows) and int(rows.max()) < 16  # the greatest number is at the top

    def test_dots_lie_at_their_orientation_and_frequency(self):
        """One at 90 degrees is above the middle, as far out as its frequency says."""
        empty = plot_orientations([], [], [], ("a", "b"))
        places = []
        for radius in (0.2, 0.4):
            drawn = plot_orientations([90.0, 0.0], [radius, 0.4], [True, False], ("a", "b"))
            orange = torch.tensor([141, 71, 0], dtype=torch.uint8)
            rows, columns = (drawn[: len(empty) - 40] == orange).all(dim=2).nonzero().T
            assert abs(float(columns.float().mean()) - drawn.shape[1] / 2) < 1
            places.append(float(rows.float().mean()))
        assert outer_radius([0.2, 0.4]) == outer_radius([0.4]) == 0.4
        assert outer_radius([0.41]) == 0.5 and outer_radius([]) == 0.1
        assert places[1] < places[0] - 50


def test_large_maps_are_averaged():
    values = torch.randn(6, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(reduce_map(values, 12), values)
    reduced = reduce_map(values, 4)
    expected = [
        [float(values[y : y + 3, x : x + 3].mean()) for x in range(0, 12, 3)] for y in (0, 3)
    ]
    torch.testing.assert_close(reduced, torch.tensor(expected))
    assert reduce_map(torch.ones(2, 2000), 10).shape == (1, 10)
