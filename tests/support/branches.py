"""A network with branches, images for it, and its activations computed by hand."""

import torch
from torch import nn
from torch.nn import functional as F

SIZE = 41


class Branches(nn.Module):
    """Branches, strides, dilation, ceil-mode pooling, a residual sum, a linear convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 5, stride=2, padding=1)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.left = nn.Conv2d(6, 4, 3, padding=2, dilation=2)
        self.norm = nn.BatchNorm2d(4)
        self.right = nn.Conv2d(6, 4, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(4, 5, 3, stride=2)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x = self.pool(self.relu(self.stem(x)))
        x = self.relu(self.norm(self.left(x)) + self.right(x))
        return self.head(self.last(x).mean((2, 3)))


def network(seed=0):
    torch.manual_seed(seed)
    branches = Branches()
    with torch.no_grad():
        branches.norm.running_mean.uniform_(-1, 1)
        branches.norm.weight.uniform_(0.5, 2)
    return branches.eval()


def images(count=20, size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=generator)


def by_hand(model, batch, layer):
    """All activations of a layer of `Branches`, computed without hooks."""
    net = model.network
    with torch.no_grad():
        stem = F.relu(net.stem(batch))
        pooled = net.pool(stem)
        summed = F.relu(net.norm(net.left(pooled)) + net.right(pooled))
        return {"stem": stem, "left": summed, "last": net.last(summed)}[layer]
