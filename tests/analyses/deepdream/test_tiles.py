"""DeepDream in tiles: their gradients against that of the whole image, and dreams in tiles."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens import dream, load, wrap
from convlens.analyses.deepdream.objective import activation_objective
from convlens.analyses.deepdream.tiles import plan_tiles
from support.dreamed_networks import photo, small_model, small_network

NETWORKS = [
    pytest.param("default", "blocks.2.0.conv_dw", (189, 243), 96, marks=pytest.mark.slow),
    pytest.param("default", "blocks.3.0.conv_pw", (224, 224), 150, marks=pytest.mark.slow),
    pytest.param(
        "torchvision:squeezenet1_0@random", "features.5.expand3x3", (301, 260), 150,
        marks=pytest.mark.slow,
    ),
    ("torchvision:resnet18@random", "layer2.1.conv2", (233, 210), 150),
    ("torchvision:googlenet@random", "inception3a.branch2.1.conv", (230, 280), 150),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "layer", "size", "most"), NETWORKS)
def test_tiles_add_up_to_the_gradient_of_the_whole(spec, layer, size, most):
    """Dynamic padding, ceil mode, sums and branches; at the borders too."""
    wrapped = load(spec)
    node_name = dream(wrapped, photo(224, 224), layer=layer, octaves=1, steps=1).node_name
    field_size = convlens.receptive_field(wrapped, photo(224, 224), layer=layer).size[0]
    image = photo(*size)
    sums = []
    for tile in (None, most):
        gradient = torch.zeros_like(image)
        tiles = plan_tiles(wrapped, size, node_name, largest=tile)
        objective = tiles.evaluate(image, activation_objective(), gradient=gradient)
        sums.append((len(tiles.tiles), objective, gradient))
    (one_tile, expected_objective, expected), (tile_count, objective, gradient) = sums
    assert one_tile == 1 and tile_count >= 4
    assert objective == pytest.approx(expected_objective, rel=1e-6)
    assert (gradient - expected).abs().max() < 1e-4 * expected.abs().mean()
    assert max(max(tile.size) for tile, _ in tiles.tiles) <= max(most, 2 * field_size)


def test_every_unit_is_in_one_tile():
    tiles = plan_tiles(small_model(), (70, 90), "5", largest=30).tiles
    tile_counts = torch.zeros(33, 43, dtype=torch.int64)
    for tile, _ in tiles:
        rows, columns = tile.rows, tile.columns
        tile_counts[rows.first_unit : rows.stop_unit, columns.first_unit : columns.stop_unit] += 1
    assert len(tiles) > 4
    assert bool((tile_counts == 1).all())


@pytest.mark.slow
def test_a_dream_in_tiles_is_the_same_dream():
    options: dict[str, Any] = {"layer": "4", "octaves": 2, "steps": 2, "jitter": 3}
    messages = []
    whole = dream(small_model(), photo(60, 70), tile=None, **options)
    tiled = dream(
        small_model(),
        photo(60, 70),
        tile=24,
        progress=lambda *args: messages.append(args),
        **options,
    )
    smaller = len(plan_tiles(small_model(), tiled.sizes[0], "5", largest=24).tiles)
    total = 2 * (smaller + tiled.tiles)
    assert messages == [(done, total) for done in range(1, total + 1)]
    assert (whole.tiles, tiled.tiles > 4) == (1, True)
    assert torch.allclose(whole.image, tiled.image, atol=1e-4)
    assert torch.allclose(whole.objective, tiled.objective, rtol=1e-4)


def test_tiles_share_the_mean_that_is_subtracted():
    wrapped = wrap(small_network(), size=32, center="image")
    image = photo(60, 70) ** 2
    gradient = torch.zeros_like(image)
    plan_tiles(wrapped, (60, 70), "5", largest=24).evaluate(
        image, activation_objective(), gradient=gradient
    )
    free = image.clone().requires_grad_()
    values = free - free.mean(dim=(2, 3), keepdim=True)
    for module in wrapped.network[:6]:
        values = F.relu(values) if isinstance(module, nn.ReLU) else module(values)
    (expected,) = torch.autograd.grad(values, free, values.detach())
    assert (gradient - expected).abs().max() < 1e-4 * expected.abs().mean()


def test_a_layer_that_sees_everything_is_not_taken_apart():
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x.mean((2, 3), keepdim=True))

    torch.manual_seed(0)
    wrapped = wrap(nn.Sequential(nn.Conv2d(3, 4, 3), Gate(), nn.Conv2d(4, 4, 3)), size=24)
    assert len(plan_tiles(wrapped, (60, 60), "0", largest=24).tiles) > 1
    assert len(plan_tiles(wrapped, (60, 60), "2", largest=24).tiles) == 1
