"""Stages: the smallest canvas on which a goal can be driven, and where it stands there."""

from dataclasses import dataclass

from convlens.analyses.maximize.objectives import Goal
from convlens.analyses.patches.windows import Window, box, least_side, position, window
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.input_size import least
from convlens.tracing.trace import Trace, trace

_TIMES = 2  # receptive fields that a channel's canvas is long
_FIELD_SHARE, _CANVAS_SHARE = 0.25, 0.2  # that a counted unit's middle is away from each edge
_LEAST, _MOST = 64, 160  # pixels of a channel's canvas, where nothing else is asked for


@dataclass(frozen=True)
class Stage:
    """Where a goal is driven.

    Attributes:
        trace: of the model on the canvas, as far as it runs there.
        node: the driven node, by number in that trace.
        position: of the unit on this canvas, or None.
        window: for a unit, the part of the whole image that the canvas is.
        whole: height and width of that image.
        counted: the rows and columns of the map that count. Near the edges units see padding, and
            what excites them there is the frame rather than the picture.
    """

    trace: Trace
    node: int
    position: tuple[int, int] | None = None
    window: Window | None = None
    whole: tuple[int, int] = (0, 0)
    counted: tuple[slice, slice] = (slice(None), slice(None))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas in pixels."""
        return self.trace.image_size


def plan_crop(model: Model, base: Trace, goal: Goal, size: tuple[int, int] | None) -> Stage:
    """The stage of a goal.

    Args:
        model: the model.
        base: its trace on images of its own size.
        goal: what is driven.
        size: of the canvas; for a unit, of the image in which it stands. Default: see `maximize`.

    Raises:
        ConvlensError: the network does not run as far as the goal on that size (with the least
            that does), or there is no such unit.
    """
    if not goal.layer:
        there = base if size is None else trace(model, size=size)
        return Stage(there, there.logits)
    if goal.position is not None:
        whole = base if size is None else _far_enough(model, goal, size)
        return _of_unit(model, whole, goal)
    there = _far_enough(model, goal, size) if size else _roomy(model, base, goal)
    node = there.find_node(goal.driven)
    return Stage(there, node, counted=_inner(there, node))


def _inner(there: Trace, node: int) -> tuple[slice, slice]:
    """Units whose middle keeps a part of their field away from the edges; all if none does."""
    field = there.field(node)
    assert field is not None
    found = []
    for centers, extent, length in zip(field.centers, field.size, there.image_size, strict=True):
        margin = min(_FIELD_SHARE * (extent or length), _CANVAS_SHARE * length)
        inside = (centers >= margin) & (centers <= length - 1 - margin)
        rows = inside.nonzero().flatten().tolist()
        found.append(slice(rows[0], rows[-1] + 1) if rows else slice(None))
    return found[0], found[1]


def _reaches(there: Trace, goal: Goal) -> bool:
    """Whether the goal's layer gives a map there."""
    if goal.driven not in there or goal.node_name not in there:
        return False
    return there.spatial_dims(there.find_node(goal.driven)) is not None


def _far_enough(model: Model, goal: Goal, size: tuple[int, int]) -> Trace:
    there = trace(model, size=size, partly=True)
    if _reaches(there, goal):
        return there
    side = least(lambda side: _reaches(trace(model, size=(side, side), partly=True), goal))
    advice = f"; give at least {side} x {side}" if side else ""
    raise ConvlensError(
        f"{size[0]} x {size[1]} pixels are too few for {goal.layer} of {model.name} to give a "
        f"map{advice}"
    )


def _roomy(model: Model, base: Trace, goal: Goal) -> Trace:
    """A canvas of some receptive fields, within bounds, on which the layer gives a map."""
    field = base.field(base.find_node(goal.driven))
    extents = field.size if field is not None else (None, None)
    side = max(_LEAST if extent is None else _TIMES * extent for extent in extents)
    side = min(max(side, _LEAST), _MOST)
    while side < max(base.image_size):
        there = trace(model, size=(side, side), partly=True)
        if _reaches(there, goal):
            return there
        side *= 2
    return base


def _of_unit(model: Model, whole: Trace, goal: Goal) -> Stage:
    assert goal.position is not None
    node = whole.find_node(goal.driven)
    height, width = (whole.shape(node)[dim] for dim in whole.spatial_dims(node) or ())
    row, column = goal.position
    if row >= height or column >= width:
        raise ConvlensError(
            f"{goal.layer} has units from 0,0 to {height - 1},{width - 1} on images of "
            f"{whole.image_size[0]} x {whole.image_size[1]}; given {row},{column}"
        )
    field = whole.field(node)
    assert field is not None
    seen = box(field, row, column)
    held = window(field, seen, whole.image_size, least_side(model, whole, node))
    there = trace(model, size=held[2:], partly=True)
    inner = there.find_node(goal.driven)
    at = position(there, inner, seen, held)
    if at is None or held[2:] == whole.image_size or goal.node_name not in there:
        return Stage(whole, node, goal.position, (0, 0, *whole.image_size), whole.image_size)
    return Stage(there, inner, at, held, whole.image_size)
