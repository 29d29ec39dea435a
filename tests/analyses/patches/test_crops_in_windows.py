"""Crops of networks that do something else in a window than in the whole image."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.analyses.patches.crop_check import UnitActivation, check_crops


class CutRows(nn.Module):
    """A convolution that pads rows which are cut out by their number."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))[:, :, 2:10])).mean((2, 3))


class BySize(CutRows):
    """Computes something else on images that are small."""

    def forward(self, x):
        scale = 1 if x.shape[-1] > 15 else 3
        return scale * F.relu(self.second(F.relu(self.first(scale * x)))).mean((2, 3))


@pytest.mark.parametrize("network", [CutRows, BySize])
def test_a_difference_in_a_window_is_confirmed_on_the_whole_image(network):
    model = convlens.wrap(network().eval(), size=20)
    images = torch.rand(6, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    check = convlens.patches(model, images, top=3, per_image=3)["second"].crop_check
    assert check.checked > 10 and check.holds


@pytest.mark.parametrize("network", [CutRows, BySize])
def test_a_wrong_activation_is_still_noticed(network):
    model = convlens.wrap(network().eval(), size=20)
    images = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    trace = convlens.trace(model)
    node = trace.find_node("second")
    units = [UnitActivation(image=0, channel=0, row=4, column=4, value=9.0)]
    check = check_crops(model, trace, node, images, units)
    assert check.holds is False and check.largest_difference > 1
