"""Receptive field of sliding windows: convolution, pooling, interpolation and padding.

The receptive field of an output position is the union of those of the input positions in its
window (Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks",
Distill, 2019), computed here for each position.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlens.tracing.interval import (
    FieldRule,
    FieldView,
    PixelInterval,
    combine_along,
    combine_everything,
    position_dim,
    update_spacing,
)


def sliding_window(
    kernel_size: int | tuple[int, int] | str,
    stride: int | tuple[int, int] | str = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] | str = 1,
) -> FieldRule:
    """Make the rule of an operation with windows over the rows and columns of its first argument.

    Rows and columns are the last two dimensions of the input `(N, C, h, w)` and of the output. Each
    output channel sees all input channels. Each argument is a number, a pair (rows, columns), or
    the name of the operation's argument that holds them.

    Args:
        kernel_size: rows and columns of a window.
        stride: positions from one window to the next. Default: 1.
        padding: rows and columns that are added on each side. Default: 0.
        dilation: distance of neighboring taps. Default: 1.

    Returns:
        The rule, for `convlens.register_operation`.
    """

    def rule(view: FieldView) -> list[PixelInterval | None]:
        kernels, strides, paddings, dilations = (
            as_list(view[value] if isinstance(value, str) else value, 2)
            for value in (kernel_size, stride, padding, dilation)
        )
        name = view.first_argument
        interval = view.interval(name)
        interval = combine_along(interval, [1])
        for index, dim in enumerate((-2, -1)):
            starts = torch.arange(view.output_shape[dim]) * strides[index] - paddings[index]
            ends = starts + (kernels[index] - 1) * dilations[index]
            window = Window(dim, view.shape(name)[dim], starts, ends, strides[index])
            interval = window.slide_over(interval, view.axis)
        return [interval]

    return rule


def pooling(kernel: str) -> FieldRule:
    """Receptive field of pooling.

    Args:
        kernel: name of the argument that holds the size of the window.
    """

    def rule(view: FieldView) -> list[PixelInterval | None]:
        sizes = as_list(view[kernel], 0)
        count = len(sizes)
        strides = as_list(view["stride"], count) if view["stride"] else sizes
        paddings = as_list(view["padding"] or 0, count)
        dilations = as_list(view["dilation"] or 1, count)
        name = view.first_argument
        interval = view.interval(name)
        for index in range(count):
            dim = index - count
            starts = torch.arange(view.output_shape[dim]) * strides[index] - paddings[index]
            taps = torch.arange(sizes[index]) * dilations[index]
            window = Window(dim, view.shape(name)[dim], starts, starts + taps[-1], strides[index])
            interval = window.slide_over(interval, view.axis)
        return [interval]

    return rule


def convolution(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of a convolution, with groups, also of a transposed convolution."""
    interval = view.interval("input")
    if interval is None:
        return combine_everything(view)
    weight = view.shape("weight")
    count = len(weight) - 2
    interval = _combine_groups(
        interval, view.shape("input")[1], view["groups"], view.output_shape[1]
    )
    for index in range(count):
        dim = index - count
        kernel, stride = weight[2 + index], as_list(view["stride"], count)[index]
        padding = as_list(view["padding"], count)[index]
        extent = (kernel - 1) * as_list(view["dilation"], count)[index]
        positions = torch.arange(view.output_shape[dim])
        length = view.shape("input")[dim]
        if view["transposed"]:
            # Output o gathers the inputs i with o = i * stride - padding + tap.
            first = torch.ceil((positions + padding - extent) / stride).long()
            last = torch.div(positions + padding, stride, rounding_mode="floor")
            # With a stride larger than the kernel, an output between two taps sees no input.
            window = Window(dim, length, torch.minimum(first, last), last, 1 / stride)
        else:
            starts = positions * stride - padding
            window = Window(dim, length, starts, starts + extent, stride)
        interval = window.slide_over(interval, view.axis)
    return [interval]


def _combine_groups(
    interval: PixelInterval, channels: int, groups: int, out_channels: int
) -> PixelInterval:
    """The union over the input channels of each group, for each output channel."""
    if interval.low.shape[1] == 1 and interval.high.shape[1] == 1:
        return interval

    def combine(tensor: Tensor, reduce: Callable[..., Tensor]) -> Tensor:
        positions = tensor.shape[2:]
        tensor = tensor.expand(-1, channels, *positions)
        grouped = reduce(tensor.reshape(-1, groups, channels // groups, *positions), dim=2)
        return grouped.repeat_interleave(out_channels // groups if groups > 1 else 1, dim=1)

    return replace(
        interval, low=combine(interval.low, torch.amin), high=combine(interval.high, torch.amax)
    )


def adaptive_pooling(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of adaptive pooling: the input is cut into windows of about equal size."""
    name = view.first_argument
    interval = view.interval(name)
    count = len(view["output_size"])
    for dim in range(-count, 0):
        n, m = view.shape(name)[dim], view.output_shape[dim]
        positions = torch.arange(m)
        first = torch.div(positions * n, m, rounding_mode="floor")
        last = -torch.div(-(positions + 1) * n, m, rounding_mode="floor") - 1
        window = Window(dim, n, first, last, n / m)
        interval = (
            combine_along(interval, [dim]) if m == 1 else window.slide_over(interval, view.axis)
        )
    return [interval]


def interpolation(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of upsampling and resizing, by nearest, linear or cubic interpolation."""
    interval = view.interval(view.first_argument)
    shape = view.shape(view.first_argument)
    count = len(shape) - 2
    for dim in range(-count, 0):
        first, last = _interpolated_range(view, dim, shape[dim], view.output_shape[dim])
        if interval is not None and interval.nearest:
            positions = torch.arange(view.output_shape[dim])
            first = last = (2 * positions + 1) * shape[dim] // (2 * view.output_shape[dim])
        window = Window(dim, shape[dim], first, last, shape[dim] / view.output_shape[dim])
        interval = window.slide_over(interval, view.axis)
    return [interval]


def _interpolated_range(view: FieldView, dim: int, n: int, m: int) -> tuple[Tensor, Tensor]:
    """First and last of the n input positions that each of m outputs is interpolated from.

    PyTorch computes them in the network's own precision, and rounding may move one by a position.
    The range therefore includes the positions of both float32 and float64.
    """
    ranges = [
        _interpolated_range_in(dtype, view, dim, n, m) for dtype in (torch.float32, torch.float64)
    ]
    first = torch.minimum(ranges[0][0], ranges[1][0])
    last = torch.maximum(ranges[0][1], ranges[1][1])
    # Interpolation repeats the edge instead of padding.
    return first.clamp(0, n - 1), last.clamp(0, n - 1)


def _interpolated_range_in(
    dtype: torch.dtype, view: FieldView, dim: int, n: int, m: int
) -> tuple[Tensor, Tensor]:
    name = view.operation.name
    positions = torch.arange(m, dtype=dtype)
    factor = _scale_factor(view, dim)
    ratio = torch.tensor(1 / factor if factor else n / m, dtype=dtype)
    center = (positions + 0.5) * ratio - 0.5
    if view["align_corners"]:
        center = positions * torch.tensor((n - 1) / (m - 1) if m > 1 else 0.0, dtype=dtype)
    if "nearest" in name:
        first = last = torch.floor((positions + (0.5 if "exact" in name else 0)) * ratio)
    elif name.endswith("_aa"):
        support = max(float(ratio), 1.0) * (2 if "bicubic" in name else 1)
        first, last = torch.floor(center - support + 0.5), torch.ceil(center + support - 0.5)
    elif "bicubic" in name:
        first, last = torch.floor(center) - 1, torch.floor(center) + 2
    else:
        center = center.clamp(min=0)
        first, last = torch.floor(center), torch.ceil(center)
    return first.long(), last.long()


def _scale_factor(view: FieldView, dim: int) -> float | None:
    factors = view["scale_factors"]
    if factors:
        return float(factors[dim])
    names = {-1: "scales_w", -2: "scales_h", -3: "scales_d"}
    factor = view[names[dim]] or (view["scales"] if dim == -1 else None)
    return float(factor) if factor else None


def pad(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of padding by a constant, by reflection or by replication."""
    name = view.first_argument
    interval = view.interval(name)
    shape = view.shape(name)
    amounts = view["pad"] if view["pad"] is not None else view["padding"]
    for index in range(len(amounts) // 2):
        dim = -1 - index
        before, after = amounts[2 * index], amounts[2 * index + 1]
        positions = torch.arange(-before, shape[dim] + after)
        n = shape[dim]
        if view.operation.name.startswith("reflection"):
            positions = positions.abs()
            positions = (n - 1) - (n - 1 - positions).abs()
        elif view.operation.name.startswith("replication"):
            positions = positions.clamp(0, n - 1)
        interval = Window(dim, n, positions, positions, 1).slide_over(interval, view.axis)
    return [interval]


@dataclass(frozen=True, eq=False)
class Window:
    """Output position p combines the input positions first[p] to last[p] along a dimension.

    Attributes:
        dim: the dimension, counted from the end.
        length: number of input positions; those outside 0 to length - 1 are padding.
        first: int64 tensor, by output position.
        last: int64 tensor, by output position.
        ratio: input positions between neighboring outputs.
    """

    dim: int
    length: int
    first: Tensor
    last: Tensor
    ratio: float

    def slide_over(self, interval: PixelInterval | None, axis: int) -> PixelInterval | None:
        """The interval of the outputs.

        Padding has no pixels of its own. Along the dimension in which they move, the intervals
        continue into the padding with the same spacing, so that fields at the border have the size
        of the others.

        Args:
            interval: of the inputs.
            axis: of the image, -2 (y) or -1 (x).
        """
        if interval is None:
            return None
        if interval.nearest:
            middle = (self.first + self.last) // 2
            return replace(self, first=middle, last=middle)._slide_over(interval, axis)
        return self._slide_over(interval, axis)

    def _slide_over(self, interval: PixelInterval, axis: int) -> PixelInterval:
        along_axis = self.dim == position_dim(interval, axis) and not interval.everywhere
        varies = max(interval.low.shape[self.dim], interval.high.shape[self.dim]) > 1
        if not varies and not (along_axis and self.length == 1):
            return interval
        shape = list(torch.broadcast_shapes(interval.low.shape, interval.high.shape))
        shape[self.dim] = self.length
        before = max(0, -int(self.first.min()))
        after = max(0, int(self.last.max()) - (self.length - 1))
        spacing = interval.spacing if along_axis else 0.0
        # Where the spacing is not a whole number (uneven pooling), round outwards.
        low = self._extend(interval.low.expand(shape), before, after, spacing, math.floor)
        high = self._extend(interval.high.expand(shape), before, after, spacing, math.ceil)
        first, last = self.first + before, self.last + before
        new_low = low.index_select(self.dim, first)
        new_high = high.index_select(self.dim, first)
        for offset in range(1, int((last - first).max()) + 1):
            tap = torch.minimum(first + offset, last)
            new_low = torch.minimum(new_low, low.index_select(self.dim, tap))
            new_high = torch.maximum(new_high, high.index_select(self.dim, tap))
        new_spacing = interval.spacing * self.ratio if along_axis else interval.spacing
        return update_spacing(
            replace(interval, low=new_low, high=new_high, spacing=new_spacing), axis
        )

    def _extend(
        self,
        tensor: Tensor,
        before: int,
        after: int,
        spacing: float,
        to_integer: Callable[[float], int],
    ) -> Tensor:
        """A bound with `before` and `after` further positions, continued with a spacing."""
        shape = [1] * tensor.ndim
        shape[self.dim] = -1
        earlier = [to_integer(-k * spacing) for k in range(before, 0, -1)]
        later = [to_integer(k * spacing) for k in range(1, after + 1)]
        start = tensor.narrow(self.dim, 0, 1) + torch.tensor(earlier).long().view(shape)
        end = tensor.narrow(self.dim, self.length - 1, 1) + torch.tensor(later).long().view(shape)
        return torch.cat([start, tensor, end], self.dim)


def as_list(value: int | Sequence[int], count: int) -> list[int]:
    """A setting for each of `count` dimensions, where it may be one number for all."""
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 and count > 1 else values
