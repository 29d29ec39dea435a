"""Patches of channels that fire on some photos only: a map of zeros has no strongest patch."""

import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensError


@pytest.fixture(scope="module")
def model():
    """Three channels of 1 x 1: the red level, one that fires above 0.5, and one that never does."""
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].weight[:, 0] = 1
        network[0].bias.copy_(torch.tensor([0.0, -0.5, -2.0]))
    return convlens.wrap(network, size=4)


def gray(*levels):
    return torch.stack([torch.full((3, 4, 4), level) for level in levels])


def test_photos_without_activation_have_no_patch(model):
    layer = convlens.patches(model, gray(0.2, 0.9, 0.4, 0.7), show={"0": [0, 1, 2]})["0"]
    every, some, none = layer.shown
    assert [len(entry.tiles) for entry in layer.shown] == [4, 2, 0]
    assert some.photos == (every.photos[0], every.photos[1]) and some.fired == 0.5
    assert some.values == pytest.approx((0.4, 0.2))
    assert len(some.boxes) == 2 and none.photos == () and none.framed_image.numel() == 0
    assert (layer.images >= 0).sum(dim=1).tolist() == [4, 4, 4]  # the table keeps all photos
    assert layer.sheet().ndim == 3 and len(layer.figure().axes) >= 6


def test_a_node_without_a_non_linearity_keeps_its_patches(model):
    result = convlens.patches(model, gray(0.2, 0.9), layers=["0"], side="pre", show={"0": [2]})
    assert len(result["0"].shown[0].tiles) == 2


def test_only_dead_channels_have_a_sheet_and_no_figure(model):
    layer = convlens.patches(model, gray(0.2, 0.9), show={"0": [2]})["0"]
    assert layer.sheet().ndim == 3
    with pytest.raises(ConvlensError, match="a figure without pictures"):
        layer.figure()


def test_the_summary_says_that_all_fire_or_how_many_do_not(model):
    photos = gray(0.2, 0.9)
    assert "1 of which never fires" in convlens.patches(model, photos).summary()
    with torch.no_grad():
        model.network[0].bias[2] = 0
    result = convlens.patches(model, photos)
    assert "3 channels of 1 layer, each of which fires on some photo" in result.summary()
    assert "each of which fires on some photo" in result["0"].summary()
    before = convlens.patches(model, photos, side="pre")
    assert "fire" not in before.summary()
