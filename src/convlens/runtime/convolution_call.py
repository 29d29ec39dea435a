"""What a convolution receives when a network runs: for weights as used, and for input channels."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from convlens.runtime.guard import preserve_network


@dataclass(frozen=True)
class ConvolutionCall:
    """The arguments of one call of a convolution.

    Attributes:
        input_shape: shape of the tensor that it convolves.
        weight: a copy of the weights.
        groups: number of groups of channels.
    """

    input_shape: tuple[int, ...]
    weight: Tensor
    groups: int


def find_convolution_call(
    network: nn.Module, images: Tensor, number: int = 0
) -> ConvolutionCall | None:
    """Run a network until it calls a convolution, and return what that receives.

    Args:
        network: left untouched.
        images: `(N, C, H, W)` as the network takes them, in memory that it may write into.
        number: which of the convolutions that the network calls, in order; default: the first.

    Returns:
        The call; None if the network ends before it.

    Raises:
        Exception: whatever the network raises before that call.
    """
    recorder = _Recorder(number)
    with preserve_network(network) as bare, torch.no_grad(), recorder, suppress(_StopForward):
        bare(images)
    return recorder.call


class _StopForward(BaseException):
    """The call is found. Not an Exception, so that no network catches it."""


class _Recorder(TorchDispatchMode):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.call: ConvolutionCall | None = None
        self._number = number

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            if self._number == 0:
                inputs, weight, *_, groups = args
                self.call = ConvolutionCall(tuple(inputs.shape), weight.clone(), groups)
                raise _StopForward
            self._number -= 1
        return func(*args, **(kwargs or {}))
