"""The greatest value that the non-linearity of a channel source returns."""

import pytest
import torch
from torch import nn

import convlens
from convlens.tracing.selection import find_channel_sources
from convlens.tracing.tracer import trace


class Clamp(nn.Module):
    def __init__(self, **limits):
        super().__init__()
        self.limits = limits

    def forward(self, x):
        return torch.clamp(x, **self.limits)


@pytest.mark.parametrize(
    ("activation", "limit"),
    [
        (nn.ReLU6(), 6.0), (nn.Hardtanh(-1.0, 2.5), 2.5), (Clamp(min=0.0, max=3.0), 3.0),
        (Clamp(max=1), 1.0), (Clamp(min=0.0), None), (nn.ReLU(), None), (nn.SiLU(), None),
    ],
)  # fmt: skip
def test_clamping_nonlinearities_have_a_limit(activation, limit):
    model = convlens.wrap(nn.Sequential(nn.Conv2d(3, 2, 1), activation), size=4)
    (source,) = find_channel_sources(trace(model), ["0"])
    assert source.post and source.limit == limit
