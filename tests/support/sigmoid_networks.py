"""Networks with one output or several sigmoids, and images whose logits have both signs."""

import torch
from torch import nn

from convlens import (
    wrap,
)

SIZE = 12


def images(count=3, seed=0):
    drawn = torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return 0.3 + 0.4 * drawn


class Mapped(nn.Module):
    """A convolution, average pooling and a linear layer."""

    def __init__(self, classes=1, end=None):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.linear = nn.Linear(6, classes)
        with torch.no_grad():
            for part in self.parameters():
                part.copy_(torch.randn(part.shape, generator=generator))
            inner = self.first(images(6)).relu().mean((2, 3))
            self.linear.bias.copy_(-(inner @ self.linear.weight.T).median(dim=0).values)
        self.end = end or nn.Identity()

    def logits(self, x):
        return self.linear(self.first(x).relu().mean((2, 3)))

    def forward(self, x):
        return self.end(self.logits(x))


def model(network, **options):
    return wrap(network.eval(), size=SIZE, **options)
