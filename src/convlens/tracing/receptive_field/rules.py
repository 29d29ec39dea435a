"""The receptive-field rule of each operation: what its outputs see, from what its inputs see."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convlens.tracing.interval import (
    FieldRule,
    FieldView,
    PixelInterval,
    combine_along,
    combine_everything,
    drop_repetition,
    map_bounds,
    merge_intervals,
    update_spacing,
)
from convlens.tracing.receptive_field.windows import (
    adaptive,
    convolution,
    padded,
    pooling,
    resampled,
    sliding_window,
)
from convlens.tracing.recording import Operation
from convlens.tracing.registry import registered_field_rule

__all__ = ["combine_everything", "pointwise", "rule_of", "sliding_window"]

_MOST_MEMORY = 2**24  # elements of a tensor whose intervals are followed through its memory


def rule_of(operation: Operation) -> FieldRule | None:
    """The rule of an operation: a registered one, else PyTorch's own; None if it is unknown."""
    registered = registered_field_rule(operation)
    if registered is not None:
        return registered
    if operation.built_in and operation.name in _RULES:
        return _RULES[operation.name]
    if operation.function is not None and torch.Tag.pointwise in operation.function.tags:
        return pointwise
    return None


def pointwise(view: FieldView) -> list[PixelInterval | None]:
    """Rule of an operation that works on each element alone; inputs may broadcast."""
    ndim = len(view.output_shape)
    return [merge_intervals([view.interval_of(node) for node in view.operation.inputs], ndim)]


def _constant(view: FieldView) -> list[PixelInterval | None]:
    """Takes no more than a shape from its arguments."""
    view.used.update(view.operation.inputs)
    return [None]


def _filled(view: FieldView) -> list[PixelInterval | None]:
    """Overwritten by one number, which may come from the image."""
    view.interval("self")
    return [None]


def _same(view: FieldView) -> list[PixelInterval | None]:
    """The first argument's elements as they are."""
    return [view.interval(view.first_argument)]


def _source(view: FieldView) -> list[PixelInterval | None]:
    """Overwritten by another tensor, which may be broadcast."""
    view.used.update(view.operation.inputs)
    return [merge_intervals([view.interval("src")], len(view.output_shape))]


def _moved(view: FieldView) -> list[PixelInterval | None]:
    """Elements are only rearranged: do the same to their intervals."""
    name = view.first_argument
    interval, shape = view.interval(name), view.shape(name)
    if interval is None:
        return [None]
    rest = [value for key, value in view.operation.arguments.items() if key != name]
    function = view.operation.function
    if view.operation.name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):

        def move(tensor: Tensor) -> Any:
            return tensor.reshape(view.output_shape)
    else:

        def move(tensor: Tensor) -> Any:
            return function(tensor, *rest)

    lows, highs = (move(tensor.expand(shape)) for tensor in (interval.low, interval.high))
    if isinstance(lows, Tensor):
        lows, highs = [lows], [highs]
    return [
        update_spacing(
            replace(interval, low=drop_repetition(low), high=drop_repetition(high)), view.axis
        )
        for low, high in zip(lows, highs, strict=True)
    ]


def _restrided(view: FieldView) -> list[PixelInterval | None]:
    """`as_strided` only where it leaves every element in its place."""
    name = view.first_argument
    return _same(view) if view.shape(name) == view.output_shape else combine_everything(view)


def _concatenated(view: FieldView) -> list[PixelInterval | None]:
    refs = [ref for ref in view["tensors"] if view.shapes[ref.node] != (0,)]
    ndim = len(view.output_shape)
    dim = (view["dim"] or 0) % ndim
    seen = [view.interval_of(ref.node) for ref in refs]
    sizes = [view.shapes[ref.node][dim] if view.operation.name == "cat" else 1 for ref in refs]
    if view.operation.name == "stack":
        seen = [
            interval and map_bounds(interval, lambda tensor: tensor.unsqueeze(dim))
            for interval in seen
        ]
    local = [interval for interval in seen if interval is not None and not interval.everywhere]
    merged = merge_intervals(seen, ndim)
    if not local or merged is None:
        return [merged]
    # A part that sees nothing, or everything from everywhere, has no positions: give it some.
    filler = combine_along(local[0], [dim])
    parts = [interval if interval in local else filler for interval in seen]

    def joined(tensors: list[Tensor]) -> Tensor:
        shape = list(torch.broadcast_shapes(*(t.narrow(dim, 0, 1).shape for t in tensors)))
        pieces = [
            tensor.expand(*shape[:dim], size, *shape[dim + 1 :])
            for tensor, size in zip(tensors, sizes, strict=True)
        ]
        # Parts that see alike leave nothing to vary along the dimension.
        alike = all(t.shape[dim] == 1 and torch.equal(t, tensors[0]) for t in tensors)
        return tensors[0] if alike else torch.cat(pieces, dim)

    low = joined([part.low for part in parts if part is not None])
    high = joined([part.high for part in parts if part is not None])
    return [update_spacing(replace(merged, low=low, high=high, everywhere=False), view.axis)]


def _reduced(view: FieldView) -> list[PixelInterval | None]:
    name = view.first_argument
    interval = view.interval(name)
    if interval is None:
        return [None]
    dims = view["dim"]
    ndim = len(view.shape(name))
    dims = list(range(ndim)) if dims is None or dims == [] else dims
    dims = [dims] if isinstance(dims, int) else list(dims)
    reduced = combine_along(interval, dims)
    assert reduced is not None
    if len(view.output_shape) == ndim:
        return [reduced]
    gone = {dim % ndim for dim in dims}
    kept = [size for dim, size in enumerate(reduced.low.shape) if dim not in gone]
    return [map_bounds(reduced, lambda tensor: tensor.reshape(kept))]


def _softmax(view: FieldView) -> list[PixelInterval | None]:
    return [combine_along(view.interval(view.first_argument), [view["dim"]])]


def _layer_norm(view: FieldView) -> list[PixelInterval | None]:
    interval = view.interval("input")
    dims = range(-len(view["normalized_shape"]), 0)
    return [
        merge_intervals([interval, combine_along(interval, list(dims))], len(view.output_shape))
    ]


def _group_norm(view: FieldView) -> list[PixelInterval | None]:
    interval = view.interval("input")
    ndim = len(view.output_shape)
    return [merge_intervals([interval, combine_along(interval, list(range(1, ndim)))], ndim)]


def _batch_norm(view: FieldView) -> list[PixelInterval | None]:
    interval = view.interval("input")
    if not (view["training"] or view["train"]):
        return [interval]
    ndim = len(view.output_shape)
    return [merge_intervals([interval, combine_along(interval, list(range(ndim)))], ndim)]


def _product(left: str, right: str) -> FieldRule:
    """Matrix products: rows of `left` with columns of `right`, and what is added to them."""

    def rule(view: FieldView) -> list[PixelInterval | None]:
        added = [view.interval(name) for name in ("self", "bias") if name not in (left, right)]
        ones = [combine_along(view.interval(left), [-1])]
        other = view.interval(right)
        ones.append(
            combine_along(other, [-2]) if other is not None and other.low.ndim > 1 else other
        )
        return [merge_intervals([*ones, *added], len(view.output_shape))]

    return rule


def _linear(view: FieldView) -> list[PixelInterval | None]:
    return [combine_along(view.interval("input"), [-1])]


def _attention(view: FieldView) -> list[PixelInterval | None]:
    query = combine_along(view.interval("query"), [-1])
    key = combine_along(view.interval("key"), [-2, -1])
    value = combine_along(view.interval("value"), [-2])
    return [merge_intervals([query, key, value], len(view.output_shape))]


def _shuffled(view: FieldView) -> list[PixelInterval | None]:
    """`pixel_shuffle` and its inverse, which have no integer version."""
    interval, shape = view.interval("self"), view.shape("self")
    if interval is None:
        return [None]

    def move(tensor: Tensor) -> Tensor:
        arguments = [value for value in view.operation.arguments.values() if value != view["self"]]
        moved = view.operation.function(tensor.expand(shape).double(), *arguments)
        return moved.long()

    return [update_spacing(map_bounds(interval, move), view.axis)]


def _halved(view: FieldView) -> list[PixelInterval | None]:
    """A gated linear unit: one half of the elements times a function of the other."""
    interval, shape = view.interval("self"), view.shape("self")
    if interval is None:
        return [None]
    dim = view["dim"] if view["dim"] is not None else -1
    if interval.low.shape[dim] == 1 and interval.high.shape[dim] == 1:
        return [interval]
    low = torch.minimum(*interval.low.expand(shape).chunk(2, dim))
    high = torch.maximum(*interval.high.expand(shape).chunk(2, dim))
    return [replace(interval, low=low, high=high)]


def _written_through(view: FieldView) -> list[PixelInterval | None]:
    """Another view of the same memory was written: do the same to the intervals, in that memory."""
    before, written = view.interval_of(view["before"].node), view.interval_of(view["written"].node)
    base, other = view["base"], view["view"]
    start = min(base.offset, other.offset)
    size = max(base.end, other.end) - start
    strides = [
        stride
        for one in (base, other)
        for length, stride in zip(one.shape, one.stride, strict=True)
        if length > 1
    ]
    present = [interval for interval in (before, written) if interval is not None]
    if 0 in strides or size > _MOST_MEMORY:
        return combine_everything(view)

    def stored(of: Callable[[PixelInterval], Tensor], sign: int) -> Tensor:
        memory = torch.full((size,), sign * _NOTHING)
        for one, interval in ((base, before), (other, written)):
            window = memory.as_strided(one.shape, one.stride, one.offset - start)
            window.fill_(sign * _NOTHING) if interval is None else window.copy_(of(interval))
        lying = memory.as_strided(base.shape, base.stride, base.offset - start).contiguous()
        return _completed(lying, view.axis, present[0].spacing, sign)

    together = replace(
        present[0],
        low=stored(lambda interval: interval.low, 1),
        high=stored(lambda interval: interval.high, -1),
        everywhere=all(interval.everywhere for interval in present),
        beyond=any(interval.beyond for interval in present),
    )
    return [update_spacing(together, view.axis)]


_NOTHING = 2**40  # beyond any image: the low of an element that sees nothing; minus it is its high


def _completed(interval: Tensor, axis: int, spacing: float, sign: int) -> Tensor:
    """With elements that see nothing (a frame of zeros) counted like those beside them.

    They take the widest of their row (column, along x); rows of which all see nothing go on in
    steps from the nearest that does, as padding does.
    """
    nothing = interval == sign * _NOTHING
    if interval.ndim < 2 or not bool(nothing.any()):
        return interval
    others = [dim for dim in range(interval.ndim) if dim != interval.ndim + axis]
    rows = torch.amin(interval, others) if sign > 0 else torch.amax(interval, others)
    known = (rows != sign * _NOTHING).nonzero().flatten()
    positions = torch.arange(len(rows))
    nearest = known[(positions[:, None] - known[None]).abs().argmin(dim=1)]
    away = (positions - nearest) * spacing
    rows = rows[nearest] + (away.floor() if sign > 0 else away.ceil()).long()
    shape = [1] * interval.ndim
    shape[axis] = len(rows)
    return torch.where(nothing, rows.view(shape), interval)


_MOVES = (
    "view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "expand",
    "slice", "select", "unsqueeze", "squeeze", "unbind", "split", "split_with_sizes", "chunk",
    "narrow", "flip", "roll", "diagonal", "repeat", "unfold", "movedim", "native_channel_shuffle",
    "channel_shuffle", "swapaxes", "tile",
)  # fmt: skip
_SAME = (
    "alias", "detach", "clone", "contiguous", "_to_copy", "lift_fresh", "lift_fresh_copy",
    "hardswish", "native_dropout", "dropout", "rrelu_with_noise", "positive", "to",
)  # fmt: skip
_REDUCTIONS = (
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod",
    "logsumexp", "linalg_vector_norm", "norm", "any", "all", "argmax", "argmin", "median",
    "nansum", "aminmax",
)  # fmt: skip
_RULES: dict[str, FieldRule] = {
    **dict.fromkeys(_MOVES, _moved),
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_REDUCTIONS, _reduced),
    **dict.fromkeys(("as_strided",), _restrided),
    **dict.fromkeys(("copy",), _source),
    **dict.fromkeys(("_prelu_kernel", "prelu"), pointwise),
    **dict.fromkeys(("cat", "stack"), _concatenated),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _softmax),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm", "rms_norm"), _layer_norm),
    **dict.fromkeys(("native_group_norm",), _group_norm),
    **dict.fromkeys(
        (
            "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
            "_native_batch_norm_legit_functional", "cudnn_batch_norm", "batch_norm",
            "_batch_norm_no_update", "_batch_norm_with_update",
        ),
        _batch_norm,
    ),
    **dict.fromkeys(("mm", "bmm"), _product("self", "mat2")),
    "addmm": _product("mat1", "mat2"),
    "baddbmm": _product("batch1", "batch2"),
    "linear": _linear,
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable",
        ),
        _attention,
    ),
    **dict.fromkeys(
        (
            "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d",
            "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
        ),
        pooling("kernel_size"),
    ),
    "convolution": convolution,
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d",
         "adaptive_max_pool2d", "adaptive_max_pool3d"),
        adaptive,
    ),
    **dict.fromkeys(
        (
            "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
            "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "upsample_linear1d",
            "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
            "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
        ),
        resampled,
    ),
    **dict.fromkeys(
        ("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
         "replication_pad1d", "replication_pad2d", "replication_pad3d"),
        padded,
    ),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _shuffled),
    "glu": _halved,
    **dict.fromkeys(
        ("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided", "zeros_like",
         "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "zero"),
        _constant,
    ),
    "fill": _filled,
    "write_through": _written_through,
}  # fmt: skip
