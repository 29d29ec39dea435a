"""The receptive-field rule of each operation, and the rules of all but sliding windows.

A rule computes the pixel intervals of an operation's outputs from those of its inputs. The rules of
convolution, pooling and interpolation are in `windows.py`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

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
from convlens.tracing.receptive_field import indexing, sampling
from convlens.tracing.receptive_field.storage import as_strided, write_through
from convlens.tracing.receptive_field.windows import (
    adaptive_pooling,
    convolution,
    interpolation,
    pad,
    pooling,
    sliding_window,
)
from convlens.tracing.recording.recording import Operation
from convlens.tracing.registry import registered_field_rule

__all__ = [
    "FAKE_QUANTIZATIONS", "REARRANGING", "combine_everything", "find_rule", "pointwise",
    "sliding_window",
]  # fmt: skip


def find_rule(operation: Operation) -> FieldRule | None:
    """The rule of an operation: the registered one, else the built-in one; None without one."""
    registered = registered_field_rule(operation)
    if registered is not None:
        return registered
    name = operation.name if operation.built_in else operation.qualified_name
    if name in _RULES:
        return _RULES[name]
    if operation.function is not None and _is_tagged_pointwise(operation.function):
        return pointwise
    return None


def _is_tagged_pointwise(function: OpOverload) -> bool:
    """Whether PyTorch tags an operation as pointwise, itself or in its form out of place.

    Of some operations (`mish`, `threshold`, `masked_fill`) it tags the form out of place alone.
    """
    if torch.Tag.pointwise in function.tags:
        return True
    namespace, name = function._schema.name.split("::")
    if not name.endswith("_"):
        return False
    forms = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    out_of_place = getattr(forms, function._overloadname, None)
    return out_of_place is not None and torch.Tag.pointwise in out_of_place.tags


def pointwise(view: FieldView) -> list[PixelInterval | None]:
    """Rule of an operation that works on each element alone; inputs may broadcast."""
    ndim = len(view.output_shape)
    return [merge_intervals([view.interval_of(node) for node in view.operation.inputs], ndim)]


def _no_pixels(view: FieldView) -> list[PixelInterval | None]:
    """The operation reads only shapes (`zeros_like`): its output does not depend on the image."""
    view.used.update(view.operation.inputs)
    return [None]


def reads_only_shapes(operation: Operation) -> bool:
    """Whether an operation reads only the shapes of its inputs, as `zeros_like` does."""
    return find_rule(operation) is _no_pixels


def _fill(view: FieldView) -> list[PixelInterval | None]:
    """`fill_` overwrites a tensor by one number, which may depend on the image."""
    view.interval("self")
    return [None]


def _identity(view: FieldView) -> list[PixelInterval | None]:
    """The output has the intervals of the first argument."""
    return [view.interval(view.first_argument)]


def _split_complex(view: FieldView) -> list[PixelInterval | None]:
    """`view_as_real`: the two parts of each number have its interval."""
    interval = view.interval("self")
    return [interval and map_bounds(interval, lambda bound: bound.unsqueeze(-1))]


def _join_complex(view: FieldView) -> list[PixelInterval | None]:
    """`view_as_complex`: a number sees what its two parts see."""
    interval = combine_along(view.interval("self"), [-1])
    return [interval and map_bounds(interval, lambda bound: bound.squeeze(-1))]


def _copy(view: FieldView) -> list[PixelInterval | None]:
    """`copy_` overwrites a tensor by another one, which may be broadcast."""
    view.used.update(view.operation.inputs)
    return [merge_intervals([view.interval("src")], len(view.output_shape))]


def _rearrange(view: FieldView) -> list[PixelInterval | None]:
    """The operation only moves elements, so it is applied to the bounds of their intervals."""
    name = view.first_argument
    interval, shape = view.interval(name), view.shape(name)
    if interval is None:
        return [None]

    def move(tensor: Tensor) -> Sequence[Tensor]:
        moved = rearrange(view.operation, tensor.expand(shape), view.output_shape)
        return [drop_repetition(part) for part in ([moved] if isinstance(moved, Tensor) else moved)]

    lows = move(interval.low)
    highs = lows if interval.high is interval.low else move(interval.high)
    return [
        update_spacing(replace(interval, low=low, high=high), view.axis)
        for low, high in zip(lows, highs, strict=True)
    ]


def rearrange(operation: Operation, tensor: Tensor, output_shape: tuple[int, ...]) -> Any:
    """What an operation that only moves elements returns for another tensor of the same shape.

    Args:
        operation: such as `view` or `permute`.
        tensor: instead of its first argument.
        output_shape: shape of what it returns.
    """
    if operation.name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):
        return tensor.reshape(output_shape)
    _, *others = operation.arguments.values()
    return operation.function(tensor, *others)


def _concatenate(view: FieldView) -> list[PixelInterval | None]:
    """`cat` and `stack`: the intervals are concatenated as the tensors are."""
    refs = [ref for ref in view["tensors"] if view.shapes[ref.node] != (0,)]
    ndim = len(view.output_shape)
    dim = (view["dim"] or 0) % ndim
    intervals = [view.interval_of(ref.node) for ref in refs]
    sizes = [view.shapes[ref.node][dim] if view.operation.name == "cat" else 1 for ref in refs]
    if view.operation.name == "stack":
        intervals = [
            interval and map_bounds(interval, lambda tensor: tensor.unsqueeze(dim))
            for interval in intervals
        ]
    local = [interval for interval in intervals if interval is not None and not interval.everywhere]
    # What the parts have in common, from their first elements: along `dim` their lengths differ.
    merged = merge_intervals(
        [part and map_bounds(part, lambda bound: bound.narrow(dim, 0, 1)) for part in intervals],
        ndim,
    )
    if not local or merged is None:
        return [merged]
    # A part that does not depend on the image, or sees the same everywhere, has no positions. It
    # takes those of a local part.
    filler = combine_along(local[0], [dim])
    parts = [interval if interval in local else filler for interval in intervals]

    def join(tensors: list[Tensor]) -> Tensor:
        shape = list(torch.broadcast_shapes(*(t.narrow(dim, 0, 1).shape for t in tensors)))
        pieces = [
            tensor.expand(*shape[:dim], size, *shape[dim + 1 :])
            for tensor, size in zip(tensors, sizes, strict=True)
        ]
        # If all parts are equal, the result is constant along the dimension.
        equal = all(t.shape[dim] == 1 and torch.equal(t, tensors[0]) for t in tensors)
        return tensors[0] if equal else torch.cat(pieces, dim)

    low = join([part.low for part in parts if part is not None])
    high = join([part.high for part in parts if part is not None])
    return [update_spacing(replace(merged, low=low, high=high, everywhere=False), view.axis)]


def _reduce(view: FieldView) -> list[PixelInterval | None]:
    """A reduction (`mean`, `amax`, `sum`): the union along the reduced dimensions."""
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
    dims = [dim % ndim for dim in dims]

    def drop(bound: Tensor) -> Tensor:
        # The two bounds may repeat along other dimensions.
        return bound.reshape([size for dim, size in enumerate(bound.shape) if dim not in dims])

    return [map_bounds(reduced, drop)]


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


def _matrix_product(left: str, right: str) -> FieldRule:
    """Matrix products: rows of `left` times columns of `right`, plus a bias or a further tensor."""

    def rule(view: FieldView) -> list[PixelInterval | None]:
        summands = [view.interval(name) for name in ("self", "bias") if name not in (left, right)]
        rows = combine_along(view.interval(left), [-1])
        columns = view.interval(right)
        if columns is not None and columns.low.ndim > 1:
            columns = combine_along(columns, [-2])
        return [merge_intervals([rows, columns, *summands], len(view.output_shape))]

    return rule


def _linear(view: FieldView) -> list[PixelInterval | None]:
    return [combine_along(view.interval("input"), [-1])]


def _attention(view: FieldView) -> list[PixelInterval | None]:
    query = combine_along(view.interval("query"), [-1])
    key = combine_along(view.interval("key"), [-2, -1])
    value = combine_along(view.interval("value"), [-2])
    return [merge_intervals([query, key, value], len(view.output_shape))]


def _pixel_shuffle(view: FieldView) -> list[PixelInterval | None]:
    """`pixel_shuffle` and its inverse, applied to bounds as floats: they take no integers."""
    interval, shape = view.interval("self"), view.shape("self")
    if interval is None:
        return [None]

    def move(tensor: Tensor) -> Tensor:
        arguments = [value for value in view.operation.arguments.values() if value != view["self"]]
        return view.operation.function(tensor.expand(shape).double(), *arguments).long()

    return [update_spacing(map_bounds(interval, move), view.axis)]


def _gated_linear_unit(view: FieldView) -> list[PixelInterval | None]:
    """A gated linear unit: one half of the elements times a function of the other half."""
    interval, shape = view.interval("self"), view.shape("self")
    if interval is None:
        return [None]
    dim = view["dim"] if view["dim"] is not None else -1
    if interval.low.shape[dim] == 1 and interval.high.shape[dim] == 1:
        return [interval]
    low = torch.minimum(*interval.low.expand(shape).chunk(2, dim))
    high = torch.maximum(*interval.high.expand(shape).chunk(2, dim))
    return [replace(interval, low=low, high=high)]


REARRANGING = (
    "view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "expand",
    "slice", "select", "unsqueeze", "squeeze", "unbind", "split", "split_with_sizes", "chunk",
    "narrow", "flip", "roll", "diagonal", "repeat", "unfold", "movedim", "native_channel_shuffle",
    "channel_shuffle", "swapaxes", "tile", "rot90", "unsafe_split", "unsafe_split_with_sizes",
)  # fmt: skip
# Operations that PyTorch does not tag as pointwise.
_POINTWISE = (
    "_prelu_kernel", "prelu", "hardswish", "rrelu_with_noise", "log_sigmoid_forward", "rsub",
    "floor_divide", "complex", "polar", "_conj", "conj_physical", "resolve_conj", "resolve_neg",
    "_neg_view", "real", "imag",
)  # fmt: skip
# They round values, for training with quantization in mind; the layers stay what they are.
FAKE_QUANTIZATIONS = (
    "fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine",
    "fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    "_fake_quantize_learnable_per_tensor_affine", "_fake_quantize_learnable_per_channel_affine",
    "fused_moving_avg_obs_fake_quant", "_fused_moving_avg_obs_fq_helper",
)  # fmt: skip
_IDENTITIES = (
    *FAKE_QUANTIZATIONS,
    "alias", "detach", "clone", "contiguous", "_to_copy", "lift_fresh", "lift_fresh_copy",
    "native_dropout", "dropout", "positive", "to", "tril", "triu",
)  # fmt: skip
_REDUCTIONS = (
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod",
    "logsumexp", "linalg_vector_norm", "norm", "any", "all", "argmax", "argmin", "median",
    "nansum", "aminmax",
)  # fmt: skip
_RULES: dict[str, FieldRule] = {
    **dict.fromkeys(REARRANGING, _rearrange),
    **dict.fromkeys(_IDENTITIES, _identity),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "as_strided": as_strided,
    "view_as_real": _split_complex,
    "view_as_complex": _join_complex,
    **dict.fromkeys(("copy",), _copy),
    **dict.fromkeys(_POINTWISE, pointwise),
    **dict.fromkeys(("cat", "stack"), _concatenate),
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
    **dict.fromkeys(("mm", "bmm"), _matrix_product("self", "mat2")),
    "addmm": _matrix_product("mat1", "mat2"),
    "baddbmm": _matrix_product("batch1", "batch2"),
    "linear": _linear,
    "bucketize": _identity,  # each element is looked up by itself
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
        adaptive_pooling,
    ),
    **dict.fromkeys(
        (
            "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
            "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "upsample_linear1d",
            "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
            "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
        ),
        interpolation,
    ),
    **dict.fromkeys(
        ("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
         "replication_pad1d", "replication_pad2d", "replication_pad3d"),
        pad,
    ),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _pixel_shuffle),
    "glu": _gated_linear_unit,
    **dict.fromkeys(
        ("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided", "zeros_like",
         "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "zero"),
        _no_pixels,
    ),
    "fill": _fill,
    "write_through": write_through,
    **dict.fromkeys(("index", "_unsafe_index"), indexing.index),
    "index_select": indexing.index_select,
    "gather": indexing.gather,
    **dict.fromkeys(("index_put", "_unsafe_index_put"), indexing.index_put),
    **dict.fromkeys(
        ("scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill",
         "index_reduce"),
        indexing.scatter,
    ),
    "embedding": indexing.embedding,
    **dict.fromkeys(("sort", "topk", "kthvalue", "mode", "nanmedian"), indexing.sort),
    **dict.fromkeys(
        ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"), indexing.cumulate
    ),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), sampling.grid_sample),
    "affine_grid_generator": combine_everything,
    "torchvision::deform_conv2d": sampling.deformable_convolution,
    **dict.fromkeys(("max_unpool2d", "max_unpool3d"), sampling.unpooling),
    "im2col": sampling.image_to_columns,
    "col2im": sampling.columns_to_image,
    **dict.fromkeys(("mkldnn_rnn_layer", "_cudnn_rnn", "lstm", "gru", "rnn_tanh", "rnn_relu"),
                    sampling.recurrent),
}  # fmt: skip
