"""A Model around a network that the user has built."""

from collections.abc import Sequence

import torch
from torch import nn

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.runtime.convolution_call import ConvolutionCall, find_convolution_call
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
    output: int | None = None,
) -> Model:
    """Make a Model of a network that exists in Python.

    Args:
        network: any `torch.nn.Module`; it is used in place and left untouched.
        mean: subtracted from images, in units of the image; one number or one for each channel.
            Default: 0.
        std: divides images after that, in units of the image; one number or one for each channel.
            Default: 1.
        size: height and width of the images that `Model.prepare` makes, in pixels; default 224.
        bounds: lowest and highest value of a pixel of an image; default: 0 and 1.
        labels: names of the classes by index; commas separate synonyms. Default: none.
        channels: number of input channels; default: as many as the first convolution takes
            that the network runs, or 3 if there is none.
        resize: short side of a photo before the center crop, in pixels. Default: 8/7 of `size`
            (256 for 224) for square sizes of at least 64; for other sizes photos are resized to
            `size` without keeping their aspect ratio.
        interpolation: filter of the resize: nearest, box, bilinear, hamming, bicubic or lanczos.
            Default: "bilinear".
        center: `data` subtracts `mean`; `image` subtracts the mean of each channel of each image.
            Default: `data`.
        name: name for messages and pages; default: the name of the network's class.
        output: position of the class scores among several tensors that the network returns, from
            0. Default: they are searched for (see `select_output`).

    Returns:
        The Model.

    Raises:
        ConvlensError: no module, a TorchScript module, or values that do not fit together.

    Example:
        >>> import torch
        >>> from convlens import wrap
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 5), torch.nn.ReLU())
        >>> model = wrap(network, mean=0.13, std=0.31, size=28)
        >>> model.channels, model.size, model.bounds
        (1, (28, 28), (0.0, 1.0))
    """
    if not isinstance(network, nn.Module):
        remedy = "its module()" if type(network).__name__ == "ExportedProgram" else "the network"
        raise ConvlensError(f"{type(network).__name__} is not a torch.nn.Module; give {remedy}")
    if isinstance(network, torch.jit.ScriptModule):
        raise ConvlensError(
            "a TorchScript network has no layers that can be traced; "
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
        channels=channels or _find_input_channels(network, (height, width)),
        mean=_as_tuple(mean),
        std=_as_tuple(std),
        bounds=(float(bounds[0]), float(bounds[1])),
        labels=tuple(labels) if labels is not None else None,
        center=center,
        output=output,
    )


def _as_tuple(value: float | Sequence[float]) -> tuple[float, ...]:
    if isinstance(value, (int, float)):
        return (float(value),)
    return tuple(float(number) for number in value)


def _find_input_channels(network: nn.Module, size: tuple[int, int]) -> int:
    """The number of channels for which the first convolution of a run gets as many as it takes.

    Modules may be declared in another order than they run in, and code before the first convolution
    may change the number of channels (space to depth).
    """
    declared = [
        module.in_channels
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.in_channels
    ]
    for channels in dict.fromkeys((*declared[:1], 3, 1)):
        convolution = _first_convolution(network, channels, size)
        if convolution is None:
            continue
        received = convolution.inputs.shape[1]
        expected = convolution.channels
        if received == expected:
            return channels
        scaled, remainder = divmod(channels * expected, received)
        if not remainder:
            convolution = _first_convolution(network, scaled, size)
            if convolution is not None and convolution.inputs.shape[1] == expected:
                return scaled
    return declared[0] if declared else 3


def _first_convolution(
    network: nn.Module, channels: int, size: tuple[int, int]
) -> ConvolutionCall | None:
    """What the first convolution receives; None if the network has none or ends before it."""
    parameter = next(
        (p for p in network.parameters() if p.is_floating_point()),
        torch.empty(0, dtype=torch.float32),
    )
    images = torch.zeros(1, channels, *size, dtype=parameter.dtype, device=parameter.device)
    try:
        return find_convolution_call(network, images)
    except Exception:  # the code before the first convolution takes another number of channels
        return None
