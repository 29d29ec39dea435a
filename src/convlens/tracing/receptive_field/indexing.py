"""Receptive field of indexing, gathering, scattering, sorting and lookup in tables.

Indices whose values are known (`x[:, [2, 1, 0]]`, a buffer) move elements, and the operation is
applied to the bounds of the intervals as it is. Where the values are not known, an output may hold
any element along the indexed dimension.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convlens.tracing.interval import (
    FieldView,
    PixelInterval,
    combine_along,
    combine_everything,
    drop_repetition,
    map_bounds,
    merge_intervals,
    update_spacing,
)
from convlens.tracing.receptive_field.storage import NO_PIXEL, fill_missing
from convlens.tracing.recording.recording import NodeRef


def index(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of `x[:, indices]`, with one or several tensors of indices."""
    refs = view["indices"]
    interval, shape = view.interval("self"), view.shape("self")
    if interval is None:
        return _look_up(view, refs)
    values = _known_indices(view, refs, shape)
    indexed = [dim for dim, ref in enumerate(refs) if ref is not None]
    if any(values[dim] is None for dim in indexed):
        # Any index may stand for any other, so zeros do as well.
        combined = combine_along(interval, indexed)
        assert combined is not None
        interval = combined
        values = [ref and torch.zeros(view.shapes[ref.node], dtype=torch.int64) for ref in refs]
    function = view.operation.function

    low, high = (function(bound.expand(shape), values) for bound in (interval.low, interval.high))
    if low.shape != view.output_shape:
        return combine_everything(view)  # a mask that depends on the image chooses elements
    moved = replace(interval, low=drop_repetition(low), high=drop_repetition(high))
    return [update_spacing(moved, view.axis)]


def _known_indices(
    view: FieldView, refs: Sequence[NodeRef | None], lengths: Sequence[int]
) -> list[Tensor | None]:
    """The values of indices along several dimensions, None for each that is not known.

    Fake tensors do not notice an index outside a dimension, as on a crop of an image. The network
    does not run there, so that such an index counts as not known.
    """
    values = [None if ref is None else view.known_value(ref.node) for ref in refs]
    if any(value is not None and value.dtype in (torch.bool, torch.uint8) for value in values):
        return values  # masks, which may stand for several dimensions
    inside = [
        value is None
        or not value.numel()
        or (int(value.min()) >= -length and int(value.max()) < length)
        for value, length in zip(values, lengths, strict=False)
    ]
    return [value if fits else None for value, fits in zip(values, inside, strict=True)]


def _look_up(view: FieldView, refs: Sequence[NodeRef | None]) -> list[PixelInterval | None]:
    """A table without pixels, read at indices that depend on the image."""
    on_image = [(dim, ref) for dim, ref in enumerate(refs) if ref and view.interval_of(ref.node)]
    if len(on_image) != 1 or sum(ref is not None for ref in refs) != 1:
        return combine_everything(view)
    dim, ref = on_image[0]
    interval = view.interval_of(ref.node)
    assert interval is not None
    dims_after = len(view.shape("self")) - dim - 1
    return [
        map_bounds(
            interval, lambda bound: bound.reshape(*[1] * dim, *bound.shape, *[1] * dims_after)
        )
    ]


def index_select(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of `index_select`: a tensor of indices along one dimension."""
    interval, shape = view.interval("self"), view.shape("self")
    index_ref = view["index"]
    (value,) = _known_indices(view, [index_ref], (shape[view["dim"]],))
    if interval is None or value is None:
        return [combine_along(interval, [view["dim"]])]

    def move(bound: Tensor) -> Tensor:
        return drop_repetition(bound.expand(shape).index_select(view["dim"], value))

    return [update_spacing(map_bounds(interval, move), view.axis)]


def gather(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of `gather`: an index along one dimension for each output."""
    interval, index_interval = view.interval("self"), view.interval("index")
    shape, dim = view.shape("self"), view["dim"]
    (value,) = _known_indices(view, [view["index"]], (shape[dim],))
    if interval is not None and value is not None:

        def move(bound: Tensor) -> Tensor:
            return drop_repetition(bound.expand(shape).gather(dim, value))

        return [update_spacing(map_bounds(interval, move), view.axis)]
    combined = combine_along(interval, [dim])
    if combined is not None:
        sizes = view.output_shape

        def crop(bound: Tensor) -> Tensor:
            for other, size in enumerate(sizes):
                if bound.shape[other] > 1:
                    bound = bound.narrow(other, 0, size)
            return bound

        combined = map_bounds(combined, crop)
    return [merge_intervals([combined, index_interval], len(view.output_shape))]


def index_put(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of `x[indices] = y` with known indices, or with a mask of x's shape."""
    base, written = view.interval("self"), view.interval("values")
    refs, shape = view["indices"], view.shape("self")
    ndim = len(shape)
    if len(refs) == 1 and refs[0] and view.shapes[refs[0].node] == shape:
        if written is not None:
            written = combine_along(written, list(range(written.low.ndim)))
        return [merge_intervals([base, view.interval_of(refs[0].node), written], ndim)]
    values = _known_indices(view, refs, shape)
    are_known = all(value is not None for ref, value in zip(refs, values, strict=True) if ref)
    present = [interval for interval in (base, written) if interval is not None]
    if not are_known or view["accumulate"] or not present:
        return combine_everything(view) if present else [None]
    function, size = view.operation.function, view.shape("values")

    def write(sign: int) -> Tensor:
        nothing = torch.tensor(sign * NO_PIXEL, dtype=torch.int64)
        before, after = (
            nothing if interval is None else interval.low if sign > 0 else interval.high
            for interval in (base, written)
        )
        bound = function(before.expand(shape).clone(), values, after.expand(size))
        return fill_missing(bound, view.axis, present[0].spacing, sign)

    merged = merge_intervals(present, ndim)
    assert merged is not None
    return [update_spacing(replace(merged, low=write(1), high=write(-1)), view.axis)]


def scatter(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of `scatter` and `index_add`.

    With unknown indices, any source along the dimension may go to an output.
    """
    dim, ndim = view["dim"], len(view.output_shape)
    moved = _scatter_at_known_indices(view)
    if moved is not None:
        return [moved]
    intervals = [view.interval("self")]
    for name in ("index", "src", "source", "value"):
        interval = view.interval(name)
        if interval is None:
            continue
        if interval.low.ndim != ndim:
            return combine_everything(view)
        combined = combine_along(interval, [dim])
        assert combined is not None
        sizes = torch.broadcast_shapes(combined.low.shape, combined.high.shape)
        if any(size not in (1, view.output_shape[other]) for other, size in enumerate(sizes)):
            return combine_everything(view)
        intervals.append(combined)
    return [merge_intervals(intervals, ndim)]


def _scatter_at_known_indices(view: FieldView) -> PixelInterval | None:
    """The union of what is written to each output and of what was there; None if it is unknown."""
    source_name = next((name for name in ("src", "source") if view[name] is not None), None)
    if source_name is None or not isinstance(view["index"], NodeRef):
        return None
    base, source = view.interval("self"), view.interval(source_name)
    dim, shape, source_shape = view["dim"], view.output_shape, view.shape(source_name)
    (value,) = _known_indices(view, [view["index"]], (shape[dim],))
    if source is None or value is None or not shape:
        return None
    if value.ndim == 1 and len(shape) > 1:  # one index for each position along the dimension
        value = value.view([-1 if other == dim % len(shape) else 1 for other in range(len(shape))])
        value = value.expand(source_shape)

    def write(sign: int) -> Tensor:
        bound = torch.full(shape, sign * NO_PIXEL, dtype=torch.int64)
        if base is not None:
            bound = (base.low if sign > 0 else base.high).expand(shape)
        written = (source.low if sign > 0 else source.high).expand(source_shape)
        united = bound.scatter_reduce(dim, value, written, "amin" if sign > 0 else "amax")
        return fill_missing(united, view.axis, source.spacing, sign)

    merged = merge_intervals([base, source], len(shape))
    assert merged is not None
    low, high = drop_repetition(write(1)), drop_repetition(write(-1))
    return update_spacing(replace(merged, low=low, high=high), view.axis)


def embedding(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of a lookup: that of the index, for each number of the vector."""
    interval = view.interval("indices")
    return [interval and map_bounds(interval, lambda bound: bound.unsqueeze(-1))]


def sort(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of sorting and of the greatest elements along a dimension."""
    dim = view["dim"] if view["dim"] is not None else -1
    return [combine_along(view.interval("self"), [dim])]


def cumulate(view: FieldView) -> list[PixelInterval | None]:
    """Receptive field of a cumulative sum or product: all elements up to its own."""
    interval, dim = view.interval("self"), view["dim"]
    if interval is None:
        return [None]
    if interval.nearest:
        return [interval]
    low, high = interval.low.cummin(dim).values, interval.high.cummax(dim).values
    return [replace(interval, low=low, high=high)]
