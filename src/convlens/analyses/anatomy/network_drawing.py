"""Geometry of the drawing of a network: a box for each layer, scaled by resolution and channels.

As in figure 10.10 of Bishop & Bishop: the height of a box stands for the resolution of the feature
map, its width for the number of channels. Both grow with the square root, so that 7 × 7 positions
remain visible beside 224 × 224. Layers that only normalize or rectify have no box of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from convlens.analyses.anatomy.layer import Layer

Kind = Literal["image", "convolution", "pooling", "dense", "merge", "other"]

_IMAGE = -1  # as in `Layer.inputs`
_UNIT_HEIGHT, _UNIT_WIDTH = 6.0, 0.9  # by the square root of rows and of channels
_MIN_WIDTH, _MAX_WIDTH = 3.0, 40.0
_SLANT = 0.22  # of the height: how far the rear edge of a box lies to the right and above
_MIN_GAP, _MAX_GAP = 7.0, 40.0  # between columns
_SHORT = 400.0  # sum of the gaps in the drawing of a network with few columns
_LANE_GAP = 12.0  # between branches
_MERGE = 7.0  # diameter of a sum or concatenation
_VECTOR = 26.0  # height of a layer without positions
_LABEL = 36.0  # least distance of two labels
_POOLS = ("pool", "Pool")
_MERGES = ("add", "cat", "stack", "mul", "concat")


@dataclass(frozen=True)
class Box:
    """One drawn layer.

    Attributes:
        layer: position in `Anatomy.layers`; -1 for the image.
        kind: what the color stands for.
        x: left edge of the front face.
        y: vertical center of the front face.
        width: width of the front face.
        height: height of the front face.
        slant: how far the rear face lies to the right and above; 0 draws a flat box.
    """

    layer: int
    kind: Kind
    x: float
    y: float
    width: float
    height: float
    slant: float

    @property
    def right(self) -> float:
        """Right edge of the front face."""
        return self.x + self.width

    @property
    def top(self) -> float:
        """Upper edge of the front face; y grows downwards."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """Lower edge of the front face."""
        return self.y + self.height / 2


@dataclass(frozen=True)
class Connection:
    """One line from a box to a later one.

    Attributes:
        start: position in `NetworkDrawing.boxes` of the box where it begins.
        end: position of the box where it ends.
        points: corners of the line, from left to right.
        skips: whether the line passes over boxes between them, as a residual connection does.
    """

    start: int
    end: int
    points: tuple[tuple[float, float], ...]
    skips: bool


@dataclass(frozen=True)
class NetworkDrawing:
    """Boxes and connections, in units of points; x grows to the right, y downwards.

    Attributes:
        boxes: in the order of execution, the image first.
        connections: lines between boxes.
        labels: x, y and text of the size of a feature map, where it changes on the longest path.
        width: width of the drawing.
        height: height of the drawing.
    """

    boxes: tuple[Box, ...]
    connections: tuple[Connection, ...]
    labels: tuple[tuple[float, float, str], ...]
    width: float
    height: float


def draw_network(image: tuple[int, int, int], layers: Sequence[Layer]) -> NetworkDrawing:
    """Place the boxes of a network from left to right, branches below each other.

    Args:
        image: shape of the image, `(C, H, W)`.
        layers: layers in the order of execution.

    Returns:
        The geometry of the drawing.
    """
    sources = _drawn_sources(layers)
    shapes: dict[int, tuple[int, ...]] = {_IMAGE: image}
    shapes |= {layer: _without_images(layers[layer].output) for layer in sources}
    kinds: dict[int, Kind] = {_IMAGE: "image"}
    kinds |= {layer: _kind(layers[layer], len(inputs)) for layer, inputs in sources.items()}
    columns = _columns(sources)
    lanes = _lanes(sources, columns)
    gap = min(_MAX_GAP, max(_MIN_GAP, _SHORT / len(set(columns.values()))))
    boxes = _place(shapes, kinds, columns, lanes, gap)
    positions = {box.layer: position for position, box in enumerate(boxes)}
    connections = _connect(boxes, positions, sources, columns, gap)
    labels = _label(boxes, shapes, kinds, lanes)
    return _moved_to_origin(boxes, connections, labels)


def _kind(layer: Layer, num_sources: int) -> Kind:
    if layer.groups is not None:
        return "convolution"
    if any(word in layer.kind for word in _POOLS):
        return "pooling"
    if layer.by_formula is not None:
        return "dense"
    return "merge" if num_sources > 1 and layer.kind in _MERGES else "other"


def _without_images(output: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an output without the dimension of images, which a vector may not have."""
    return output[1:] if len(output) > 1 else output


def _is_drawn(layer: Layer, inputs: Sequence[int], shapes: Mapping[int, tuple[int, ...]]) -> bool:
    """Whether a layer has a box: it computes, joins branches, or changes the size of a map."""
    if layer.groups is not None or layer.by_formula is not None or layer.kernel is not None:
        return True
    if len(inputs) > 1 or any(word in layer.kind for word in _POOLS):
        return True
    maps = [shapes[source] for source in inputs if len(shapes[source]) == len(layer.output)]
    return len(layer.output) == 4 and any(shape[2:] != layer.output[2:] for shape in maps)


def _drawn_sources(layers: Sequence[Layer]) -> dict[int, tuple[int, ...]]:
    """The drawn layers, each with the drawn layers that it reads, directly or through others."""
    nearest: dict[int, tuple[int, ...]] = {_IMAGE: (_IMAGE,)}
    shapes: dict[int, tuple[int, ...]] = {_IMAGE: ()}
    sources = {}
    for position, layer in enumerate(layers):
        through = dict.fromkeys(drawn for read in layer.inputs for drawn in nearest[read])
        inputs = tuple(through)
        shapes[position] = layer.output
        if inputs and _is_drawn(layer, inputs, shapes):
            sources[position] = inputs
            nearest[position] = (position,)
        else:
            nearest[position] = inputs
    return sources


def _columns(sources: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Column of each layer: the number of boxes on the longest path from the image."""
    columns = {_IMAGE: 0}
    for layer, inputs in sources.items():
        columns[layer] = 1 + max(columns[source] for source in inputs)
    return columns


def _lanes(
    sources: Mapping[int, Sequence[int]], columns: Mapping[int, int]
) -> dict[int, tuple[int, int, int]]:
    """Lane of each layer, and the first and last column that it occupies there.

    The longest path is lane 0. Any other layer occupies its lane up to its last consumer, so that
    the line to the consumer crosses no box.
    """
    last_column = dict(columns)
    for layer, inputs in sources.items():
        for source in inputs:
            last_column[source] = max(last_column[source], columns[layer] - 1)
    lanes = {}
    layer = max(columns, key=lambda position: (columns[position], position))
    while True:
        lanes[layer] = (0, columns[layer], columns[layer])
        if layer == _IMAGE:
            break
        layer = max(sources[layer], key=lambda position: columns[position])
    for layer in sources:
        if layer in lanes:
            continue
        first, last = columns[layer], last_column[layer]
        occupied = {
            lane for lane, start, end in lanes.values() if lane and start <= last and first <= end
        }
        lanes[layer] = (next(lane for lane in range(1, 999) if lane not in occupied), first, last)
    return lanes


def _place(
    shapes: Mapping[int, tuple[int, ...]],
    kinds: Mapping[int, Kind],
    columns: Mapping[int, int],
    lanes: Mapping[int, tuple[int, int, int]],
    gap: float,
) -> list[Box]:
    sizes = {layer: _box_size(shapes[layer], kinds[layer]) for layer in columns}
    num_columns = 1 + max(columns.values())
    widths = [0.0] * num_columns
    for layer, column in columns.items():
        widths[column] = max(widths[column], sizes[layer][0])
    lefts = [0.0]
    for width in widths:
        lefts.append(lefts[-1] + width + gap)
    bottoms = [0.0] * num_columns  # of what has been placed in each column
    boxes = {}
    for layer in sorted(columns, key=lambda position: (lanes[position][0], position)):
        width, height, slant = sizes[layer]
        lane, first, last = lanes[layer]
        occupied = range(first, last + 1)
        y = 0.0
        if lane:
            tall = height / 2 + slant + _LANE_GAP
            y = max(bottoms[column] for column in occupied) + tall
        for column in occupied:
            bottoms[column] = max(bottoms[column], y + height / 2)
        x = lefts[columns[layer]] + (widths[columns[layer]] - width) / 2
        boxes[layer] = Box(layer, kinds[layer], x, y, width, height, slant)
    return [boxes[layer] for layer in sorted(boxes)]


def _box_size(shape: tuple[int, ...], kind: Kind) -> tuple[float, float, float]:
    """Width and height of the front face, and the slant."""
    if kind == "merge":
        return _MERGE, _MERGE, 0.0
    if len(shape) != 3:
        return _MIN_WIDTH, _VECTOR, 0.0
    channels, rows, _ = shape
    width = min(_MAX_WIDTH, max(_MIN_WIDTH, _UNIT_WIDTH * channels**0.5))
    height = _UNIT_HEIGHT * max(rows, 1) ** 0.5
    return width, height, _SLANT * height


def _connect(
    boxes: Sequence[Box],
    positions: Mapping[int, int],
    sources: Mapping[int, Sequence[int]],
    columns: Mapping[int, int],
    gap: float,
) -> list[Connection]:
    levels: dict[int, int] = {}  # number of lines above each column so far
    connections = []
    for layer, inputs in sources.items():
        end = boxes[positions[layer]]
        for source in inputs:
            start = boxes[positions[source]]
            between = range(columns[source] + 1, columns[layer])
            if between and start.y == end.y == 0:
                level = max(levels.get(column, 0) for column in between)
                levels.update(dict.fromkeys(between, level + 1))
                points = _line_above(start, end, boxes, columns, between, level, gap)
                skips = True
            else:
                points, skips = _line(start, end, gap), False
            connections.append(Connection(positions[source], positions[layer], points, skips))
    return connections


def _line_above(
    start: Box,
    end: Box,
    boxes: Sequence[Box],
    columns: Mapping[int, int],
    between: range,
    level: int,
    gap: float,
) -> tuple[tuple[float, float], ...]:
    """A line above the boxes between two boxes of the longest path."""
    top = min(box.top - box.slant for box in boxes if columns[box.layer] in between)
    top = min(top, end.top, start.top) - 5.0 - 2.5 * (level % 8)
    left = start.right + gap / 2
    right = (end.x + end.right) / 2
    return (start.right, start.y), (left, start.y), (left, top), (right, top), (right, end.top)


def _line(start: Box, end: Box, gap: float) -> tuple[tuple[float, float], ...]:
    """A line to the next column, or from a branch to where it ends."""
    if start.y == end.y:
        return (start.right, start.y), (end.x, end.y)
    # A branch leaves directly after its start, and returns directly before its end.
    corner = end.x - gap / 2 if start.y > end.y else start.right + gap / 2
    return (start.right, start.y), (corner, start.y), (corner, end.y), (end.x, end.y)


def _label(
    boxes: Sequence[Box],
    shapes: Mapping[int, tuple[int, ...]],
    kinds: Mapping[int, Kind],
    lanes: Mapping[int, tuple[int, int, int]],
) -> list[tuple[float, float, str]]:
    """The size of the feature map below the longest path, where its resolution changes.

    Labels keep their distance; that of the output takes precedence over those before it.
    """
    bottom = max(box.bottom for box in boxes) + 14.0
    labels: list[tuple[float, float, str]] = []
    before: tuple[int, ...] | None = None
    path = [box for box in boxes if not lanes[box.layer][0] and kinds[box.layer] != "merge"]
    end = (path[-1].x + path[-1].right) / 2
    for box in path:
        shape = shapes[box.layer]
        if shape[-2:] == before:
            continue
        text = f"{shape[1]}×{shape[2]}\n{shape[0]}" if len(shape) == 3 else str((1, *shape)[-1])
        x = (box.x + box.right) / 2
        is_free = x - labels[-1][0] > _LABEL and end - x > _LABEL if labels else True
        if is_free or x == end:
            labels.append((x, bottom, text))
            before = shape[-2:]
    return labels


def _moved_to_origin(
    boxes: Sequence[Box],
    connections: Sequence[Connection],
    labels: Sequence[tuple[float, float, str]],
) -> NetworkDrawing:
    """The drawing with its upper left corner at (0, 0)."""
    tops = [box.top - box.slant for box in boxes]
    tops += [y for connection in connections for _, y in connection.points]
    top = min(tops) - 4
    left = min(*(box.x for box in boxes), *(x - 22 for x, _, _ in labels))
    right = max(*(box.right + box.slant for box in boxes), *(x + 22 for x, _, _ in labels))
    height = max(y for _, y, _ in labels) + 24 - top
    return NetworkDrawing(
        tuple(replace(box, x=box.x - left, y=box.y - top) for box in boxes),
        tuple(
            replace(line, points=tuple((x - left, y - top) for x, y in line.points))
            for line in connections
        ),
        tuple((x - left, y - top, text) for x, y, text in labels),
        right - left,
        height,
    )
