"""The rule by which each operation passes on what its inputs see."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convlens.tracing.receptive_field.interval import (
    OperationView,
    Reach,
    Rule,
    each,
    merge,
    mix_all,
    over,
    restep,
    thin,
)
from convlens.tracing.receptive_field.windows import (
    adaptive,
    convolution,
    padded,
    pooling,
    resampled,
)
from convlens.tracing.recorder import Operation

_MOST_MEMORY = 2**24  # elements of a tensor whose intervals are followed through its memory


def rule_of(operation: Operation) -> Rule | None:
    if operation.name in _RULES:
        return _RULES[operation.name]
    if operation.function is not None and torch.Tag.pointwise in operation.function.tags:
        return _pointwise
    return None


def _pointwise(step: OperationView) -> list[Reach | None]:
    ndim = len(step.out_shape)
    return [merge([step.of(node) for node in step.operation.inputs], ndim)]


def _constant(step: OperationView) -> list[Reach | None]:
    """Takes no more than a shape from its arguments."""
    step.used.update(step.operation.inputs)
    return [None]


def _filled(step: OperationView) -> list[Reach | None]:
    """Overwritten by one number, which may come from the image."""
    step.reach("self")
    return [None]


def _same(step: OperationView) -> list[Reach | None]:
    """The first argument's elements as they are."""
    return [step.reach(step.first())]


def _source(step: OperationView) -> list[Reach | None]:
    """Overwritten by another tensor, which may be broadcast."""
    step.used.update(step.operation.inputs)
    return [merge([step.reach("src")], len(step.out_shape))]


def _moved(step: OperationView) -> list[Reach | None]:
    """Elements are only rearranged: do the same to their intervals."""
    name = step.first()
    reach, shape = step.reach(name), step.shape(name)
    if reach is None:
        return [None]
    rest = [value for key, value in step.operation.arguments.items() if key != name]
    function = step.operation.function
    if step.operation.name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):

        def move(tensor: Tensor) -> Any:
            return tensor.reshape(step.out_shape)
    else:

        def move(tensor: Tensor) -> Any:
            return function(tensor, *rest)

    lows, highs = (move(tensor.expand(shape)) for tensor in (reach.low, reach.high))
    if isinstance(lows, Tensor):
        lows, highs = [lows], [highs]
    return [
        restep(replace(reach, low=thin(low), high=thin(high)), step.axis)
        for low, high in zip(lows, highs, strict=True)
    ]


def _restrided(step: OperationView) -> list[Reach | None]:
    """`as_strided` only where it leaves every element in its place."""
    name = step.first()
    return _same(step) if step.shape(name) == step.out_shape else mix_all(step)


def _concatenated(step: OperationView) -> list[Reach | None]:
    refs = [ref for ref in step["tensors"] if step.shapes[ref.node] != (0,)]
    ndim = len(step.out_shape)
    dim = (step["dim"] or 0) % ndim
    seen = [step.of(ref.node) for ref in refs]
    sizes = [step.shapes[ref.node][dim] if step.operation.name == "cat" else 1 for ref in refs]
    if step.operation.name == "stack":
        seen = [reach and each(reach, lambda tensor: tensor.unsqueeze(dim)) for reach in seen]
    local = [reach for reach in seen if reach is not None and not reach.everywhere]
    merged = merge(seen, ndim)
    if not local or merged is None:
        return [merged]
    # A part that sees nothing, or everything from everywhere, has no positions: give it some.
    filler = over(local[0], [dim])
    parts = [reach if reach in local else filler for reach in seen]

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
    return [restep(replace(merged, low=low, high=high, everywhere=False), step.axis)]


def _reduced(step: OperationView) -> list[Reach | None]:
    name = step.first()
    reach = step.reach(name)
    if reach is None:
        return [None]
    dims = step["dim"]
    ndim = len(step.shape(name))
    dims = list(range(ndim)) if dims is None or dims == [] else dims
    dims = [dims] if isinstance(dims, int) else list(dims)
    reduced = over(reach, dims)
    assert reduced is not None
    if len(step.out_shape) == ndim:
        return [reduced]
    gone = {dim % ndim for dim in dims}
    kept = [size for dim, size in enumerate(reduced.low.shape) if dim not in gone]
    return [each(reduced, lambda tensor: tensor.reshape(kept))]


def _softmax(step: OperationView) -> list[Reach | None]:
    return [over(step.reach(step.first()), [step["dim"]])]


def _layer_norm(step: OperationView) -> list[Reach | None]:
    reach = step.reach("input")
    dims = range(-len(step["normalized_shape"]), 0)
    return [merge([reach, over(reach, list(dims))], len(step.out_shape))]


def _group_norm(step: OperationView) -> list[Reach | None]:
    reach = step.reach("input")
    ndim = len(step.out_shape)
    return [merge([reach, over(reach, list(range(1, ndim)))], ndim)]


def _batch_norm(step: OperationView) -> list[Reach | None]:
    reach = step.reach("input")
    if not (step["training"] or step["train"]):
        return [reach]
    ndim = len(step.out_shape)
    return [merge([reach, over(reach, list(range(ndim)))], ndim)]


def _product(left: str, right: str) -> Rule:
    """Matrix products: rows of `left` with columns of `right`, and what is added to them."""

    def rule(step: OperationView) -> list[Reach | None]:
        added = [step.reach(name) for name in ("self", "bias") if name not in (left, right)]
        ones = [over(step.reach(left), [-1])]
        other = step.reach(right)
        ones.append(over(other, [-2]) if other is not None and other.low.ndim > 1 else other)
        return [merge([*ones, *added], len(step.out_shape))]

    return rule


def _linear(step: OperationView) -> list[Reach | None]:
    return [over(step.reach("input"), [-1])]


def _attention(step: OperationView) -> list[Reach | None]:
    query = over(step.reach("query"), [-1])
    key = over(step.reach("key"), [-2, -1])
    value = over(step.reach("value"), [-2])
    return [merge([query, key, value], len(step.out_shape))]


def _shuffled(step: OperationView) -> list[Reach | None]:
    """`pixel_shuffle` and its inverse, which have no integer version."""
    reach, shape = step.reach("self"), step.shape("self")
    if reach is None:
        return [None]

    def move(tensor: Tensor) -> Tensor:
        arguments = [value for value in step.operation.arguments.values() if value != step["self"]]
        moved = step.operation.function(tensor.expand(shape).double(), *arguments)
        return moved.long()

    return [restep(each(reach, move), step.axis)]


def _halved(step: OperationView) -> list[Reach | None]:
    """A gated linear unit: one half of the elements times a function of the other."""
    reach, shape = step.reach("self"), step.shape("self")
    if reach is None:
        return [None]
    dim = step["dim"] if step["dim"] is not None else -1
    if reach.low.shape[dim] == 1 and reach.high.shape[dim] == 1:
        return [reach]
    low = torch.minimum(*reach.low.expand(shape).chunk(2, dim))
    high = torch.maximum(*reach.high.expand(shape).chunk(2, dim))
    return [replace(reach, low=low, high=high)]


def _written_through(step: OperationView) -> list[Reach | None]:
    """Another view of the same memory was written: do the same to the intervals, in that memory."""
    before, written = step.of(step["before"].node), step.of(step["written"].node)
    base, view = step["base"], step["view"]
    start = min(base.offset, view.offset)
    size = max(base.end, view.end) - start
    strides = [
        stride
        for one in (base, view)
        for length, stride in zip(one.shape, one.stride, strict=True)
        if length > 1
    ]
    present = [reach for reach in (before, written) if reach is not None]
    if 0 in strides or size > _MOST_MEMORY:
        return mix_all(step)

    def stored(of: Callable[[Reach], Tensor], sign: int) -> Tensor:
        memory = torch.full((size,), sign * _NOTHING)
        for one, reach in ((base, before), (view, written)):
            window = memory.as_strided(one.shape, one.stride, one.offset - start)
            window.fill_(sign * _NOTHING) if reach is None else window.copy_(of(reach))
        lying = memory.as_strided(base.shape, base.stride, base.offset - start).contiguous()
        return _completed(lying, step.axis, present[0].step, sign)

    together = replace(
        present[0],
        low=stored(lambda reach: reach.low, 1),
        high=stored(lambda reach: reach.high, -1),
        everywhere=all(reach.everywhere for reach in present),
        beyond=any(reach.beyond for reach in present),
    )
    return [restep(together, step.axis)]


_NOTHING = 2**40  # beyond any image: the low of an element that sees nothing; minus it is its high


def _completed(interval: Tensor, axis: int, step: float, sign: int) -> Tensor:
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
    away = (positions - nearest) * step
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
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVES, _moved),
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_REDUCTIONS, _reduced),
    **dict.fromkeys(("as_strided",), _restrided),
    **dict.fromkeys(("copy",), _source),
    **dict.fromkeys(("_prelu_kernel", "prelu"), _pointwise),
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
