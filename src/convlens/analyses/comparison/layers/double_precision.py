"""A model in double precision, and the mode in which its depthwise convolutions are quick."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from convlens.models.model import Model
from convlens.runtime.double_precision import clone_in_double_precision
from convlens.runtime.guard import unwrap_network


def in_double_precision(model: Model) -> Model:
    """The model with its weights, and so all operations, in float64 and contiguous memory."""
    network = clone_in_double_precision(unwrap_network(model.network))
    return replace(model, network=network.to(memory_format=torch.contiguous_format))


class QuickDepthwise(TorchDispatchMode):
    """Runs depthwise convolutions of float64 tensors as sums over the taps of their kernels.

    PyTorch has no kernel for them on a CPU: it convolves one channel after the other, which takes
    most of the time of a network such as MobileNetV2 in double precision. The products are the
    same, added in another order.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            images, weight, bias, stride, padding, dilation, transposed, _, groups = args
            on_cpu = images.device.type == "cpu" and images.dtype == torch.float64
            depthwise = weight.ndim == 4 and 1 < groups == len(weight) and weight.shape[1] == 1
            if on_cpu and depthwise and not transposed:
                return _convolve_depthwise(images, weight, bias, stride, padding, dilation)
        return func(*args, **(kwargs or {}))


def _convolve_depthwise(
    images: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int],
) -> Tensor:  # fmt: skip
    """The depthwise convolution of images by its definition, one tap of all kernels at a time."""
    if any(padding):
        images = F.pad(images, (padding[1], padding[1], padding[0], padding[0]))
    # From the first to the last position of a tap.
    spans = [
        (side - step * (taps - 1) - 1) // jump * jump + 1
        for side, taps, jump, step in zip(
            images.shape[2:], weight.shape[2:], stride, dilation, strict=True
        )
    ]
    result: Tensor | None = None
    for row, column in product(*map(range, weight.shape[2:])):
        top, left = row * dilation[0], column * dilation[1]
        values = images[
            :, :, top : top + spans[0] : stride[0], left : left + spans[1] : stride[1]
        ]  # fmt: skip
        factors = weight[:, 0, row, column].view(-1, 1, 1)
        result = values * factors if result is None else result.addcmul_(values, factors)
    assert result is not None
    return result if bias is None else result.add_(bias.view(-1, 1, 1))
