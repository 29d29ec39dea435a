"""A network whose answer is the brightness of the image, for attacks with a known outcome."""

import torch
from torch import nn


class Brightness(nn.Module):
    """Class 1 if the image is brighter than mid-gray, else class 0."""

    def forward(self, x):
        excess = 40 * (x.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([-excess, excess], dim=1)


def gray(level, count=1):
    """Images `(count, 3, 8, 8)` of one gray level of 255."""
    return torch.full((count, 3, 8, 8), level / 255)
