"""Transforms: random shifts, rotations and changes of scale, drawn anew for each image and step.

An image that excites a channel only at one exact position is noise. An image that still excites it
after a small random transform shows what the channel responds to ("transformation robustness" in
Olah, Mordvintsev and Schubert 2017). All three changes are made in one bilinear resampling.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Transforms:
    """The ranges from which random transforms are drawn.

    Attributes:
        shift: largest shift along each axis, in pixels.
        rotation: largest rotation in either direction, in degrees.
        scale: largest change of scale as a share: 0.1 draws factors from 1 / 1.1 to 1.1.
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether images stay as they are."""
        return not (self.shift or self.rotation or self.scale)

    def sample(self, generators: Sequence[torch.Generator], size: tuple[int, int]) -> Tensor:
        """Draw one affine matrix for each generator.

        Args:
            generators: random generators on the CPU, one for each image.
            size: height and width of the images in pixels.

        Returns:
            float32 `(N, 2, 3)`, as `torch.nn.functional.affine_grid` takes them.
        """
        height, width = size
        uniform = torch.stack(
            [2 * torch.rand(4, generator=draws, dtype=torch.float32) - 1 for draws in generators]
        )
        angle = uniform[:, 0] * math.radians(self.rotation)
        factor = (uniform[:, 1] * math.log1p(self.scale)).exp()
        cosine, sine = angle.cos() * factor, angle.sin() * factor
        # In units of half the width and half the height, in which `affine_grid` counts; the
        # ratio of the sides keeps rotations free of shear on oblong images.
        right, down = (
            uniform[:, 2] * 2 * self.shift / width,
            uniform[:, 3] * 2 * self.shift / height,
        )
        rows = (cosine, -sine * height / width, right, sine * width / height, cosine, down)
        return torch.stack(rows, dim=1).view(-1, 2, 3)

    def apply(self, images: Tensor, matrices: Tensor) -> Tensor:
        """Resample images bilinearly; pixels from beyond the edges are reflections of the image.

        Args:
            images: `(N, C, H, W)`.
            matrices: `(N, 2, 3)`, from `sample`.

        Returns:
            `(N, C, H, W)`, channels last in memory.
        """
        grid = F.affine_grid(matrices.to(images), list(images.shape), align_corners=False)
        resampled = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        # `grid_sample` returns contiguous images, on which convolutions take twice as long.
        return resampled.contiguous(memory_format=torch.channels_last)
