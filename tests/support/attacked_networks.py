"""Small networks under attack, and images for them."""

import torch
from torch import nn

SIZE = 16


def images(count=4, size=SIZE, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def small(classes=5):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.Tanh(), nn.Conv2d(6, 6, 3), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes),
    ).eval()  # fmt: skip


class Linear(nn.Module):
    """Two classes: the margin of class 1 is w·x + b."""

    def __init__(self, count=3 * 4 * 4, scale=1.0):
        super().__init__()
        torch.manual_seed(1)
        self.weight = nn.Parameter(torch.randn(count, dtype=torch.float64) * scale)

    def forward(self, x):
        margin = (x.double().flatten(1) - 0.5) @ self.weight
        return torch.stack([torch.zeros_like(margin), margin], 1)


def easy(network, count=40):
    """Images well inside the bounds, with margins of many sizes."""
    drawn = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(2)) * 0.2 + 0.4
    margins = network(drawn)[:, 1].detach()
    return drawn, margins
