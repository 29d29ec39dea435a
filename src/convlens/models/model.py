"""Model: a network with its preprocessing, normalization, pixel bounds and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convlens.data.datasets.pictures import list_photos
from convlens.data.images import from_pixels
from convlens.data.photo_decoder import PhotoDecoder
from convlens.data.photos import PhotoLike
from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.models.description import describe_model
from convlens.models.outputs import select_output
from convlens.models.supported import check_initialized, check_supported
from convlens.runtime.default_device import check_default_device
from convlens.runtime.exclusive import exclusive
from convlens.runtime.extrema import extrema
from convlens.runtime.guard import unwrap_network
from convlens.runtime.memory_format import choose_memory_format, to_memory_format
from convlens.text import printable

CENTERS = ("data", "image")  # the mean that is subtracted is of a training set, or of each image

# Photos, or images `(N, C, H, W)` or `(C, H, W)` inside the bounds of the model.
ImagesLike = PhotoLike | Sequence[PhotoLike | Tensor] | Tensor

_ROUNDING = 1e-6  # fraction of the span by which float arithmetic may exceed the bounds


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its preprocessing, normalization, pixel bounds and labels.

    `model.prepare(photos)` preprocesses photos to images. `model(images)` normalizes images and
    runs the network; it never resizes them. Receptive fields, epsilon and overlays refer to the
    pixels of images.

    Attributes:
        network: the module as its author wrote it; its mode and parameters are never changed.
        name: name of the model, for people.
        preprocessing: how a photo becomes an image (resize of 8-bit pixels, center crop).
        channels: number of input channels C; default 3.
        mean: subtracted from each channel, in units of the image; length 1 or C. Default: 0.
        std: divides each channel after that, in units of the image; length 1 or C. Default: 1.
        bounds: lowest and highest value of a pixel of an image; default: 0 and 1.
        labels: names of the classes by index, or None. Commas separate synonyms. Default: no
            labels.
        spec: text from which `convlens.load` made the model, or None for a wrapped network;
            default: None.
        origin: where weights and preprocessing come from, in words; default: empty.
        center: `data` subtracts `mean`, the mean of a training set; `image` subtracts the mean of
            each channel of each image. With either, zero padding equals the mean. Default: `data`.
        class_names: path of the file from which `convlens.load` read the labels, or None; default:
            None.
        output: position of the class scores among several tensors that the network returns, or
            None if `select_output` searches for them; default: None.

    Raises:
        ConvlensError: values that do not fit together.

    Example:
        >>> import torch
        >>> from convlens import wrap
        >>> model = wrap(torch.nn.Conv2d(3, 8, 3), mean=0.5, std=0.5, size=16)
        >>> model(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 8, 14, 14])
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
    class_names: str | None = None
    output: int | None = None

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ConvlensError(
                    f"{name} has {len(values)} values for {self.channels} input channels; "
                    f"give one, or one per channel"
                )
        if any(value == 0 for value in self.std):
            raise ConvlensError(
                f"std {self.std} has a zero, by which images cannot be divided; give other numbers"
            )
        if self.center not in CENTERS:
            raise ConvlensError(f"center {self.center!r}; give {' or '.join(CENTERS)}")
        if self.center == "image" and any(self.mean):
            raise ConvlensError(
                f'mean {self.mean} beside each image\'s own mean; give center="data", or no mean'
            )
        low, high = self.bounds
        if not low < high:
            raise ConvlensError(f"bounds {self.bounds} are empty; give (least, greatest)")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that `prepare` gives, in pixels."""
        return self.preprocessing.size

    @property
    def span(self) -> float:
        """Highest minus lowest value of a pixel."""
        return self.bounds[1] - self.bounds[0]

    @property
    def device(self) -> torch.device:
        """Device of the network's first parameter; the CPU if it has none."""
        return next((p.device for p in self.network.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's first floating-point parameter; float32 if it has none."""
        dtypes = (p.dtype for p in self.network.parameters() if p.is_floating_point())
        return next(dtypes, torch.float32)

    @property
    def photo_decoder(self) -> PhotoDecoder:
        """Decodes photos to pixels of the model's size; it does not hold the network.

        Raises:
            ConvlensError: the network takes a number of channels that no photo has.
        """
        if self.channels not in (1, 3):
            raise ConvlensError(
                f"{self.name} takes {self.channels} input channels and a photo has 1 or 3; "
                f"give it tensors of shape (N, {self.channels}, H, W)"
            )
        return PhotoDecoder(self.preprocessing, "L" if self.channels == 1 else "RGB")

    def prepare(self, photos: ImagesLike) -> Tensor:
        """Decode and preprocess photos.

        Args:
            photos: one photo or several.

                - A path, a PIL image, or an array `(H, W, C)` or `(H, W)` of uint8, or of floats
                  from 0 to 1, is a photo: it is resized and cropped. So is a uint8 tensor
                  `(C, H, W)`. An array `(N, H, W, C)` is several photos.
                - A tensor of floats, `(C, H, W)` or `(N, C, H, W)`, is an image inside the bounds
                  already, and only checked; so are several of them `(C, H, W)`.

        Returns:
            float32 `(N, C, H, W)` inside the bounds, on the device of the network, in the
            channels-last memory format, in which convolutions run a quarter to a third faster on a
            CPU.

        Raises:
            PhotoError: a photo that cannot be read.
            ConvlensError: the network takes a number of channels that no photo has, or an image
                that `check` refuses.

        Example:
            >>> import torch
            >>> from PIL import Image
            >>> from convlens import wrap
            >>> model = wrap(torch.nn.Conv2d(3, 8, 3), size=16)
            >>> model.prepare([Image.new("RGB", (40, 30), "white")]).shape
            torch.Size([1, 3, 16, 16])
        """
        if isinstance(photos, Tensor) and photos.ndim == 4:
            photos = list(photos)
        several = [photos] if isinstance(photos, Tensor) else list_photos(photos)
        if not several:
            raise ConvlensError("no photos; give at least one")
        is_image = [isinstance(photo, Tensor) and photo.is_floating_point() for photo in several]
        if all(is_image):
            return self._stack(several)
        if any(is_image):
            raise ConvlensError(
                "photos and tensors of floats together; give one kind, as a tensor of floats is an "
                "image that is neither resized nor cropped"
            )
        decoder = self.photo_decoder
        pixels = np.stack([decoder(tensor_to_array(photo)) for photo in several])
        return from_pixels(torch.from_numpy(pixels), self.bounds).to(self.device)

    def to_images(self, images: ImagesLike) -> Tensor:
        """The images that an analysis is given, on the device of the network.

        A tensor of floats stays as it is otherwise, and photos are prepared.

        Args:
            images: as `prepare` takes them. The size of a tensor of floats may be another one than
                that of the model.

        Returns:
            `(N, C, H, W)`.

        Raises:
            PhotoError: a photo that cannot be read.
            ConvlensError: no photo, or an image that `check_shape` refuses.
        """
        if isinstance(images, Tensor) and images.is_floating_point():
            images = images[None] if images.ndim == 3 else images
            self.check_shape(images)
            return images.to(self.device)
        return self.prepare(images)

    def _stack(self, images: Sequence[Tensor]) -> Tensor:
        """Images `(C, H, W)` as one tensor on the device of the network, checked."""
        shapes = {tuple(image.shape): None for image in images}
        if len(shapes) > 1:
            first, second, *_ = shapes
            raise ConvlensError(f"images of shapes {first} and {second}; give images of one shape")
        stacked = torch.stack([image.to(self.device) for image in images]).float()
        return self.check(stacked).contiguous(memory_format=torch.channels_last)

    def check(self, images: Tensor) -> Tensor:
        """Check that images are valid input.

        Args:
            images: images to check.

        Returns:
            The same tensor.

        Raises:
            ConvlensError: not a floating-point tensor `(N, C, H, W)`, or values that are NaN or
                outside the bounds.
        """
        self.check_shape(images)
        low, high = extrema(images)
        tolerance = _ROUNDING * self.span
        if not (low >= self.bounds[0] - tolerance and high <= self.bounds[1] + tolerance):
            raise ConvlensError(
                f"images with values {low:.4g} to {high:.4g} are outside the model's bounds "
                f"{self.bounds[0]:g} to {self.bounds[1]:g}; give pixels before normalization, "
                f"or set bounds"
            )
        return images

    def check_shape(self, images: Any) -> None:
        """Check shape and type of images, not their values.

        Raises:
            ConvlensError: not a floating-point tensor `(N, C, H, W)`.
        """
        if not isinstance(images, Tensor):
            raise ConvlensError(
                f"images of type {type(images).__name__}; give a tensor (N, C, H, W), or what "
                f"model.prepare makes of photos"
            )
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
        """Normalize images for the network: (image - mean) / std for each channel.

        Args:
            images: `(N, C, H, W)` inside the bounds; not checked.

        Returns:
            `(N, C, H, W)` in the type of the network, in memory of its own, which the network may
            write into. The memory format is that of `images`, except for a network that only runs
            with contiguous images.

        Raises:
            ConvlensError: torch's default device is not the CPU.
        """
        check_default_device()
        normalized = self._convert_and_normalize(images)
        if normalized.untyped_storage().data_ptr() == images.untyped_storage().data_ptr():
            normalized = normalized.clone()
        return normalized

    def _convert_and_normalize(self, images: Tensor) -> Tensor:
        images = images.to(self.dtype)
        height, width = images.shape[-2:]
        memory_format = choose_memory_format(
            unwrap_network(self.network), self._random_images, self.channels, self.size,
            (height, width),
        )  # fmt: skip
        if memory_format is torch.contiguous_format:
            images = to_memory_format(images, memory_format)
        return self._normalized(images)

    def _normalized(self, images: Tensor) -> Tensor:
        if self.center == "image":
            images = images - images.mean(dim=(2, 3), keepdim=True)
        mean, std = (
            torch.tensor(
                # A single number takes a third of the time of one for each channel.
                values[:1] if len(set(values)) == 1 else values,
                dtype=images.dtype, device=images.device,
            )
            for values in (self.mean, self.std)
        )  # fmt: skip
        if bool((mean == 0).all()) and bool((std == 1).all()):
            return images
        return (images - mean.view(1, -1, 1, 1)).div_(std.view(1, -1, 1, 1))

    def _random_images(self, count: int, size: tuple[int, int]) -> Tensor:
        """Normalized images of random pixels, the same at each call."""
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(count, self.channels, *size, generator=generator, dtype=torch.float32)
        images = images * self.span + self.bounds[0]
        return self._normalized(images.to(self.device, self.dtype))

    def __call__(self, images: Tensor) -> Tensor:
        """Normalize images and run the network in the mode that it is in.

        Args:
            images: `(N, C, H, W)` inside the bounds.

        Returns:
            The output of the network as `select_output` takes it, usually `(N, classes)`.

        Raises:
            ConvlensError: images that `check` refuses, several tensors of which any may hold the
                class scores, or a network whose parameters are created at its first run.
        """
        check_initialized(self.network)
        network = unwrap_network(self.network)
        normalized = self.normalize(self.check(images))
        with exclusive(network.modules()):  # another thread may capture nodes of the network
            return select_output(
                network(normalized), index=self.output,
                num_labels=len(self.labels) if self.labels is not None else None,
            )  # fmt: skip

    def __repr__(self) -> str:
        rows = (f"\n  {name + ':':9}{words}" for name, words in describe_model(self))
        return f"<Model {printable(self.name)}{''.join(rows)}>"

    def _repr_html_(self) -> str:
        from convlens.results.display import rows_html  # jinja2 is loaded only where it is shown

        return rows_html(f"Model {self.name}", describe_model(self))


def tensor_to_array(photo: Any) -> Any:
    """The pixels of a uint8 tensor `(C, H, W)` as an array `(H, W, C)`; anything else as it is."""
    return photo.detach().cpu().movedim(0, -1).numpy() if isinstance(photo, Tensor) else photo


def check_model(model: object) -> None:
    """Check that an argument is a Model with a network that can be analyzed.

    Args:
        model: the argument that a user gave.

    Raises:
        ConvlensError: anything but a Model; the message says how to make one of it. Also a
            network that `check_supported` refuses, and a default device other than the CPU.
    """
    if isinstance(model, Model):
        check_default_device()
        check_supported(model.network)
        return
    if isinstance(model, nn.Module):
        remedy = "convlens.wrap(network, mean=..., std=..., size=...)"
    elif isinstance(model, (str, Path)):
        remedy = f"convlens.load({str(model)!r})"
    else:
        remedy = "what convlens.load or convlens.wrap returns"
    raise ConvlensError(f"{type(model).__name__} is not a Model; give {remedy}")
