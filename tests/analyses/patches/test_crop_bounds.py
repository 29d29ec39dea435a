"""The check of crops runs the network on normalized pixels, and on no larger values."""

import torch
from torch import nn

import convlens

GREATEST: list[float] = []  # of each run


class Recorded(nn.Conv2d):
    def forward(self, images):
        if type(images) is torch.Tensor:
            GREATEST.append(float(images.detach().abs().max()))
        return super().forward(images)


class Spectrum(nn.Module):
    """Of which no rule is known, so that a trace runs the network to see what it computes."""

    def forward(self, maps):
        return torch.fft.fft2(maps).real


def test_no_run_sees_values_outside_the_normalized_bounds():
    torch.manual_seed(0)
    network = nn.Sequential(
        Recorded(3, 4, 3), nn.ReLU(), Spectrum(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    for center, mean, most in (("data", 0.5, 0.5 / 0.25), ("image", 0.0, 1 / 0.25)):
        model = convlens.wrap(network, size=16, mean=mean, std=0.25, center=center)
        GREATEST.clear()
        result = convlens.patches(model, torch.rand(4, 3, 16, 16), layers=["0"])
        assert result["0"].crop_check.holds
        assert 0 < max(GREATEST) < 1.02 * most, center
