"""The costs of a network include those by which it computes its weights."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import convlens


class LowRank(nn.Module):
    """A convolution with an update of its weights of rank 2."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.down, self.up = nn.Parameter(torch.rand(4, 2)), nn.Parameter(torch.rand(2, 27))

    def forward(self, x):
        weight = self.conv.weight + (self.down @ self.up).view_as(self.conv.weight)
        return self.head(F.conv2d(x, weight).relu().mean((2, 3)))


def test_products_of_weights_count_as_torch_counts_them():
    network = LowRank().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 8, 8))
    anatomy = convlens.anatomy(convlens.wrap(network, size=8))
    assert anatomy.multiply_adds == counter.get_total_flops() // 2
    assert anatomy.multiply_adds == 4 * 27 * 36 + 4 * 2 + 4 * 2 * 27
