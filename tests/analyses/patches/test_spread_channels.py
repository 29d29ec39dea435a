"""`patches(choose="spread")`: evenly spread channels, nearly the same for all images."""

import pytest
import torch
from torch import nn

import convlens


def brightness_model(weights, biases):
    """A layer whose channel k gives weight k times the brightness plus bias k."""
    layer = nn.Conv2d(3, len(weights), 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:, 0] = torch.tensor(weights)[:, None, None]
        layer.bias.copy_(torch.tensor(biases))
    network = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return convlens.wrap(network, size=4)


def shown_channels(model, images, show):
    layer = convlens.patches(model, images, show=show, choose="spread")["0"]
    return [channel.channel for channel in layer.shown]


def photos(*brightness):
    return torch.tensor(brightness).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()


def test_spread_channels_stay_the_same_for_other_images():
    """The channel that differs most between the images is the first."""
    model = brightness_model([1.0, 9.0, -1.0, 9.0, 0.5, 9.0], [0.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    dark, bright = photos(0.0, 0.1, 0.2), photos(0.8, 0.9, 1.0)
    for images, first in ((dark, 0), (bright, 2)):
        shown = shown_channels(model, images, 3)
        assert set(shown) == {0, 2, 4} and shown[0] == first
    varying = convlens.patches(model, dark, show=3)["0"].shown
    assert {channel.channel for channel in varying} != {0, 2, 4}


def test_the_next_channel_stands_for_one_that_never_fires():
    """Channels 0 and 4 are dead; 5 to 7 too, so that the last stretch has none."""
    model = brightness_model([1.0] * 8, [-2.0, 0.0, 0.0, 0.0, -2.0, -2.0, -2.0, -2.0])
    assert set(shown_channels(model, photos(0.2, 0.8), 2)) == {1}
    assert set(shown_channels(model, photos(0.2, 0.8), 4)) == {1, 2}
    assert set(shown_channels(model, photos(0.2, 0.8), 99)) == {1, 2, 3}


def test_an_unknown_choice_is_refused():
    model = brightness_model([1.0], [0.0])
    with pytest.raises(
        convlens.ConvlensError, match="choose is 'best'; give 'varying' or 'spread'"
    ):
        convlens.patches(model, photos(0.5), choose="best")  # type: ignore[arg-type]
