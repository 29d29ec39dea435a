"""The difference of a layer against its definition, over images that run one after the other."""

import pytest
import torch

import convlens
from support.compared_networks import changed, images, model


def raise_weights(module):
    module[4].weight[7, :, 1, 1] += 0.1


def test_the_difference_is_that_of_all_images():
    first, second, batch = model(), model(changed(raise_weights)), images(5)
    layers = convlens.compare_layers(first, second, batch)
    assert layers.images == 5
    layer = layers.first_exceeding
    assert (layer.name, layer.channel, layer.differing_channels) == ("4", 7, 1)

    maps = []
    for each in (first, second):
        each.network[4].register_forward_hook(
            lambda module, inputs, output: maps.append(output.detach().double())
        )
        each(batch)
    difference = (maps[1] - maps[0])[:, 7].square().mean().sqrt()
    scale = torch.stack(maps).square().mean().sqrt()
    assert layer.difference == pytest.approx(float(difference / scale), rel=1e-6)
    assert 0 < layer.rounding < 1e-5
