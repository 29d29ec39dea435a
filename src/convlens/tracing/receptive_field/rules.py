"""The receptive-field rule of each operation.

A rule computes the pixel intervals of an operation's outputs from those of its inputs. The rules
themselves are in the other files of this package, except those of operations on single elements.
"""

import torch
from torch._ops import OpOverload

from convlens.tracing.interval import (
    FieldRule,
    FieldView,
    PixelInterval,
    combine_everything,
    merge_intervals,
)
from convlens.tracing.receptive_field import combining, indexing, rearranging, sampling
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


def _copy(view: FieldView) -> list[PixelInterval | None]:
    """`copy_` overwrites a tensor by another one, which may be broadcast."""
    view.used.update(view.operation.inputs)
    return [merge_intervals([view.interval("src")], len(view.output_shape))]


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
    **dict.fromkeys(REARRANGING, rearranging.move_elements),
    **dict.fromkeys(_IDENTITIES, _identity),
    **dict.fromkeys(_REDUCTIONS, combining.reduce),
    "as_strided": as_strided,
    "view_as_real": rearranging.split_complex,
    "view_as_complex": rearranging.join_complex,
    **dict.fromkeys(("copy",), _copy),
    **dict.fromkeys(_POINTWISE, pointwise),
    **dict.fromkeys(("cat", "stack"), rearranging.concatenate),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), combining.softmax),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm", "rms_norm"), combining.layer_norm),
    **dict.fromkeys(("native_group_norm",), combining.group_norm),
    **dict.fromkeys(
        (
            "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
            "_native_batch_norm_legit_functional", "cudnn_batch_norm", "batch_norm",
            "_batch_norm_no_update", "_batch_norm_with_update",
        ),
        combining.batch_norm,
    ),
    **dict.fromkeys(("mm", "bmm"), combining.matrix_product("self", "mat2")),
    "addmm": combining.matrix_product("mat1", "mat2"),
    "baddbmm": combining.matrix_product("batch1", "batch2"),
    "linear": combining.linear,
    "bucketize": _identity,  # each element is looked up by itself
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable",
        ),
        combining.attention,
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
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), rearranging.pixel_shuffle),
    "glu": combining.gated_linear_unit,
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
