"""The figure of feature maps before and after pooling."""

import pytest
import torch

import convlens


def maps(**options):
    torch.manual_seed(0)
    model = convlens.wrap(torch.nn.Conv2d(3, 6, 3, padding=1), size=8)
    return convlens.feature_maps(model, torch.rand(1, 3, 8, 8), **options)


def test_each_map_stands_above_its_pooled_map():
    result = maps(pooling="max").select([5, 2, 0, 4])
    axes = result.pooled_figure(count=3).axes[0]
    images = [image.get_array().shape for image in axes.images]
    assert images == [(8, 8, 3)] * 4 + [(4, 4, 3)] * 3
    texts = [text.get_text() for text in axes.texts]
    assert [f"channel {number}" for number in result.most_varying(3)] == [
        text for text in texts if text.startswith("channel ")
    ]
    assert texts.count("max of 2 × 2: 4 × 4") == 3


def test_maps_that_are_not_pooled_are_refused():
    with pytest.raises(convlens.ConvlensError, match="not pooled"):
        maps().pooled_figure()
