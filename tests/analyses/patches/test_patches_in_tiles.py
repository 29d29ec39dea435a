"""Patches of large images in tiles, against a pass over whole images."""

import pytest
import torch

import convlens
from convlens import ConvlensError
from convlens.analyses.patches.tile_maxima import TileMaxima
from convlens.tracing.tiles import ImageTile, TileSpan
from support.tiled_networks import NETWORKS, allow_share, assert_in_tiles, model_of, photo, strided

COLUMNS = (
    "values", "images", "rows", "columns", "images_fired", "positions_fired", "histogram",
    "band_values", "band_images", "band_rows", "band_columns", "selectivity",
)  # fmt: skip


def photos():
    generator = torch.Generator().manual_seed(2)
    return torch.cat([photo() * torch.rand(1, generator=generator) for _ in range(10)])


@pytest.mark.parametrize(("name", "per_image"), [("strides", 3), *((name, 1) for name in NETWORKS)])
def test_patches_in_tiles_are_those_of_whole_images(name, per_image, monkeypatch):
    """Of all layers from the same tiles; selectivity takes a second pass."""
    model, images = model_of(NETWORKS[name]), photos()
    options = {"per_image": per_image, "top": 4, "show": 1, "labels": [(0,)] * 5 + [(1,)] * 5}
    whole = convlens.patches(model, images, **options)
    sizes = allow_share(monkeypatch, model, 0.9)
    tiled = convlens.patches(model, images, **options)
    assert_in_tiles(sizes)
    assert [layer.layer for layer in tiled.layers] == [layer.layer for layer in whole.layers]
    for tiled_layer, layer in zip(tiled.layers, whole.layers, strict=True):
        for column in COLUMNS:
            torch.testing.assert_close(
                getattr(tiled_layer, column), getattr(layer, column),
                rtol=1e-4, atol=1e-6, equal_nan=True,
            )  # fmt: skip
        assert tiled_layer.crop_check.holds


def test_ties_between_tiles_go_to_the_first_position():
    """Also where a later position comes in an earlier tile."""
    maps = torch.zeros(1, 1, 4, 6)
    maps[0, 0, 0, 4] = maps[0, 0, 2, 1] = 1.0
    maps[0, 0, 3, 5] = 2.0
    maxima = TileMaxima(1, width=6, most=3)
    for rows, columns in (((0, 4), (0, 3)), ((0, 4), (3, 6))):
        tile = ImageTile(TileSpan(0, 0, *rows, 0), TileSpan(0, 0, *columns, 0))
        maxima.add(tile, tile.crop_whole(maps))
    assert maxima.values.flatten().tolist() == [2.0, 1.0, 1.0]
    assert maxima.positions.flatten().tolist() == [23, 4, 13]
    assert maxima.fired.tolist() == [[3]]


def test_layers_that_add_coordinates_run_as_a_whole(monkeypatch):
    class Coordinates(torch.nn.Module):
        def forward(self, x):
            return x + torch.arange(x.shape[3], dtype=x.dtype) / 100

    network = torch.nn.Sequential(strided(), Coordinates(), torch.nn.Conv2d(4, 4, 1)).eval()
    model = model_of(lambda: network)
    allow_share(monkeypatch, model, 0.7)
    with pytest.raises(ConvlensError, match="possible: units of 2 have other values in other"):
        convlens.patches(model, photos(), show=0)


def test_layers_that_see_the_whole_image_are_refused(monkeypatch):
    class Gate(torch.nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x.mean((2, 3), keepdim=True))

    network = torch.nn.Sequential(strided(), Gate(), torch.nn.Conv2d(4, 4, 1)).eval()
    model = model_of(lambda: network)
    allow_share(monkeypatch, model, 0.7)
    with pytest.raises(ConvlensError, match="tiles are not possible: 2 depends on the whole image"):
        convlens.patches(model, photos(), show=0)
