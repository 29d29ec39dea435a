"""Convolutions with TensorFlow's "same" padding that copy no padded map.

With an even input and a stride of 2, "same" padding adds one row less above a map than below it.
PyTorch's convolutions pad both sides alike, so timm copies the map into a larger one first, which
takes about a tenth of the time of a pass of EfficientNet-Lite0. A kernel with a row of zeros more
at its beginning, and as much padding above as below, computes the same sums.

Passes whose gradients go through the convolution pad as timm does. Their values would be the same,
but the last bits of the gradients would not, and an image that is optimized in many steps would be
another one.
"""

import sys
from collections.abc import Sequence
from types import MethodType
from typing import Any

from torch import Tensor
from torch.nn import functional as F


def pad_inside(convolution: Any) -> None:
    """Let a convolution of timm with "same" padding run without a copy of its input.

    Any other module is left as it is. The results are the same, but where a map holds infinity or
    NaN, which the zeros make NaN in one more row or column.

    Args:
        convolution: a module of a copy of a network, without hooks and without a `forward` of its
            own instance.
    """
    same = sys.modules.get("timm.layers.conv2d_same")  # loaded if a network uses it
    if same is None or type(convolution) is not same.Conv2dSame:
        return
    # With a dilation, a row of zeros more would move the kernel by several rows.
    if tuple(convolution.dilation) == (1, 1):
        convolution.forward = MethodType(_run, convolution)


def _run(module: Any, maps: Tensor) -> Tensor:
    if maps.requires_grad:
        padded: Tensor = type(module).forward(module, maps)
        return padded
    from timm.layers.padding import get_same_padding

    totals = [
        get_same_padding(side, kernel, stride, 1)
        for side, kernel, stride in zip(
            maps.shape[-2:], module.weight.shape[-2:], module.stride, strict=True
        )
    ]
    after = [total - total // 2 for total in totals]
    zeros = [more - total // 2 for more, total in zip(after, totals, strict=True)]
    weight = _zeros_before(module.weight, zeros)
    return F.conv2d(maps, weight, module.bias, module.stride, after, 1, module.groups)


def _zeros_before(weight: Tensor, zeros: Sequence[int]) -> Tensor:
    """The kernels with so many rows and columns of zeros before their own."""
    rows, columns = zeros
    return F.pad(weight, (columns, 0, rows, 0)) if rows or columns else weight
