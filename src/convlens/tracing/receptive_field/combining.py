"""Receptive-field rules of operations that combine elements along some dimensions."""

from dataclasses import replace

import torch
from torch import Tensor

from convlens.tracing.interval import (
    FieldRule,
    FieldView,
    PixelInterval,
    combine_along,
    map_bounds,
    merge_intervals,
)


def reduce(view: FieldView) -> list[PixelInterval | None]:
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


def softmax(view: FieldView) -> list[PixelInterval | None]:
    """The output sees what the elements along one dimension see."""
    return [combine_along(view.interval(view.first_argument), [view["dim"]])]


def layer_norm(view: FieldView) -> list[PixelInterval | None]:
    """Statistics over the last dimensions."""
    interval = view.interval("input")
    dims = range(-len(view["normalized_shape"]), 0)
    return [
        merge_intervals([interval, combine_along(interval, list(dims))], len(view.output_shape))
    ]


def group_norm(view: FieldView) -> list[PixelInterval | None]:
    """Statistics over the channels and positions of an image."""
    interval = view.interval("input")
    ndim = len(view.output_shape)
    return [merge_intervals([interval, combine_along(interval, list(range(1, ndim)))], ndim)]


def batch_norm(view: FieldView) -> list[PixelInterval | None]:
    """Statistics over all images in training mode; in evaluation mode pointwise."""
    interval = view.interval("input")
    if not (view["training"] or view["train"]):
        return [interval]
    ndim = len(view.output_shape)
    return [merge_intervals([interval, combine_along(interval, list(range(ndim)))], ndim)]


def matrix_product(left: str, right: str) -> FieldRule:
    """Matrix products: rows of `left` times columns of `right`, plus a bias or a further tensor."""

    def rule(view: FieldView) -> list[PixelInterval | None]:
        summands = [view.interval(name) for name in ("self", "bias") if name not in (left, right)]
        rows = combine_along(view.interval(left), [-1])
        columns = view.interval(right)
        if columns is not None and columns.low.ndim > 1:
            columns = combine_along(columns, [-2])
        return [merge_intervals([rows, columns, *summands], len(view.output_shape))]

    return rule


def linear(view: FieldView) -> list[PixelInterval | None]:
    """A linear layer combines the last dimension of its input."""
    return [combine_along(view.interval("input"), [-1])]


def attention(view: FieldView) -> list[PixelInterval | None]:
    """Scaled dot-product attention: rows of the query, with all keys and values."""
    query = combine_along(view.interval("query"), [-1])
    key = combine_along(view.interval("key"), [-2, -1])
    value = combine_along(view.interval("value"), [-2])
    return [merge_intervals([query, key, value], len(view.output_shape))]


def gated_linear_unit(view: FieldView) -> list[PixelInterval | None]:
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
