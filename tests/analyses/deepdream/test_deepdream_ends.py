"""How a dream ends early: interrupts, values that are not finite, and wrong options."""

import math
import signal
from typing import Any

import pytest
import torch
from torch import nn

from convlens import ConvlensError, dream, wrap
from support.dreamed_networks import photo, small_model


class Fragile(nn.Module):
    """Gives NaN as soon as the image is brighter than a limit."""

    def __init__(self, limit):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.limit = limit

    def forward(self, x):
        return torch.where(x.amax() > self.limit, torch.nan, 1.0) * self.conv(x)


def test_an_interrupt_keeps_what_there_is():
    def progress(done, total):
        assert total == 9
        if done == 5:
            signal.raise_signal(signal.SIGINT)

    wrapped = small_model()
    options: dict[str, Any] = {"layer": "4", "octaves": 3, "steps": 3, "scale": 1.2}
    handler = signal.getsignal(signal.SIGINT)
    result = dream(wrapped, photo(), progress=progress, **options)
    assert result.interrupted
    assert result.stopped.startswith("interrupted in octave 2 of 3, step 3 of 3")
    assert result.stopped in result.summary()
    assert result.image.shape == (3, 40, 48)
    assert not torch.allclose(result.image, result.photo, atol=1e-3)
    assert result.objective.isfinite().tolist() == [[True] * 4, [True, True] + [False] * 2,
                                                   [False] * 4]  # fmt: skip
    assert signal.getsignal(signal.SIGINT) is handler


def test_nan_ends_with_the_last_good_picture():
    image = photo() * 0.8
    wrapped = wrap(Fragile(0.85), size=24)
    result = dream(wrapped, image, layer="/mul", octaves=1, steps=50, step=2, jitter=0)
    assert not result.interrupted
    assert result.stopped.startswith("NaN or infinity in octave 1 of 1, step ")
    done = int(result.objective.isfinite().sum())
    assert 1 < done < 50
    assert f"step {done + 1} of 50" in result.stopped
    assert 0.8 < float(result.image.max()) <= 0.85  # on it the network still gives numbers
    assert not torch.equal(result.image, image[0])


def test_nan_from_the_first_step_on_is_an_error():
    with pytest.raises(ConvlensError, match="NaN or infinity in octave 1 of 2, step 1 of 3"):
        dream(wrap(Fragile(0.0), size=24), photo(), layer="/mul", octaves=2, steps=3)


def test_a_channel_that_nothing_moves_is_reported():
    wrapped = small_model()
    with torch.no_grad():
        wrapped.network[0].weight.zero_()
    with pytest.raises(ConvlensError, match="its gradient is zero"):
        dream(wrapped, photo(), layer="4")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "44"}, "no layer '44'"),
        ({"layer": "8"}, "not maps"),
        ({"layer": "4", "channel": 12}, "4 has 12 channels, 0 to 11; given 12"),
        ({"steps": 0}, "steps 0; give at least 1"),
        ({"octaves": 0}, "octaves 0"),
        ({"scale": 1.0}, "scale 1 between octaves; give more than 1"),
        ({"step": 0.0}, "step 0"),
        ({"layer": "4", "channel": 1, "guide": photo()}, "do not go together"),
        ({"layer": "4", "octaves": 9}, "give at least 111 pixels on the longer side"),
    ],
)
def test_what_is_wrong_is_reported_in_one_line(options, words):
    with pytest.raises(ConvlensError, match=words) as caught:
        dream(small_model(), photo(), **options)
    assert "\n" not in str(caught.value)


def test_the_least_size_will_do():
    """8 x 6 pixels give a map of 2 x 1 behind pooling and a filter of 3 x 3."""
    wrapped = small_model()
    result = dream(wrapped, photo(92, 111), layer="4", octaves=9, steps=1)
    assert result.sizes[0] == (6, 8)
    with pytest.raises(ConvlensError, match="at least 111 pixels on the longer side"):
        dream(wrapped, photo(92, 110), layer="4", octaves=9, steps=1)


def test_an_interrupt_after_the_last_step_is_reported():
    def progress(done, total):
        if done == total:
            signal.raise_signal(signal.SIGINT)

    result = dream(small_model(), photo(), layer="4", octaves=1, steps=2, progress=progress)
    assert result.interrupted and result.stopped in result.summary()
    assert math.isnan(result.photo_objective)
    assert (result.image - result.photo).abs().mean() > 1 / 255
