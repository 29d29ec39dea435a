"""Wobble: small random moves, turns and changes of scale, drawn for each image by itself.

An image that excites a channel only in one exact place is noise; one that still does when it is
moved a little shows what the channel is after. All three are one resampling.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Transforms:
    """How far images are moved.

    Attributes:
        shift: at most, in pixels, along each axis.
        turn: at most, in degrees, either way.
        scale: at most, as a share: 0.1 is from 1 / 1.1 to 1.1.
    """

    shift: float = 0.0
    turn: float = 0.0
    scale: float = 0.0

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return not (self.shift or self.turn or self.scale)

    def draw(self, generators: Sequence[torch.Generator], size: tuple[int, int]) -> Tensor:
        """One move for each generator: float32 `(N, 2, 3)`, as `affine_grid` takes them.

        Args:
            generators: on the CPU.
            size: height and width of the images in pixels.
        """
        height, width = size
        drawn = torch.stack([2 * torch.rand(4, generator=one) - 1 for one in generators])
        angle = drawn[:, 0] * math.radians(self.turn)
        factor = (drawn[:, 1] * math.log1p(self.scale)).exp()
        cosine, sine = angle.cos() * factor, angle.sin() * factor
        # In shares of half the width and height, so that a turn keeps right angles.
        across, down = drawn[:, 2] * 2 * self.shift / width, drawn[:, 3] * 2 * self.shift / height
        rows = (cosine, -sine * height / width, across, sine * width / height, cosine, down)
        return torch.stack(rows, dim=1).view(-1, 2, 3)

    def apply(self, images: Tensor, moves: Tensor) -> Tensor:
        """The images moved, bilinear; what comes in at the edge is mirrored.

        Args:
            images: `(N, C, H, W)`.
            moves: `(N, 2, 3)`, from `draw`.
        """
        grid = F.affine_grid(moves.to(images), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
