"""The layers of a network as the explorer lists them, and their receptive fields as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from convlens.analyses.anatomy.anatomy import anatomy
from convlens.analyses.anatomy.network_drawing import NetworkDrawing
from convlens.analyses.anatomy.result import Anatomy
from convlens.analyses.missing_settings.missing_settings import missing_settings
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.receptive_field.fields import Field
from convlens.tracing.selection import ChannelSource, Side, find_channel_sources
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace

SIDE: Side = "post"  # of the layers, where the explorer does not say otherwise


@dataclass(frozen=True)
class LayerRow:
    """One layer of the list.

    Attributes:
        name: name of the layer or node.
        kind: class of the module, or name of the operation.
        output: shape of the output for one image.
        rows: rows of its map; 0 for a layer without a map.
        source: the node at which its channels are read; None for a layer without a map.
        field: the receptive field there; None for a layer without a map.
        branch: whether it lies beside another layer, as the branches of a network do.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    rows: int
    source: ChannelSource | None
    field: Field | None
    branch: bool = False


@dataclass(frozen=True)
class Skip:
    """A connection that passes over layers of the list, as a residual connection does.

    Attributes:
        start: number of the row from which it comes; -1 for the image.
        end: number of the row at which it arrives.
        lane: how far beside the list it is drawn, from 0, so that lines do not lie on each other.
    """

    start: int
    end: int
    lane: int


@dataclass(frozen=True, eq=False)
class Network:
    """What is known of a network before any photo.

    Attributes:
        trace: its trace.
        anatomy: its layers.
        rows: the layers that the explorer lists.
        skips: connections that pass over rows.
        num_classes: number of classes; 0 for a network without class scores.
        findings: what the model was not given, such as trained weights or a normalization, and
            why its results have to be read with care; one sentence each.
    """

    trace: Trace
    anatomy: Anatomy
    rows: list[LayerRow]
    skips: list[Skip]
    num_classes: int
    findings: tuple[str, ...]

    @cached_property
    def with_maps(self) -> list[LayerRow]:
        """The rows whose layers have maps."""
        return [row for row in self.rows if row.source is not None]

    def is_convolution(self, name: str) -> bool:
        """Whether a layer is a convolution, whose arithmetic has a page."""
        return any(convolution.layer == name for convolution in self.trace.convolutions)

    @property
    def final_row(self) -> LayerRow | None:
        """The row of the final convolutional layer; None for a network that has none."""
        final = self.trace.final_layer
        if final is None:
            return None
        for row in self.with_maps:
            if row.source is not None and row.source.node == final.post:
                return row
        return make_row(self.trace, self.trace.name(final.post))

    def find_row(self, name: str) -> LayerRow:
        """The row of a layer or a node with a map, also of one that the explorer does not list.

        Raises:
            ConvlensError: there is none of that name, with the nearest names; or it has no map.
        """
        for row in self.with_maps:
            if row.name == name:
                return row
        return make_row(self.trace, name)


def describe_network(model: Model) -> Network:
    """List the layers of a network, and what the model was not given."""
    model_trace, layers = trace(model), anatomy(model)
    rows, skips = list_layers(model_trace, layers)
    classes = model_trace.num_outputs if layers.logits else 0
    findings = (*missing_settings(model), *model_trace.warnings)
    return Network(model_trace, layers, rows, skips, classes, findings)


def list_layers(trace: Trace, anatomy: Anatomy) -> tuple[list[LayerRow], list[Skip]]:
    """The layers that compute, in the order of execution, and the connections that skip some.

    Layers that only normalize or rectify are left out, as in the drawing of the network.
    """
    drawing = anatomy.drawing()
    rows = []
    for box in drawing.boxes:
        if box.layer < 0:
            continue
        layer = anatomy.layers[box.layer]
        source = _find_source(trace, layer.name)
        field = trace.field(source.node) if source is not None else None
        rows.append(
            LayerRow(
                name=layer.name,
                kind=layer.kind,
                output=layer.output,
                rows=len(field.low[0]) if field is not None else 0,
                source=source if field is not None else None,
                field=field,
                branch=abs(box.y - drawing.boxes[0].y) > 1,
            )
        )
    return rows, _find_skips(drawing)


def make_row(trace: Trace, name: str) -> LayerRow:
    """The row of a layer or node that is not in the list, such as a batch normalization.

    Raises:
        ConvlensError: there is none of that name, with the nearest names; or it has no map.
    """
    (source,) = find_channel_sources(trace, [name], SIDE)
    field = trace.field(source.node)
    assert field is not None  # as it has a map
    return LayerRow(
        name=name,
        kind="",
        output=trace.shape(source.node),
        rows=len(field.low[0]),
        source=source,
        field=field,
    )


def _find_source(trace: Trace, name: str) -> ChannelSource | None:
    try:
        (source,) = find_channel_sources(trace, [name], SIDE)
    except ConvlensError:  # no map, or no single node
        return None
    return source


def _find_skips(drawing: NetworkDrawing) -> list[Skip]:
    """The connections between rows that are not neighbors, the short ones next to the list."""
    first = 1 if drawing.boxes and drawing.boxes[0].layer < 0 else 0
    long = sorted(
        (
            (connection.start - first, connection.end - first)
            for connection in drawing.connections
            if connection.end - connection.start > 1
        ),
        key=lambda ends: ends[1] - ends[0],
    )
    skips: list[Skip] = []
    for start, end in long:
        taken = {skip.lane for skip in skips if start < skip.end and skip.start < end}
        lane = next(lane for lane in range(len(skips) + 1) if lane not in taken)
        skips.append(Skip(start, end, lane))
    return skips


def fields_json(rows: Sequence[LayerRow], image_size: tuple[int, int]) -> dict[str, Any]:
    """The receptive fields of all units of the listed layers, as the browser reads them.

    Each axis of a layer is `[count, offset, stride, size]` where the fields are evenly spaced, and
    else two lists, the first and the last pixel of each position.

    Args:
        rows: from `list_layers`.
        image_size: height and width of the image in pixels.
    """
    layers = [
        {
            "name": row.name,
            "whole": row.field.sees_whole_image,
            "y": _axis(row.field.low[0], row.field.high[0]),
            "x": _axis(row.field.low[1], row.field.high[1]),
        }
        for row in rows
        if row.field is not None
    ]
    return {"size": list(image_size), "layers": layers}


def _axis(low: Tensor, high: Tensor) -> list[Any]:
    sizes, steps = (high - low + 1).unique(), low.diff().unique()
    if len(sizes) == 1 and len(steps) <= 1:
        step = int(steps[0]) if len(steps) else 0
        return [len(low), int(low[0]), step, int(sizes[0])]
    return [low.tolist(), high.tolist()]
