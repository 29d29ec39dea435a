"""Model: a network together with how it is to be fed and what its answers are called."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from convlens.data.images import from_pixels
from convlens.data.photo_decoder import PhotoDecoder, PhotoLike
from convlens.data.photos import EncodedPhoto, Photo
from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.models.output_head import select_output
from convlens.runtime.guard import unwrap_network
from convlens.runtime.memory_format import choose_memory_format, to_memory_format

CENTERS = ("data", "image")  # whose mean is subtracted

_ROUNDING = 1e-6  # of the span of the bounds; float arithmetic on pixels may overshoot by this


@dataclass(frozen=True, eq=False)
class Model:
    """A network + preprocessing + normalization + bounds + labels.

    `prepare(photo)` preprocesses a photo to an image; `model(images)` normalizes and runs the
    network without any resizing. Receptive fields, epsilon and overlays all live in the image.

    Attributes:
        network: the module as its author wrote it; its mode and parameters are left alone.
        name: what a person calls the model.
        preprocessing: how a photo becomes an image (resize on 8-bit pixels, crop).
        channels: number of input channels C.
        mean: subtracted per channel, in the image's units; length 1 or C.
        std: divided by per channel, in the image's units; length 1 or C.
        bounds: least and greatest value that a pixel of an image may have.
        labels: names of the classes by index, or None. Synonyms are separated by commas.
        spec: what `convlens.load` was given, or None for a network that was wrapped.
        origin: a sentence about where weights and preprocessing come from.
        center: what is subtracted: `data`, the mean above, which is that of a training set; or
            `image`, each image's own mean in each channel. Either way zero padding is the average.
    """

    network: nn.Module
    name: str
    preprocessing: Preprocessing
    channels: int = 3
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bounds: tuple[float, float] = (0.0, 1.0)
    labels: tuple[str, ...] | None = None
    spec: str | None = None
    origin: str = ""
    center: str = "data"

    def __post_init__(self) -> None:
        for word, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ConvlensError(
                    f"{word} has {len(values)} values for {self.channels} input channels; "
                    f"give one, or one per channel"
                )
        if any(value == 0 for value in self.std):
            raise ConvlensError(f"std {self.std} has a zero, and images are divided by it")
        if self.center not in CENTERS:
            raise ConvlensError(f"center {self.center!r}; give {' or '.join(CENTERS)}")
        if self.center == "image" and any(self.mean):
            raise ConvlensError(f"mean {self.mean} beside each image's own; give one of the two")
        low, high = self.bounds
        if not low < high:
            raise ConvlensError(f"bounds {self.bounds} are empty; give (least, greatest)")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that `prepare` gives, in pixels."""
        return self.preprocessing.size

    @property
    def span(self) -> float:
        """Greatest minus least pixel value."""
        return self.bounds[1] - self.bounds[0]

    @property
    def device(self) -> torch.device:
        """Where the network's first parameter lies (the CPU where it has none)."""
        return next((p.device for p in self.network.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's first floating-point parameter (float32 where it has none)."""
        kinds = (p.dtype for p in self.network.parameters() if p.is_floating_point())
        return next(kinds, torch.float32)

    @property
    def photo_decoder(self) -> PhotoDecoder:
        """What makes pixels of the model's size of a photo, without the network.

        Raises:
            ConvlensError: a network whose number of input channels no photo has.
        """
        if self.channels not in (1, 3):
            raise ConvlensError(
                f"{self.name} takes {self.channels} input channels and a photo has 1 or 3; "
                f"give it tensors of shape (N, {self.channels}, H, W)"
            )
        return PhotoDecoder(self.preprocessing, "L" if self.channels == 1 else "RGB")

    def prepare(self, photos: PhotoLike | Sequence[PhotoLike]) -> Tensor:
        """One photo or several (paths, PIL images) to images.

        Returns:
            float32 `(N, C, H, W)` inside the bounds, on the network's device, in the channels-last
            memory layout, in which convolutions run a quarter to a third faster on a CPU.

        Raises:
            PhotoError: a photo that cannot be read.
            ConvlensError: a network whose number of input channels no photo has.
        """
        if isinstance(photos, (str, Path, Image.Image, Photo, EncodedPhoto)):
            photos = [photos]
        decode = self.photo_decoder
        pixels = torch.from_numpy(np.stack([decode(photo) for photo in photos]))
        return from_pixels(pixels, self.bounds).to(self.device)

    def check(self, images: Tensor) -> Tensor:
        """The images, if they are what `model(images)` takes.

        Raises:
            ConvlensError: no tensor, a shape other than `(N, C, H, W)`, whole numbers, values
                outside the bounds or NaN.
        """
        self.check_shape(images)
        low, high = (value.item() for value in torch.aminmax(images))
        slack = _ROUNDING * self.span
        if not (low >= self.bounds[0] - slack and high <= self.bounds[1] + slack):
            raise ConvlensError(
                f"images with values {low:.4g} to {high:.4g} are outside the model's bounds "
                f"{self.bounds[0]:g} to {self.bounds[1]:g}; give pixels before normalization, "
                f"or set bounds"
            )
        return images

    def check_shape(self, images: Any) -> None:
        """Raise ConvlensError for no tensor `(N, C, H, W)`, or one of whole numbers."""
        if not isinstance(images, Tensor):
            what, remedy = "", "a torch tensor (N, C, H, W)"
            if isinstance(images, np.ndarray):
                remedy = "torch.from_numpy(array)"
            elif isinstance(images, (str, Path, Image.Image, Photo)):
                what = f" {images}" if isinstance(images, (str, Path)) else ""
                remedy = f"model.prepare([{str(images)!r}])" if what else "model.prepare([photo])"
            raise ConvlensError(f"images of type {type(images).__name__}{what}; give {remedy}")
        if images.ndim != 4 or images.shape[1] != self.channels or 0 in images.shape:
            raise ConvlensError(
                f"images of shape {tuple(images.shape)} for a network that takes "
                f"(N, {self.channels}, H, W)"
            )
        if not images.is_floating_point():
            raise ConvlensError(
                f"images of type {images.dtype}; give floating-point pixels inside the bounds "
                f"{self.bounds[0]:g} to {self.bounds[1]:g}"
            )

    def normalize(self, images: Tensor) -> Tensor:
        """Images as the network takes them: (image - mean) / std per channel, in its own type.

        They keep their memory format, but for a network that runs on contiguous images only: that
        is given all of them contiguous.
        """
        images = images.to(self.dtype)
        height, width = images.shape[-2:]
        each = choose_memory_format(
            unwrap_network(self.network), self._drawn, self.size, (height, width)
        )
        if each is torch.contiguous_format:
            images = to_memory_format(images, each)
        return self._normalized(images)

    def _normalized(self, images: Tensor) -> Tensor:
        if self.center == "image":
            images = images - images.mean(dim=(2, 3), keepdim=True)
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device)
        if bool((mean == 0).all()) and bool((std == 1).all()):
            return images
        return (images - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)

    def _drawn(self, count: int, size: tuple[int, int]) -> Tensor:
        """Normalized images of random pixels, always the same."""
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(count, self.channels, *size, generator=generator)
        images = images * self.span + self.bounds[0]
        return self._normalized(images.to(self.device, self.dtype))

    def __call__(self, images: Tensor) -> Tensor:
        """Normalize images `(N, C, H, W)` and run the network in the mode that it is in.

        Returns:
            The network's output: the tensor itself, or the one called `logits` or `out`.
        """
        return select_output(unwrap_network(self.network)(self.normalize(self.check(images))))


def check_model(model: object) -> None:
    """Raise ConvlensError for anything but a Model, with what makes one of it."""
    if isinstance(model, Model):
        return
    if isinstance(model, nn.Module):
        remedy = "convlens.wrap(network, mean=..., std=..., size=...)"
    elif isinstance(model, (str, Path)):
        remedy = f"convlens.load({str(model)!r})"
    else:
        remedy = "what convlens.load or convlens.wrap returns"
    raise ConvlensError(f"{type(model).__name__} is not a Model; give {remedy}")
