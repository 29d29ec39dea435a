"""Crop plans: the smallest image on which an objective can be optimized.

A channel needs an image of a few receptive fields, a unit only the part of the image that it sees.
Gradient ascent on such a crop gives the same activation as on the whole image, for less work.
"""

from dataclasses import dataclass

from convlens.analyses.maximize.objectives import Objective
from convlens.analyses.patches.windows import (
    Window,
    field_box,
    find_window,
    position_in_window,
    smallest_side,
)
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.recording.input_size import find_least_side
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace

_FIELDS = 2  # side of a channel's image, in receptive fields
_SMALLEST, _LARGEST = 64, 160  # sides of a channel's image in pixels, if no size is asked for
# Units count toward a channel's mean if their field's middle keeps this distance from each edge:
# a share of the receptive field, or of the image where that is less.
_FIELD_MARGIN, _IMAGE_MARGIN = 0.25, 0.2


@dataclass(frozen=True)
class CropPlan:
    """The image on which an objective is optimized, and where the objective lies in it.

    Attributes:
        trace: trace of the model on images of the crop's size, as far as it runs on them.
        node: the optimized node, by its index in that trace.
        position: row and column of the unit in the crop's map; None for other objectives.
        window: for a unit the part of the whole image that the crop is.
        image_size: for a unit, height and width of the whole image.
        averaged: rows and columns of the map over which a channel is averaged. Units near the
            edges see padding, and what excites them is the border rather than the picture.
    """

    trace: Trace
    node: int
    position: tuple[int, int] | None = None
    window: Window | None = None
    image_size: tuple[int, int] = (0, 0)
    averaged: tuple[slice, slice] = (slice(None), slice(None))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the crop in pixels."""
        return self.trace.image_size


def plan_crop(
    model: Model, base: Trace, objective: Objective, size: tuple[int, int] | None
) -> CropPlan:
    """Choose the image on which an objective is optimized.

    Args:
        model: the model.
        base: its trace on images of its own size.
        objective: what is optimized.
        size: height and width of the image; for a unit, of the whole image of which the crop is a
            part. Default: see `convlens.maximize`.

    Raises:
        ConvlensError: the network does not run as far as the objective on images of that size (the
            message names the smallest size that works), or there is no such unit.
    """
    if not objective.layer:
        model_trace = base if size is None else trace(model, size=size)
        return CropPlan(model_trace, model_trace.logits)
    if objective.position is not None:
        whole_trace = base if size is None else _trace_of_size(model, objective, size)
        return _plan_unit(model, whole_trace, objective)
    model_trace = (
        _trace_of_size(model, objective, size) if size else _default_trace(model, base, objective)
    )
    node = model_trace.find_node(objective.optimized_node_name)
    return CropPlan(model_trace, node, averaged=_inner_units(model_trace, node))


def _inner_units(model_trace: Trace, node: int) -> tuple[slice, slice]:
    """The units whose field's middle keeps a distance from the edges; all units if none does."""
    field = model_trace.field(node)
    assert field is not None
    slices = []
    for centers, extent, length in zip(
        field.centers, field.size, model_trace.image_size, strict=True
    ):
        margin = min(_FIELD_MARGIN * (extent or length), _IMAGE_MARGIN * length)
        inside = (centers >= margin) & (centers <= length - 1 - margin)
        units = inside.nonzero().flatten().tolist()
        slices.append(slice(units[0], units[-1] + 1) if units else slice(None))
    return slices[0], slices[1]


def _has_map(model_trace: Trace, objective: Objective) -> bool:
    """Whether the objective's layer gives a map in this trace."""
    if objective.optimized_node_name not in model_trace or objective.node_name not in model_trace:
        return False
    return (
        model_trace.spatial_dims(model_trace.find_node(objective.optimized_node_name)) is not None
    )


def _trace_of_size(model: Model, objective: Objective, size: tuple[int, int]) -> Trace:
    model_trace = trace(model, size=size, partly=True)
    if _has_map(model_trace, objective):
        return model_trace
    side = find_least_side(
        lambda side: _has_map(trace(model, size=(side, side), partly=True), objective)
    )
    advice = f"; give at least {side} x {side}" if side else ""
    raise ConvlensError(
        f"{size[0]} x {size[1]} pixels are too few for {objective.layer} of {model.name} to give a "
        f"map{advice}"
    )


def _default_trace(model: Model, base: Trace, objective: Objective) -> Trace:
    """The trace of an image of some receptive fields, within limits, with a map of the layer."""
    side = least_default_side(base, objective)
    while side < max(base.image_size):
        model_trace = trace(model, size=(side, side), partly=True)
        if _has_map(model_trace, objective):
            return model_trace
        side *= 2
    return base


def least_default_side(base: Trace, objective: Objective) -> int:
    """Side of the smallest default image of a channel or direction, in pixels.

    The default image is larger where the layer gives no map on one of this size, and at most as
    large as the model's own images.

    Args:
        base: trace of the model on images of its own size.
        objective: a channel or a direction.
    """
    field = base.field(base.find_node(objective.optimized_node_name))
    extents = field.size if field is not None else (None, None)
    side = max(_SMALLEST if extent is None else _FIELDS * extent for extent in extents)
    return min(max(side, _SMALLEST), _LARGEST)


def _plan_unit(model: Model, whole_trace: Trace, objective: Objective) -> CropPlan:
    assert objective.position is not None
    node = whole_trace.find_node(objective.optimized_node_name)
    height, width = (whole_trace.shape(node)[dim] for dim in whole_trace.spatial_dims(node) or ())
    row, column = objective.position
    if row >= height or column >= width:
        raise ConvlensError(
            f"{objective.layer} has units from 0,0 to {height - 1},{width - 1} on images of "
            f"{whole_trace.image_size[0]} x {whole_trace.image_size[1]}; given {row},{column}"
        )
    field = whole_trace.field(node)
    assert field is not None
    box = field_box(field, row, column)
    crop = find_window(field, box, whole_trace.image_size, smallest_side(model, whole_trace, node))
    model_trace = trace(model, size=crop[2:], partly=True)
    crop_node = model_trace.find_node(objective.optimized_node_name)
    crop_position = position_in_window(model_trace, crop_node, box, crop)
    if (
        crop_position is None
        or crop[2:] == whole_trace.image_size
        or objective.node_name not in model_trace
    ):
        whole_window = (0, 0, *whole_trace.image_size)
        return CropPlan(whole_trace, node, objective.position, whole_window, whole_trace.image_size)
    return CropPlan(model_trace, crop_node, crop_position, crop, whole_trace.image_size)
