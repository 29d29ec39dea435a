"""Receptive field of sampling at computed positions, unpooling, and windows laid out as columns."""

from dataclasses import replace

import torch
from torch import Tensor

from convlens.tracing.interval import (
    IMAGES,
    FieldView,
    PixelInterval,
    combine_along,
    combine_everything,
    drop_repetition,
    forget_field,
    map_bounds,
    merge_intervals,
    update_spacing,
)
from convlens.tracing.receptive_field.storage import NO_PIXEL, fill_missing
from convlens.tracing.receptive_field.windows import Window, as_list, sliding_window


def grid_sample(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of `grid_sample`: each output may see the whole input.

    The outputs keep the order of the positions at which an identity grid reads.
    """
    interval = view.interval("input")
    view.interval("grid")
    if interval is None:
        # An image without pixels, such as a table, at positions that depend on the image.
        grid = combine_along(view.interval("grid"), [-1])
        return [grid and map_bounds(grid, lambda bound: bound.squeeze(-1).unsqueeze(1))]
    return [_at_nominal_positions(view, interval, view.shape("input"))]


def _at_nominal_positions(
    view: FieldView, interval: PixelInterval, shape: tuple[int, ...]
) -> PixelInterval:
    """The interval of outputs that see everything, laid out as if the input were resized."""
    for dim in range(2 - len(shape), 0):
        n, m = shape[dim], view.output_shape[dim]
        nearest = torch.div((2 * torch.arange(m) + 1) * n, 2 * m, rounding_mode="floor")
        resized = Window(dim, n, nearest, nearest, n / m).slide_over(interval, view.axis)
        assert resized is not None
        interval = resized
    return interval if view.axis == IMAGES else forget_field(interval)


def deformable_convolution(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of a deformable convolution: each output may see the whole input.

    The outputs keep the order of the windows that are not deformed.
    """
    stride, padding, dilation = (
        (view[f"{name}_h"], view[f"{name}_w"]) for name in ("stride", "pad", "dilation")
    )
    kernel = view.shape("weight")[2:]
    (interval,) = sliding_window((kernel[0], kernel[1]), stride, padding, dilation)(view)
    view.used.update(view.intervals)
    if interval is None:
        return combine_everything(view)
    return [interval if view.axis == IMAGES else forget_field(interval)]


def unpooling(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of `max_unpool2d`: the maxima whose windows contain the position."""
    shape, ndim = view.shape("self"), len(view.output_shape)
    interval = merge_intervals([view.interval("self"), view.interval("indices")], ndim)
    pooled = view.producers.get(view["indices"].node)
    if interval is None:
        return [None]
    if pooled is None or not pooled.name.endswith("with_indices"):
        return [_at_nominal_positions(view, interval, shape)]
    count = ndim - 2
    settings = pooled.arguments
    kernels = as_list(settings["kernel_size"], count)
    strides = as_list(settings.get("stride") or kernels, count)
    paddings = as_list(settings.get("padding") or 0, count)
    dilations = as_list(settings.get("dilation") or 1, count)
    for index in range(count):
        dim = index - count
        positions = torch.arange(view.output_shape[dim]) + paddings[index]
        extent = (kernels[index] - 1) * dilations[index]
        first = torch.ceil((positions - extent) / strides[index]).long()
        last = torch.div(positions, strides[index], rounding_mode="floor")
        window = Window(dim, shape[dim], torch.minimum(first, last), last, 1 / strides[index])
        interval = window.slide_over(interval, view.axis)
    return [interval]


def image_to_columns(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of `unfold`, `(N, C, H, W)` to `(N, C kh kw, positions)`."""
    interval, shape = view.interval("self"), view.shape("self")
    if interval is None or len(shape) != 4:
        return combine_everything(view)
    taps = _taps(view, shape)
    channels, spacing = shape[1], 0.0 if interval.everywhere else interval.spacing

    def move(bound: Tensor) -> Tensor:
        bound = bound.expand(-1, channels, -1, -1)
        for dim, rows in zip((2, 3), taps, strict=True):
            # Windows reach into the padding, where intervals continue with the same spacing.
            inside = rows.clamp(0, shape[dim] - 1)
            offset = (rows - inside) * (spacing if dim == 4 + view.axis else 0.0)
            bound = bound.expand(*bound.shape[:dim], shape[dim], *bound.shape[dim + 1 :])
            bound = bound.index_select(
                dim, inside.flatten()
            ) + offset.round().long().flatten().view(-1, *[1] * (3 - dim))
        (kernel_y, count_y), (kernel_x, count_x) = taps[0].shape, taps[1].shape
        bound = bound.reshape(-1, channels, kernel_y, count_y, kernel_x, count_x)
        bound = bound.permute(0, 1, 2, 4, 3, 5)
        return drop_repetition(bound.reshape(-1, *view.output_shape[1:]))

    return [map_bounds(interval, move)]


def columns_to_image(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of `fold`, the sum of overlapping windows at each position."""
    interval, shape = view.interval("self"), view.shape("self")
    if interval is None or len(shape) != 3:
        return combine_everything(view)
    _, channels, height, width = view.output_shape
    rows, columns = _taps(view, view.output_shape)
    (kernel_y, count_y), (kernel_x, count_x) = rows.shape, columns.shape

    def move(bound: Tensor, sign: int) -> Tensor:
        windows = bound.expand(-1, *shape[1:]).reshape(
            -1, channels, kernel_y, kernel_x, count_y, count_x
        )
        image = torch.full(
            (len(windows), channels, height, width), sign * NO_PIXEL, dtype=torch.int64
        )
        for tap_y in range(kernel_y):
            for tap_x in range(kernel_x):
                y, x = rows[tap_y], columns[tap_x]
                inside_y, inside_x = (y >= 0) & (y < height), (x >= 0) & (x < width)
                place = (..., y[inside_y][:, None], x[inside_x][None])
                window = windows[:, :, tap_y, tap_x][:, :, inside_y][..., inside_x]
                combine = torch.minimum if sign > 0 else torch.maximum
                image[place] = combine(image[place], window)
        return drop_repetition(fill_missing(image, view.axis, interval.spacing, sign))

    moved = replace(interval, low=move(interval.low, 1), high=move(interval.high, -1))
    return [update_spacing(moved, view.axis)]


def _taps(view: FieldView, image_shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The rows and the columns of the image under each tap of each window: int64 (taps, windows).

    Args:
        view: of `im2col` or `col2im`, which have the same arguments.
        image_shape: shape of the image that is cut into windows.
    """
    taps = []
    for index, length in enumerate(image_shape[-2:]):
        kernel, dilation, padding, stride = (
            as_list(view[name], 2)[index]
            for name in ("kernel_size", "dilation", "padding", "stride")
        )
        count = (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        starts = torch.arange(count) * stride - padding
        taps.append(torch.arange(kernel)[:, None] * dilation + starts)
    return taps[0], taps[1]


def recurrent(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of a recurrent layer `(T, N, F)`: each step sees all steps.

    The steps keep their order. The states that the layer returns have no order.
    """
    name = view.first_argument
    combined = combine_along(view.interval(name), [-1])
    if combined is None:
        return combine_everything(view)
    time = 1 if view["batch_first"] and view.operation.name != "mkldnn_rnn_layer" else 0
    states = combine_along(combined, [time])
    moves = max(combined.low.shape[time], combined.high.shape[time]) > 1
    return [forget_field(combined) if moves else combined, states]
