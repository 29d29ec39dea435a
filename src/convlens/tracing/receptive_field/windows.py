"""How windows move along a map: convolution, pooling, resampling, padding."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlens.tracing.receptive_field.interval import (
    OperationView,
    Reach,
    Rule,
    mix_all,
    over,
    restep,
)


def pooling(kernel: str) -> Rule:
    """Pooling: windows of the given size over the last dimensions."""

    def rule(step: OperationView) -> list[Reach | None]:
        sizes = _numbers(step[kernel], 0)
        count = len(sizes)
        strides = _numbers(step["stride"], count) if step["stride"] else sizes
        paddings = _numbers(step["padding"] or 0, count)
        dilations = _numbers(step["dilation"] or 1, count)
        name = step.first()
        reach = step.reach(name)
        for index in range(count):
            dim = index - count
            starts = torch.arange(step.out_shape[dim]) * strides[index] - paddings[index]
            taps = torch.arange(sizes[index]) * dilations[index]
            window = _Window(dim, step.shape(name)[dim], starts, starts + taps[-1], strides[index])
            reach = window.over(reach, step.axis)
        return [reach]

    return rule


def convolution(step: OperationView) -> list[Reach | None]:
    reach = step.reach("input")
    if reach is None:
        return mix_all(step)
    weight = step.shape("weight")
    count = len(weight) - 2
    reach = _over_groups(reach, step.shape("input")[1], step["groups"], step.out_shape[1])
    for index in range(count):
        dim = index - count
        kernel, stride = weight[2 + index], _numbers(step["stride"], count)[index]
        padding = _numbers(step["padding"], count)[index]
        reach_of_taps = (kernel - 1) * _numbers(step["dilation"], count)[index]
        positions = torch.arange(step.out_shape[dim])
        length = step.shape("input")[dim]
        if step["transposed"]:
            # Output o gathers the inputs i with o = i * stride - padding + tap.
            first = torch.ceil((positions + padding - reach_of_taps) / stride).long()
            last = torch.div(positions + padding, stride, rounding_mode="floor")
            # Between taps wider apart than the kernel an output sees no input at all.
            window = _Window(dim, length, torch.minimum(first, last), last, 1 / stride)
        else:
            starts = positions * stride - padding
            window = _Window(dim, length, starts, starts + reach_of_taps, stride)
        reach = window.over(reach, step.axis)
    return [reach]


def _over_groups(reach: Reach, channels: int, groups: int, out_channels: int) -> Reach:
    if reach.low.shape[1] == 1 and reach.high.shape[1] == 1:
        return reach

    def combine(tensor: Tensor, reduce: Callable[..., Tensor]) -> Tensor:
        rest = tensor.shape[2:]
        tensor = tensor.expand(-1, channels, *rest)
        grouped = reduce(tensor.reshape(-1, groups, channels // groups, *rest), dim=2)
        return grouped.repeat_interleave(out_channels // groups if groups > 1 else 1, dim=1)

    return replace(reach, low=combine(reach.low, torch.amin), high=combine(reach.high, torch.amax))


def adaptive(step: OperationView) -> list[Reach | None]:
    name = step.first()
    reach = step.reach(name)
    count = len(step["output_size"])
    for dim in range(-count, 0):
        n, m = step.shape(name)[dim], step.out_shape[dim]
        positions = torch.arange(m)
        first = torch.div(positions * n, m, rounding_mode="floor")
        last = -torch.div(-(positions + 1) * n, m, rounding_mode="floor") - 1
        window = _Window(dim, n, first, last, n / m)
        reach = over(reach, [dim]) if m == 1 else window.over(reach, step.axis)
    return [reach]


def resampled(step: OperationView) -> list[Reach | None]:
    reach = step.reach(step.first())
    shape = step.shape(step.first())
    count = len(shape) - 2
    for dim in range(-count, 0):
        first, last = _sources(step, dim, shape[dim], step.out_shape[dim])
        window = _Window(dim, shape[dim], first, last, shape[dim] / step.out_shape[dim])
        reach = window.over(reach, step.axis)
    return [reach]


def _sources(step: OperationView, dim: int, n: int, m: int) -> tuple[Tensor, Tensor]:
    """First and last input position that each of m outputs is interpolated from.

    torch computes them in the network's own precision, and rounding may move one by a position:
    what either precision reads counts.
    """
    ranges = [_sources_in(dtype, step, dim, n, m) for dtype in (torch.float32, torch.float64)]
    first = torch.minimum(ranges[0][0], ranges[1][0])
    last = torch.maximum(ranges[0][1], ranges[1][1])
    # Interpolation repeats the edge, it does not pad.
    return first.clamp(0, n - 1), last.clamp(0, n - 1)


def _sources_in(
    dtype: torch.dtype, step: OperationView, dim: int, n: int, m: int
) -> tuple[Tensor, Tensor]:
    name = step.operation.name
    positions = torch.arange(m, dtype=dtype)
    factor = _scale_factor(step, dim)
    ratio = torch.tensor(1 / factor if factor else n / m, dtype=dtype)
    center = (positions + 0.5) * ratio - 0.5
    if step["align_corners"]:
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


def _scale_factor(step: OperationView, dim: int) -> float | None:
    factors = step["scale_factors"]
    if factors:
        return float(factors[dim])
    names = {-1: "scales_w", -2: "scales_h", -3: "scales_d"}
    one = step[names[dim]] or (step["scales"] if dim == -1 else None)
    return float(one) if one else None


def padded(step: OperationView) -> list[Reach | None]:
    name = step.first()
    reach = step.reach(name)
    shape = step.shape(name)
    amounts = step["pad"] if step["pad"] is not None else step["padding"]
    for index in range(len(amounts) // 2):
        dim = -1 - index
        before, after = amounts[2 * index], amounts[2 * index + 1]
        positions = torch.arange(-before, shape[dim] + after)
        n = shape[dim]
        if step.operation.name.startswith("reflection"):
            positions = positions.abs()
            positions = (n - 1) - (n - 1 - positions).abs()
        elif step.operation.name.startswith("replication"):
            positions = positions.clamp(0, n - 1)
        reach = _Window(dim, n, positions, positions, 1).over(reach, step.axis)
    return [reach]


@dataclass(frozen=True, eq=False)
class _Window:
    """Output position p combines the input positions first[p] to last[p] along a dimension.

    Attributes:
        dim: the dimension, counted from the end.
        length: number of input positions; those outside 0 to length - 1 are padding.
        first, last: int64, by output position.
        ratio: input positions between neighboring outputs.
    """

    dim: int
    length: int
    first: Tensor
    last: Tensor
    ratio: float

    def over(self, reach: Reach | None, axis: int) -> Reach | None:
        """The reach of the outputs, along the image's axis -2 (y) or -1 (x).

        Padding has no pixels of its own: along the axis' own dimension the intervals go on there
        in the same steps, so that sizes stay those of the interior.
        """
        if reach is None:
            return None
        own = self.dim == axis and not reach.everywhere
        varies = max(reach.low.shape[self.dim], reach.high.shape[self.dim]) > 1
        if not varies and not (own and self.length == 1):
            return reach
        shape = list(torch.broadcast_shapes(reach.low.shape, reach.high.shape))
        shape[self.dim] = self.length
        before = max(0, -int(self.first.min()))
        after = max(0, int(self.last.max()) - (self.length - 1))
        pace = reach.step if own else 0.0
        # Where steps are not whole (uneven pooling), round outwards.
        low = self._extended(reach.low.expand(shape), before, after, pace, math.floor)
        high = self._extended(reach.high.expand(shape), before, after, pace, math.ceil)
        first, last = self.first + before, self.last + before
        new_low = low.index_select(self.dim, first)
        new_high = high.index_select(self.dim, first)
        for offset in range(1, int((last - first).max()) + 1):
            at = torch.minimum(first + offset, last)
            new_low = torch.minimum(new_low, low.index_select(self.dim, at))
            new_high = torch.maximum(new_high, high.index_select(self.dim, at))
        step = reach.step * self.ratio if own else reach.step
        return restep(replace(reach, low=new_low, high=new_high, step=step), axis)

    def _extended(
        self, tensor: Tensor, before: int, after: int, pace: float, whole: Callable[[float], int]
    ) -> Tensor:
        view = [1] * tensor.ndim
        view[self.dim] = -1
        earlier = torch.tensor([whole(-k * pace) for k in range(before, 0, -1)]).long().view(view)
        later = torch.tensor([whole(k * pace) for k in range(1, after + 1)]).long().view(view)
        start = tensor.narrow(self.dim, 0, 1) + earlier
        end = tensor.narrow(self.dim, self.length - 1, 1) + later
        return torch.cat([start, tensor, end], self.dim)


def _numbers(value: int | Sequence[int], count: int) -> list[int]:
    found = [value] if isinstance(value, int) else list(value)
    return found * count if len(found) == 1 and count > 1 else found
