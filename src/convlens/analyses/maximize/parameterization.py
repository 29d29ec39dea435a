"""Canvases: the numbers behind an image that is being optimized.

`fourier` holds the image's frequencies, each divided by its own, which gives all scales of a
picture the same chance (Olah, Mordvintsev and Schubert 2017, on preconditioning); its colors stand
along the axes on which those of photographs vary independently. `pixels` holds the pixels.
Either way a sigmoid keeps the image inside the bounds, and every image has numbers of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convlens.errors import ConvlensError

Kind = Literal["fourier", "pixels"]

# Columns: the axes of color (light, red to blue, green to magenta), each as long as its deviation
# over the first one's. Measured on the pixels of 200 photographs.
_COLOURS = ((0.561, 0.223, -0.082), (0.578, 0.028, 0.141), (0.593, -0.239, -0.060))
_CONTRAST = 0.05  # deviation of a fresh canvas before the sigmoid
_EDGE = 0.01  # of the span: a photo's pixels are kept so far inside, where the sigmoid still moves


@dataclass(frozen=True)
class Canvas:
    """How numbers become images.

    Attributes:
        kind: "fourier" or "pixels".
        channels: of the images; with 3 the colors of `fourier` are decorrelated.
        height: in pixels.
        width: in pixels.
        bounds: of the pixels.
    """

    kind: Kind
    channels: int
    height: int
    width: int
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.kind not in ("fourier", "pixels"):
            raise ConvlensError(f"parameterization {self.kind!r}; it is fourier or pixels")

    def fresh(self, generators: Sequence[torch.Generator], contrast: float = 1.0) -> Tensor:
        """Numbers of a faint random image for each generator.

        Args:
            generators: on the CPU, one for each image.
            contrast: times that of a usual start.
        """
        shape = (self.channels, self.height, self.width)
        if self.kind == "pixels":
            drawn = [torch.randn(shape, generator=one) for one in generators]
            return _CONTRAST * contrast * torch.stack(drawn)
        size = (self.channels, self.height, self.width // 2 + 1, 2)
        drawn = [torch.randn(size, generator=one) for one in generators]
        # Each frequency adds its own variance to the pixels'.
        strength = self._strength().square().mean().sqrt()
        return _CONTRAST * contrast / float(strength) * torch.stack(drawn)

    def images(self, numbers: Tensor) -> Tensor:
        """Images `(N, C, H, W)` inside the bounds, channels last in memory."""
        low, high = self.bounds
        return low + (high - low) * self._logits(numbers).sigmoid()

    def numbers(self, images: Tensor) -> Tensor:
        """Numbers whose images are these, for pixels that keep away from the bounds."""
        low, high = self.bounds
        shares = ((images.float() - low) / (high - low)).clamp(_EDGE, 1 - _EDGE)
        logits = shares.logit()
        if self.kind == "pixels":
            return logits
        if self.channels == 3:
            back = torch.linalg.inv(logits.new_tensor(_COLOURS))
            logits = torch.einsum("dc,nchw->ndhw", back, logits)
        spectrum = torch.fft.rfft2(logits, norm="ortho")
        return torch.view_as_real(spectrum) / self._strength().to(logits)[..., None]

    def _logits(self, numbers: Tensor) -> Tensor:
        if self.kind == "pixels":
            return numbers.contiguous(memory_format=torch.channels_last)
        strength = self._strength().to(numbers)[..., None]
        spectrum = torch.view_as_complex((numbers * strength).contiguous())
        planes = torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho")
        if self.channels == 3:
            mixed = planes.movedim(1, 3) @ planes.new_tensor(_COLOURS).T
            return mixed.movedim(3, 1)  # channels last in memory, in which convolutions are quick
        return planes.contiguous(memory_format=torch.channels_last)

    def _strength(self) -> Tensor:
        """1 / frequency, `(H, W // 2 + 1)`, at least that of one cycle over the image."""
        y = torch.fft.fftfreq(self.height)[:, None]
        x = torch.fft.rfftfreq(self.width)[None]
        frequency = (y.square() + x.square()).sqrt()
        least = 1 / max(self.height, self.width)
        return least / frequency.clamp(min=least) * (self.height * self.width) ** 0.5 / 4
