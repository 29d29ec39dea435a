"""What a convolution receives when a network runs: its input, its weights and its settings."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from convlens.runtime.composite_operations import run_parts
from convlens.runtime.guard import preserve_network


@dataclass(frozen=True)
class ConvolutionCall:
    """The arguments of one call of a convolution.

    Attributes:
        inputs: the tensor that it convolves, `(N, C, H, W)` for two dimensions.
        weight: a copy of the weights.
        bias: the biases, or None.
        stride: steps along each dimension.
        padding: zeros on each side of each dimension.
        dilation: distance between neighboring taps along each dimension.
        transposed: whether it is a transposed convolution.
        groups: number of groups of channels.
    """

    inputs: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    groups: int

    @property
    def channels(self) -> int:
        """Number of input channels that the weights are made for."""
        if self.transposed:
            return len(self.weight)
        return self.weight.shape[1] * self.groups


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
    with (
        torch.inference_mode(mode=False),  # in which convolutions are other operations
        torch.no_grad(),
        preserve_network(network) as bare,
        recorder,
        suppress(_CallFound),
    ):
        bare(images)
    return recorder.call


class _CallFound(BaseException):
    """The call is found. Not an Exception, so that no network catches it."""


class _Recorder(TorchDispatchMode):
    """Keeps the arguments of the convolution with a number, and ends the run there."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.call: ConvolutionCall | None = None
        self._number = number

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            if self._number == 0:
                inputs, weight, bias, stride, padding, dilation, transposed, _, groups = args
                self.call = ConvolutionCall(
                    inputs, weight.clone(), bias, tuple(stride), tuple(padding), tuple(dilation),
                    transposed, groups,
                )  # fmt: skip
                raise _CallFound
            self._number -= 1
        returned = run_parts(self, func, args, kwargs or {})
        return func(*args, **(kwargs or {})) if returned is NotImplemented else returned
