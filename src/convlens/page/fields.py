"""Receptive fields to scale: nested squares around the image's frame, with a line to each name."""

from dataclasses import dataclass

from convlens.analyses.anatomy.anatomy import Anatomy, Layer
from convlens.page.budget import spread

_SIDE = 400.0  # pixels of the drawing; names stand to the right of it
_LINE = 34.0  # between names, as in the stylesheet
_MOST = 7


@dataclass(frozen=True)
class Square:
    """The field of one layer's middle position.

    Attributes:
        layer: its number among the anatomy's layers.
        name: of the layer.
        x: left side in the drawing.
        y: top side.
        width: in the drawing.
        height: in the drawing.
        label: where its name stands, from the top.
        final: it is the final convolutional layer.
    """

    layer: int
    name: str
    x: float
    y: float
    width: float
    height: float
    label: float
    final: bool


@dataclass(frozen=True)
class FieldsDrawing:
    """The image's frame (x, y, width, height) and the fields, the largest first."""

    side: float
    frame: tuple[float, float, float, float]
    squares: list[Square]


def fields_drawing(found: Anatomy) -> FieldsDrawing | None:
    """A drawing of some layers' fields, or None for a network without any."""
    chosen = _chosen(found)
    if not chosen:
        return None
    image = found.image[1:]
    boxes = [(0, 0, image[0], image[1]), *(_middle(layer, image) for _, layer in chosen)]
    top, left = min(box[0] for box in boxes), min(box[1] for box in boxes)
    bottom, right = max(box[2] for box in boxes), max(box[3] for box in boxes)
    unit = _SIDE / max(bottom - top, right - left)
    drawn = [
        ((x0 - left) * unit, (y0 - top) * unit, (x1 - x0) * unit, (y1 - y0) * unit)
        for y0, x0, y1, x1 in boxes
    ]
    squares = [
        Square(number, layer.name, *box, label=8 + at * _LINE, final=layer.final is not None)
        for at, ((number, layer), box) in enumerate(zip(chosen, drawn[1:], strict=True))
    ]
    return FieldsDrawing(_SIDE, drawn[0], squares)


def _chosen(found: Anatomy) -> list[tuple[int, Layer]]:
    """The last layer at each stride, or at each size where strides are few; largest first."""
    known = [
        (at, one) for at, one in enumerate(found.layers) if one.field_size and one.field_stride
    ]
    by_stride = {one.field_stride: (at, one) for at, one in known}
    by_size = {one.field_size: (at, one) for at, one in known}
    last = list((by_stride if len(by_stride) >= 4 else by_size).values())
    picked = spread(last, _MOST - 1) + last[-1:]
    final = [(at, one) for at, one in known if one.final and "post" in one.final][:1]
    unique = {one.field_size: (at, one) for at, one in (*picked, *final)}
    return sorted(unique.values(), key=lambda pair: pair[1].field_size or (0, 0), reverse=True)


def _middle(layer: Layer, image: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the field that lies nearest to the image's middle."""
    assert layer.field_size and layer.field_stride and layer.field_offset
    low = []
    for axis in (0, 1):
        size, stride, offset = (
            layer.field_size[axis], layer.field_stride[axis], layer.field_offset[axis],
        )  # fmt: skip
        steps = round(((image[axis] - size) / 2 - offset) / max(stride, 1))
        low.append(offset + max(steps, 0) * stride)
    return low[0], low[1], low[0] + layer.field_size[0], low[1] + layer.field_size[1]
