"""Units whose receptive field lies entirely in the padding, and the traces of crops."""

from typing import ClassVar

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.patches.pictures import FRAME, TILE, crop_field, draw_framed_image
from convlens.analyses.patches.windows import pixels_inside

SIZE = 8


def padded_network():
    """A 1 x 1 convolution with padding: its outermost units see no pixel, only zeros."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 2, 1, padding=2)
    with torch.no_grad():
        layer.weight.copy_(-layer.weight.abs())  # padding has the greatest activation: the bias
    return nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))


@pytest.mark.parametrize(
    ("low", "high", "inside"),
    [(-3, -1, []), (8, 9, []), (-2, 1, [0, 1]), (6, 9, [6, 7]), (3, 3, [3]), (-5, 20, [*range(8)])],
)
def test_pixels_inside_are_those_of_a_loop(low, high, inside):
    assert list(range(SIZE))[pixels_inside(low, high, 0, SIZE - 1)] == inside
    shifted = pixels_inside(low + 2, high + 2, 2, SIZE + 1)
    assert list(range(SIZE + 4))[shifted] == [pixel + 2 for pixel in inside]


def test_strongest_patches_that_are_only_padding():
    model = convlens.wrap(padded_network(), size=SIZE)
    result = convlens.patches(model, torch.rand(3, 3, SIZE, SIZE), layers=["0"], top=2, show=2)["0"]
    bias = model.network[0].bias.detach()
    torch.testing.assert_close(result.values, bias[:, None].expand(2, 2))
    assert result.crop_check.holds
    for channel in result.shown:
        red = (channel.tiles == torch.tensor(FRAME, dtype=torch.uint8)).all(-1)
        assert not red.any()
        # stripes of padding, no pixel of the image
        assert len(channel.tiles.flatten(0, 2).unique(dim=0)) <= 3


def test_a_field_in_the_padding_holds_no_pixel():
    model = convlens.wrap(padded_network(), size=SIZE)
    image = torch.rand(1, 3, SIZE, SIZE)
    field = convlens.receptive_field(model, image, layer="0", at=(0, 5))
    assert field.box == (-2, -2, 3, 3)
    drawn, inner = (
        convlens.receptive_field(model, image, layer="0", at=at).pictures()["field"].float()
        for at in ((0, 5), (4, 5))
    )
    pixels = (image[0] * 255).round().permute(1, 2, 0)
    assert ((255 - drawn) <= (255 - pixels) * 0.35 + 0.51).all()  # pale everywhere
    assert (inner != drawn).any()
    crop, inside = crop_field(image[0], (-2, -1, 9, 10))
    assert crop.shape == (3, 2, 2)
    assert not inside.any()
    assert not crop.any()


def test_the_frame_of_a_field_in_the_padding_is_at_the_edge():
    picture = draw_framed_image(torch.zeros(3, SIZE, SIZE), (-2, -2, 0, 3), (0.0, 1.0))
    red = (picture == torch.tensor(FRAME, dtype=torch.uint8)).all(-1)
    assert red[0, : TILE // 2].all()
    assert not red[1:].any()


@pytest.mark.parametrize("size", [(2000, 2000), (30, 2000), (2000, 30)])
@pytest.mark.parametrize("corner", ["first", "last", "beyond"])
def test_the_frame_of_a_small_field_of_a_large_image_is_on_the_image(size, corner):
    """A pixel of the tile shows 31 rows of 2000, so that the field is smaller than a pixel."""
    rows, columns = (
        {"first": (0, 2), "last": (side - 3, side - 1), "beyond": (side, side + 2)}[corner]
        for side in size
    )
    picture = draw_framed_image(torch.zeros(3, *size), (*rows, *columns), (0.0, 1.0))
    red = (picture == torch.tensor(FRAME, dtype=torch.uint8)).all(-1)
    high, wide = (max(1, round(side * TILE / 2000)) for side in size)
    top, left = (TILE - high) // 2, (TILE - wide) // 2
    expected = (top, left) if corner == "first" else (top + high - 1, left + wide - 1)
    assert red.nonzero().tolist() == [list(expected)]


class Watching(nn.Module):
    """Remembers the largest value that it was given outside of fake tensors."""

    largest: ClassVar[list[float]] = []

    def forward(self, x):
        Watching.largest.append(x.abs().max().item())  # no fake tensor has a value
        return x


def test_crops_are_traced_on_images_of_ordinary_size():
    Watching.largest.clear()
    torch.manual_seed(0)
    network = nn.Sequential(
        Watching(), nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 10 * 10, 3)
    )
    model = convlens.wrap(network, size=12)
    convlens.patches(model, torch.rand(2, 3, 12, 12), layers=["1"], top=1, show=1)
    assert max(Watching.largest) <= 1
