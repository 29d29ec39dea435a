"""Parameterizations: the numbers that gradient ascent changes, and the image that they stand for.

`fourier` holds the image's frequencies, each divided by its own magnitude, so that gradient ascent
changes all scales of a picture equally fast (Olah, Mordvintsev and Schubert 2017, "Feature
Visualization", on preconditioning). Its colors are decorrelated: they lie along the axes on which
the colors of photographs vary independently. `pixels` holds the pixels themselves. In both, a
sigmoid keeps the image inside the bounds, and each image has its own parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convlens.errors import ConvlensError

ParameterizationKind = Literal["fourier", "pixels"]

# Columns: the principal axes of color (light, red to blue, green to magenta), each as long as its
# standard deviation divided by the first one's. Measured on the pixels of 200 photographs.
_COLOR_AXES = ((0.561, 0.223, -0.082), (0.578, 0.028, 0.141), (0.593, -0.239, -0.060))
_CONTRAST = 0.05  # standard deviation of a random start before the sigmoid
# Share of the span by which a photo's pixels are kept inside the bounds: the sigmoid is not flat
# there, and its inverse is finite.
_MARGIN = 0.01


@dataclass(frozen=True)
class Parameterization:
    """How parameters become images.

    The parameters of N images are float32 `(N, C, H, W)` for `pixels`, and
    `(N, C, H, W // 2 + 1, 2)`, real and imaginary parts, for `fourier`.

    Attributes:
        kind: "fourier" or "pixels".
        channels: number of channels of the images; with 3, `fourier` decorrelates the colors.
        height: height of the images, in pixels.
        width: width of the images, in pixels.
        bounds: least and greatest value of a pixel.
    """

    kind: ParameterizationKind
    channels: int
    height: int
    width: int
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.kind not in ("fourier", "pixels"):
            raise ConvlensError(f"parameterization {self.kind!r}; give fourier or pixels")

    def random_parameters(
        self, generators: Sequence[torch.Generator], contrast: float = 1.0
    ) -> Tensor:
        """Parameters of one faint image of noise for each generator.

        Args:
            generators: random generators on the CPU, one for each image.
            contrast: factor on the contrast of the usual start; default: 1.
        """
        shape = (self.channels, self.height, self.width)
        if self.kind == "pixels":
            noise = [
                torch.randn(shape, generator=generator, dtype=torch.float32)
                for generator in generators
            ]
            return _CONTRAST * contrast * torch.stack(noise)
        size = (self.channels, self.height, self.width // 2 + 1, 2)
        noise = [
            torch.randn(size, generator=generator, dtype=torch.float32) for generator in generators
        ]
        # Each frequency adds its own variance to the variance of the pixels.
        scale = self._frequency_scale().square().mean().sqrt()
        return _CONTRAST * contrast / float(scale) * torch.stack(noise)

    def to_images(self, parameters: Tensor) -> Tensor:
        """Images `(N, C, H, W)` inside the bounds, channels last in memory."""
        low, high = self.bounds
        return low + (high - low) * self._before_sigmoid(parameters).sigmoid()

    def from_images(self, images: Tensor) -> Tensor:
        """Parameters of images `(N, C, H, W)`, exact for pixels 1 % inside the bounds."""
        low, high = self.bounds
        shares = ((images.float() - low) / (high - low)).clamp(_MARGIN, 1 - _MARGIN)
        before_sigmoid = shares.logit()
        if self.kind == "pixels":
            return before_sigmoid
        if self.channels == 3:
            inverse = torch.linalg.inv(before_sigmoid.new_tensor(_COLOR_AXES))
            before_sigmoid = torch.einsum("dc,nchw->ndhw", inverse, before_sigmoid)
        spectrum = torch.fft.rfft2(before_sigmoid, norm="ortho")
        return torch.view_as_real(spectrum) / self._frequency_scale().to(before_sigmoid)[..., None]

    def _before_sigmoid(self, parameters: Tensor) -> Tensor:
        if self.kind == "pixels":
            return parameters.contiguous(memory_format=torch.channels_last)
        scale = self._frequency_scale().to(parameters)[..., None]
        spectrum = torch.view_as_complex((parameters * scale).contiguous())
        planes = torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho")
        if self.channels == 3:
            planes = torch.einsum("dc,nchw->ndhw", planes.new_tensor(_COLOR_AXES), planes)
        # Convolutions are fast on channels-last memory.
        return planes.contiguous(memory_format=torch.channels_last)

    def _frequency_scale(self) -> Tensor:
        """1 / frequency, `(H, W // 2 + 1)`; below one cycle over the image, that of one cycle."""
        y = torch.fft.fftfreq(self.height, dtype=torch.float32)[:, None]
        x = torch.fft.rfftfreq(self.width, dtype=torch.float32)[None]
        frequency = (y.square() + x.square()).sqrt()
        lowest = 1 / max(self.height, self.width)
        return lowest / frequency.clamp(min=lowest) * (self.height * self.width) ** 0.5 / 4
