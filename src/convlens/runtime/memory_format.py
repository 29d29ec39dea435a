"""The memory format of the images that a network is given.

Convolutions run a quarter to a third faster on a CPU in channels-last. A network that calls `.view`
on a map, to flatten it before its fully connected stage, runs only with images that lie channel by
channel.
"""

from collections.abc import Callable
from contextlib import nullcontext
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from convlens.runtime.clone import clone_network, silence_fake_tensor_log
from convlens.runtime.guard import untouched

Size = tuple[int, int]
Draw = Callable[[int, Size], Tensor]

_FORMATS = (torch.channels_last, torch.contiguous_format)
# In a batch of one, rows that do not follow each other in memory can look as if they did.
_BATCHES = (2, 1)


def choose_memory_format(
    network: nn.Module, draw: Draw, own: Size, given: Size
) -> torch.memory_format:
    """Channels-last for a network that runs with it too, else contiguous.

    That is decided once, on a copy of the network and images of the model's own size: on fake
    tensors, which compute nothing, or on random pixels where the network looks at its data or
    takes a single channel. Only where it does not run on that size at all is it the given size
    that decides.

    Args:
        network: left untouched.
        draw: gives so many normalized images of a size, always the same.
        own: height and width of the model's images.
        given: height and width of the images at hand.
    """
    known = _decided.setdefault(network, {})
    modules = [ref(module) for module in network.modules()]

    def decided(size: Size, *, real: bool) -> torch.memory_format | None:
        if size not in known or known[size][0] != modules:
            known[size] = (modules, _decide(network, draw, size, real=real))
        return known[size][1]

    return decided(own, real=True) or decided(given, real=False) or torch.channels_last


_Known = tuple[list[ref[nn.Module]], torch.memory_format | None]
_decided: WeakKeyDictionary[nn.Module, dict[Size, _Known]] = WeakKeyDictionary()


def _decide(
    network: nn.Module, draw: Draw, size: Size, *, real: bool
) -> torch.memory_format | None:
    """The first format in which the network runs on images of a size, or None."""
    with torch.inference_mode(mode=False), untouched(network), torch.no_grad():
        # Of what lies in one channel the two formats are one, and fake tensors tell them apart
        # otherwise than real ones.
        single = draw(1, (1, 1)).shape[1] == 1
        for fake in (False,) if single else (True, False) if real else (True,):
            for count in _BATCHES:
                for each in _FORMATS:
                    if _runs(network, draw, count, size, each, fake=fake):
                        return each
    return None


def _runs(
    network: nn.Module,
    draw: Draw,
    count: int,
    size: Size,
    each: torch.memory_format,
    *,
    fake: bool,
) -> bool:
    mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else None
    try:
        with silence_fake_tensor_log():
            clone = clone_network(network, mode)
            # Of a fake image nothing but the shape counts.
            images = mode.from_tensor(draw(1, (1, 1))) if mode else draw(count, size)
            with mode or nullcontext():
                clone(to_memory_format(images.expand(count, -1, *size), each))
    except Exception:  # whatever it is: it does not run
        return False
    return True


def to_memory_format(images: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Images `(N, C, H, W)` in a memory format, channels-last or contiguous.

    Their strides are that format's also where the two are one in memory (a single channel), since
    it is by the strides that torch tells which of the two to go on with.
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
