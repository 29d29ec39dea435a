"""The section on the network: its layers, and their receptive fields drawn to scale."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convlens.analyses.anatomy.layer import Layer
from convlens.analyses.anatomy.result import Anatomy
from convlens.analyses.missing_settings.missing_settings import missing_settings
from convlens.data.images import to_pixels
from convlens.data.sampling import spread
from convlens.html.numbers import short
from convlens.html.pictures import PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding
from convlens.page.section import Section
from convlens.results.reproduction import Reproduction
from convlens.wording import capitalized, counted, enumerated

# Layers that return their input: in the report's numbers, but not in the table.
_IDLE = frozenset({"Identity", "Dropout", "Dropout2d", "DropPath", "StochasticDepth"})
_SIDE = 320.0  # CSS pixels of the drawing; names stand to the right of it
_LINE = 34.0  # between names, as in the stylesheet
_MOST = 7  # fields that are drawn


@dataclass(frozen=True)
class _Square:
    """The field of one layer's middle position.

    Attributes:
        layer: its number among the anatomy's layers.
        name: name of the layer.
        x: left side in the drawing.
        y: top side.
        width: width in the drawing.
        height: height in the drawing.
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
class _FieldsDrawing:
    """The image's frame (x, y, width, height) and the fields, the largest first."""

    side: float
    frame: tuple[float, float, float, float]
    squares: list[_Square]


class NetworkSection(Section[Anatomy]):
    """Every layer that runs, with its sizes and costs."""

    name = "network"
    title = "Network"
    budget = Budget(items=500, bytes=1_000_000)
    missing = "No anatomy"
    failure_mark = "broken"

    def compute(self, inputs: Inputs) -> Anatomy:
        """The anatomy, which all sections share."""
        return inputs.anatomy

    def findings(self, inputs: Inputs, result: Anatomy) -> Iterator[Finding]:
        """What the model was not given; size, first stride, first layer that sees the whole image.

        Untrained weights have a section of their own.
        """
        for sentence in missing_settings(inputs.model, weights=False):
            yield Finding("look", f"{capitalized(sentence)}.", "network", rank=1)
        at_least = "at least " if result.not_counted else ""
        sentences = [
            f"{inputs.subject.name} has {short(result.parameters)} parameters and takes {at_least}"
            f"{short(result.multiply_adds)} multiply-adds for one image"
        ]
        strided = next(
            (layer for layer in result.layers if layer.stride and max(layer.stride) > 1), None
        )
        if strided is not None and strided.stride is not None:
            sentences.append(f"Its first stride is {max(strided.stride)}, at {strided.name}")
        whole = next(
            (layer.name for layer in result.layers if _sees_all(layer, inputs.model.size)), None
        )
        if whole is not None:
            sentences.append(f"From {whole} on, a unit sees as many pixels as the image has")
        if result.unused:
            tensors = counted(len(result.unused), "parameter tensor")
            sentences.append(f"It never uses {tensors}: {enumerated(result.unused)}")
        sentence = ". ".join(sentences)
        yield Finding("look" if result.unused else "fine", f"{sentence}.", "network", rank=7)

    def left_out(self, inputs: Inputs, result: Anatomy) -> Iterator[str]:
        """Layers that are not in the table."""
        total, rows = len(result.layers), len(self._table_rows(result))
        if rows == total:
            return
        idle = sum(layer.kind in _IDLE for layer in result.layers)
        more = total - idle - rows
        yield (
            f"not in the table: {idle} of {counted(total, 'layer')}, which return their input "
            f"(Identity, Dropout)" + (f", and {more} more" if more else "")
        )

    def reproduction(self, inputs: Inputs, result: Anatomy) -> Reproduction:
        """The table of layers."""
        return inputs.reproducer.reproduction("anatomy", ["anatomy"], "convlens.anatomy(model)")

    def view(self, inputs: Inputs, result: Anatomy, pictures: PictureBudget) -> dict[str, Any]:
        """The drawing of the network, the rows of the table, the fields around the first photo."""
        photo = None
        if inputs.shown:
            image = inputs.images[inputs.shown[0]]
            photo = pictures.photo(to_pixels(image, inputs.model.bounds)[0])
        architecture = result.drawing()
        return {
            "layers": self._table_rows(result),
            "architecture": architecture,
            "kinds": {box.kind for box in architecture.boxes},
            "drawing": _draw_fields(result),
            "photo": photo,
            "photo_number": inputs.shown[0] + 1 if inputs.shown else None,
        }

    def _table_rows(self, result: Anatomy) -> list[tuple[int, Layer]]:
        """The layers that the table shows, with their numbers in the result."""
        busy = [(at, layer) for at, layer in enumerate(result.layers) if layer.kind not in _IDLE]
        return spread(busy, self.budget.items)


def _sees_all(layer: Layer, size: tuple[int, int]) -> bool:
    """Whether a unit sees as many pixels along both axes as the image has."""
    return bool(layer.field_size) and all(
        field >= side for field, side in zip(layer.field_size or (), size, strict=True)
    )


def _draw_fields(anatomy: Anatomy) -> _FieldsDrawing | None:
    """Nested squares around the image's frame, or None for a network without fields."""
    drawn_layers = _choose_fields(anatomy)
    if not drawn_layers:
        return None
    image = anatomy.image[1:]
    boxes = [
        (0, 0, image[0], image[1]),
        *(_middle_field(layer, image) for _, layer in drawn_layers),
    ]
    top, left = min(box[0] for box in boxes), min(box[1] for box in boxes)
    bottom, right = max(box[2] for box in boxes), max(box[3] for box in boxes)
    unit = _SIDE / max(bottom - top, right - left)
    drawn = [
        ((x0 - left) * unit, (y0 - top) * unit, (x1 - x0) * unit, (y1 - y0) * unit)
        for y0, x0, y1, x1 in boxes
    ]
    squares = [
        _Square(number, layer.name, *box, label=8 + at * _LINE, final=layer.final is not None)
        for at, ((number, layer), box) in enumerate(zip(drawn_layers, drawn[1:], strict=True))
    ]
    return _FieldsDrawing(_SIDE, drawn[0], squares)


def _choose_fields(anatomy: Anatomy) -> list[tuple[int, Layer]]:
    """The last layer at each stride, or at each size where strides are few; largest first."""
    layers_with_fields = [
        (at, layer)
        for at, layer in enumerate(anatomy.layers)
        if layer.field_size and layer.field_stride
    ]
    by_stride = {layer.field_stride: (at, layer) for at, layer in layers_with_fields}
    by_size = {layer.field_size: (at, layer) for at, layer in layers_with_fields}
    last = list((by_stride if len(by_stride) >= 4 else by_size).values())
    picked = spread(last, _MOST - 1) + last[-1:]
    final = [
        (at, layer) for at, layer in layers_with_fields if layer.final and "post" in layer.final
    ][:1]
    unique = {layer.field_size: (at, layer) for at, layer in (*picked, *final)}
    return sorted(unique.values(), key=lambda pair: pair[1].field_size or (0, 0), reverse=True)


def _middle_field(layer: Layer, image: tuple[int, ...]) -> tuple[int, int, int, int]:
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


SECTION = NetworkSection()
