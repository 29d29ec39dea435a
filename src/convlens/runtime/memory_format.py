"""The memory format of images: channels-last where the network allows it.

Convolutions run a quarter to a third faster on a CPU in channels-last. A network that calls `.view`
on a map, for example to flatten it before a fully connected layer, only runs with contiguous
images.
"""

from collections.abc import Callable
from contextlib import nullcontext
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from convlens.runtime.clone import clone_network, silence_fake_tensor_log
from convlens.runtime.guard import preserve_network
from convlens.runtime.module_list import list_modules

Size = tuple[int, int]
MakeImages = Callable[[int, Size], Tensor]

_FORMATS = (torch.channels_last, torch.contiguous_format)
# The strides of a batch of one can satisfy both memory formats.
_BATCH_SIZES = (2, 1)


def choose_memory_format(
    network: nn.Module, make_images: MakeImages, channels: int, own_size: Size, given_size: Size
) -> torch.memory_format:
    """Channels-last for a network that runs with it, else contiguous.

    The choice is made once for each network, on a copy of it with images of the model's own size:
    with fake tensors, which compute nothing, or with random pixels if the network reads its data or
    takes a single channel. `given_size` decides only if the network does not run at its own size.

    Args:
        network: left untouched.
        make_images: makes a number of normalized images of a size, the same at each call.
        channels: number of channels of the images.
        own_size: height and width of the model's images, in pixels.
        given_size: height and width of the images that the network is given, in pixels.
    """
    choices = _choices.setdefault(network, {})
    modules = _modules_of(network)

    def choice(size: Size, *, real: bool) -> torch.memory_format | None:
        key = (channels, size, real)
        if key not in choices or choices[key][0] != modules:
            choices[key] = (modules, _find_format(network, make_images, size, real=real))
        return choices[key][1]

    return choice(own_size, real=True) or choice(given_size, real=False) or torch.channels_last


def remember_memory_format(
    network: nn.Module, channels: int, size: Size, memory_format: torch.memory_format
) -> None:
    """Record what a run on two fake images has shown, so that it is not repeated.

    Args:
        network: the network that ran.
        channels: number of channels of the images; more than one.
        size: their height and width in pixels.
        memory_format: the first format, channels-last before contiguous, in which it ran.
    """
    choices = _choices.setdefault(network, {})
    for real in (True, False):
        choices[channels, size, real] = (_modules_of(network), memory_format)


def find_remembered_format(
    network: nn.Module, channels: int, size: Size
) -> torch.memory_format | None:
    """The format that is recorded for a network and images of a size, if one is."""
    modules, memory_format = _choices.get(network, {}).get((channels, size, True), (None, None))
    return memory_format if modules == _modules_of(network) else None


def copy_memory_formats(network: nn.Module, clone: nn.Module) -> None:
    """Choose for a clone what was chosen for its network, whose operations it runs."""
    modules, modules_of_clone = _modules_of(network), _modules_of(clone)
    _choices[clone] = {
        key: (modules_of_clone, memory_format)
        for key, (known_modules, memory_format) in _choices.get(network, {}).items()
        if known_modules == modules
    }


def _modules_of(network: nn.Module) -> list[ref[nn.Module]]:
    return [ref(module) for module in list_modules(network)]


_Choice = tuple[list[ref[nn.Module]], torch.memory_format | None]
# By the number of channels, the size, and whether real images were tried where fake ones failed.
_choices: WeakKeyDictionary[nn.Module, dict[tuple[int, Size, bool], _Choice]] = WeakKeyDictionary()


def _find_format(
    network: nn.Module, make_images: MakeImages, size: Size, *, real: bool
) -> torch.memory_format | None:
    """The first format in which the network runs on images of a size, or None."""
    with torch.inference_mode(mode=False), preserve_network(network), torch.no_grad():
        # The two formats of an image with one channel are the same in memory, and fake tensors
        # tell them apart differently from real tensors.
        one_channel = make_images(1, (1, 1)).shape[1] == 1
        for fake in (False,) if one_channel else (True, False) if real else (True,):
            for count in _BATCH_SIZES:
                for memory_format in _FORMATS:
                    if _runs(network, make_images, count, size, memory_format, fake=fake):
                        return memory_format
    return None


def _runs(
    network: nn.Module,
    make_images: MakeImages,
    count: int,
    size: Size,
    memory_format: torch.memory_format,
    *,
    fake: bool,
) -> bool:
    mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else None
    try:
        with silence_fake_tensor_log():
            clone = clone_network(network, mode)
            # Only the shape of a fake image matters.
            images = mode.from_tensor(make_images(1, (1, 1))) if mode else make_images(count, size)
            with mode or nullcontext():
                clone(to_memory_format(images.expand(count, -1, *size), memory_format))
    except Exception:  # any error means that it does not run
        return False
    return True


def to_memory_format(images: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Convert images to a memory format.

    The strides are always those of the format, also for a single channel, for which both formats
    are the same in memory: PyTorch chooses the format of an operation's output by the strides of
    its input.

    Args:
        images: `(N, C, H, W)`.
        memory_format: `torch.channels_last` or `torch.contiguous_format`.

    Returns:
        The images, copied only if their strides differ.
    """
    channels, height, width = images.shape[1:]
    if memory_format is torch.contiguous_format:
        if images.stride() == (channels * height * width, height * width, width, 1):
            return images
        return images.reshape(-1).view(images.shape)
    if images.stride() == (channels * height * width, 1, width * channels, channels):
        return images
    rows = images.permute(0, 2, 3, 1)
    return rows.reshape(-1).view(rows.shape).permute(0, 3, 1, 2)
