"""Trial runs of a network on generated images."""

import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensWarning
from convlens.tracing.recording.trial_runs import dark_ramp

SIZE = (12, 16)
LARGE = (40, 60)


def average(scores):
    """Probabilities that no softmax at the end and no range shows."""
    weights = torch.tensor([0.3, 0.7])
    probabilities = torch.stack([scores.softmax(1), (2 * scores).softmax(1)])
    return torch.einsum("e,enc->nc", weights, probabilities)


class Network(nn.Module):
    """Appends the size of each image that has values to a list."""

    def __init__(self, pool, num_features, sizes):
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 3)
        self.pool, self.linear = pool, nn.Linear(num_features, 4)
        self.append = sizes.append

    def forward(self, x):
        if type(x) is torch.Tensor:
            self.append(tuple(x.shape[-2:]))
        return average(self.linear(self.pool(self.convolution(x)).flatten(1)))


def trace_large_image(pool, num_features):
    torch.manual_seed(0)
    sizes = []
    model = convlens.wrap(Network(pool, num_features, sizes).eval(), size=SIZE)
    with pytest.warns(ConvlensWarning, match="read as probabilities"):
        convlens.trace(model, size=LARGE)
    return sizes


def test_large_images_are_cut_to_the_input_size():
    sizes = trace_large_image(nn.AdaptiveAvgPool2d(1), 2)
    assert set(sizes) == {SIZE}


def test_a_network_that_does_not_run_on_the_part_gets_the_whole_image():
    height, width = LARGE
    sizes = trace_large_image(nn.Identity(), 2 * (height - 2) * (width - 2))
    assert set(sizes) == {SIZE, LARGE}


def test_dark_ramp_ends_at_the_input_size():
    model = convlens.wrap(nn.Conv2d(3, 2, 3), size=SIZE)
    ramp = dark_ramp(model, torch.zeros(1, 3, *LARGE))
    assert ramp.shape == (1, 3, *LARGE)
    row = ramp[0, 2, -1]
    assert torch.allclose(row[:16], torch.arange(16) / 30)
    assert (row[16:] == 0.5).all()
