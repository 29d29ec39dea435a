"""The memory format of the copies with random weights."""

from unittest.mock import patch

import torch
from torch import nn

import convlens
from convlens.runtime import memory_format


def test_the_format_is_not_tried_again_for_the_random_copies():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    model = convlens.wrap(network.eval(), size=8)
    images = torch.rand(2, 3, 8, 8)
    convlens.gradcam(model, images)
    with patch.object(memory_format, "_find_format", side_effect=AssertionError):
        result = convlens.randomization(model, images, draws=2)
    assert result.correlations.shape[1] == 2
