"""A Model around a network that the user has built."""

from collections.abc import Sequence

import torch
from torch import nn

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.runtime.guard import unwrap_network


def wrap(
    network: nn.Module,
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    size: int | tuple[int, int] = 224,
    bounds: tuple[float, float] = (0.0, 1.0),
    labels: Sequence[str] | None = None,
    channels: int | None = None,
    resize: int | None = None,
    interpolation: str = "bilinear",
    center: str = "data",
    name: str | None = None,
) -> Model:
    """A Model around a network that is at hand, in a notebook say.

    Args:
        network: any `torch.nn.Module`; it is used in place and left untouched.
        mean: subtracted from the image, in the image's units; one number or one per channel.
        std: the image is divided by it after that; one number or one per channel.
        size: height and width in pixels of the images that `prepare` gives.
        bounds: least and greatest pixel value of an image.
        labels: names of the classes by index.
        channels: input channels; default: those of the network's first convolution, else 3.
        resize: short side of a photo before the center crop; default: 8/7 of `size`, the field's
            habit (256 for 224), for square sizes of at least 64; else photos are squashed to size.
        interpolation: of that resize: nearest, bilinear, bicubic or lanczos.
        center: `image` subtracts each image's own mean in each channel, instead of `mean`.
        name: for messages and pages; default: the class of the network.

    Raises:
        ConvlensError: not a module, a TorchScript module, or values that do not fit together.
    """
    if not isinstance(network, nn.Module):
        raise ConvlensError(f"{type(network).__name__} is not a torch.nn.Module")
    if isinstance(network, torch.jit.ScriptModule):
        raise ConvlensError(
            "a TorchScript network has no layers that can be looked at; "
            "give the module that it was scripted from"
        )
    height, width = (size, size) if isinstance(size, int) else size
    if resize is None and height == width and height >= 64:
        resize = round(height * 8 / 7)
    return Model(
        network=network,
        name=name or type(unwrap_network(network)).__name__,
        preprocessing=Preprocessing(
            size=(height, width), resize=resize, interpolation=interpolation
        ),
        channels=channels or _first_channels(network),
        mean=_numbers(mean),
        std=_numbers(std),
        bounds=(float(bounds[0]), float(bounds[1])),
        labels=tuple(labels) if labels is not None else None,
        center=center,
    )


def _numbers(value: float | Sequence[float]) -> tuple[float, ...]:
    if isinstance(value, (int, float)):
        return (float(value),)
    return tuple(float(number) for number in value)


def _first_channels(network: nn.Module) -> int:
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.LazyConv2d)):
            return module.in_channels or 3
    return 3
