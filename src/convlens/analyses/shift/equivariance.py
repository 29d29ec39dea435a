"""Equivariance: whether the map of the shifted image is the shifted map, layer by layer.

Convolution is equivariant (Bishop & Bishop, section 10.2). Strides and pooling keep equivariance
for shifts by whole strides only, and padding breaks it at the borders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import TYPE_CHECKING

from torch import Tensor

from convlens.analyses.shift.map_comparison import compare_maps
from convlens.analyses.shift.shifted_layers import (
    Offset,
    ShiftedLayer,
    find_shifted_layers,
    parse_shifts,
)
from convlens.drawing import new_figure
from convlens.models.model import ImagesLike, Model, check_model
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.runtime.precision import full_precision
from convlens.text import plot_text
from convlens.tracing.left_out import find_left_out
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import counted, with_article

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOST = 0.01  # of a map's own variation; a smaller error is not called a loss of equivariance

_MARKERS = "os^v"


@dataclass(frozen=True, eq=False)
class LayerEquivariance(Result):
    """How much a layer's map of the shifted image differs from the shifted map.

    Errors are the root mean square of the difference, divided by that of the map's variation around
    its channels' means: 0 is equivariant, 1.4 as different as unrelated maps. There is one for each
    shift, the median over the images; None where nothing can be compared.

    Attributes:
        layer: the name of the layer.
        operation: "convolution", "max pooling" or "average pooling".
        stride: positions of its input from one of its windows to the next, rows and columns.
        padded: whether its windows reach beyond its input.
        spacing: pixels from one position to the next, or None where that varies.
        field: rows and columns that a position sees, or None where that varies.
        map_size: height and width of its maps.
        inner_errors: errors of the positions whose receptive fields lie within the image before
            and after the shift, so that borders and padding play no part.
        whole_errors: errors of all positions that exist before and after the shift.
    """

    layer: str
    operation: str
    stride: tuple[int, int]
    padded: bool
    spacing: tuple[int, int] | None
    field: tuple[int, int] | None
    map_size: tuple[int, int]
    inner_errors: tuple[float | None, ...]
    whole_errors: tuple[float | None, ...]

    def reason(self, shift: Offset) -> str:
        """What in this layer may break equivariance under a shift, in words."""
        if self.spacing and not any(
            pixels % spacing for pixels, spacing in zip(shift, self.spacing, strict=True)
        ):
            # A whole number of positions, for which strides and pooling keep equivariance.
            if self.inner_errors[0] is None:
                return "borders and padding: no position sees the image alone"
            return "more than convolution and pooling goes on before it"
        parts = [] if self.operation == "convolution" else [self.operation]
        if max(self.stride) > 1:
            stride = self.stride[0] if self.stride[0] == self.stride[1] else self.stride
            parts.append(f"stride {stride}")
        return ", ".join(parts) or "its input"

    def error(self, shift: int) -> float | None:
        """The error of the inner positions under a shift, or of all if there are no inner ones."""
        inner = self.inner_errors[shift]
        return self.whole_errors[shift] if inner is None else inner


@dataclass(frozen=True, eq=False)
class Equivariance(NetworkResult):
    """The equivariance of every convolution and pooling, and where it is lost.

    Attributes:
        model: the name of the model.
        images: the number of images that were shifted.
        shifts: rows and columns by which the content moves, in pixels.
        layers: the layers in the order in which the network executes them.
        lost: for each shift the number of the first layer whose error is above 0.01, or None.
        left_out: the convolutions that have no maps, with the reason.
    """

    model: str
    images: int
    shifts: tuple[Offset, ...]
    layers: tuple[LayerEquivariance, ...]
    lost: tuple[int | None, ...]
    left_out: tuple[str, ...] = ()

    def summary(self, shift: int = 0) -> str:
        """Where equivariance is lost under one of the shifts, in words."""
        pixels = with_article(f"{_pixels(self.shifts[shift])}-pixel")
        number = self.lost[shift]
        if number is None:
            return (
                f"after {pixels} shift, the output of every layer "
                f"({counted(len(self.layers), 'layer')}) equals the shifted original output to "
                f"within 1 % of its variation (RMS)"
            )
        layer = self.layers[number]
        return (
            f"after {pixels} shift, the output of {layer.layer} "
            f"({layer.reason(self.shifts[shift])}) differs from the shifted original output by "
            f"{100 * (layer.error(shift) or 0):.0f} % of its variation (RMS)"
        )

    def table(self) -> Table:
        """The error of each layer under each shift, in percent of its variation."""
        return Table.of(
            ["layer", "operation", *(f"shift {_pixels(shift)}" for shift in self.shifts)],
            [
                [
                    layer.layer,
                    layer.operation,
                    *(
                        "" if error is None else f"{100 * error:.0f} %"
                        for error in map(layer.error, range(len(self.shifts)))
                    ),
                ]
                for layer in self.layers
            ],
        )

    def figure(self) -> "Figure":
        """The error of every layer, in the order of execution, with a curve for each shift."""
        figure = new_figure(figsize=(5.6, 3.2))
        axes = figure.subplots()
        for number, shift in enumerate(self.shifts):
            errors = [layer.error(number) for layer in self.layers]
            axes.plot(
                range(len(errors)), [nan if error is None else error for error in errors],
                marker=_MARKERS[number % len(_MARKERS)], markersize=3, linewidth=1,
                label=f"shift by {_pixels(shift)} px",
            )  # fmt: skip
        axes.set_xlabel("layer, in the order of execution")
        axes.set_ylabel("error, of the map's variation")
        axes.set_ylim(bottom=0)
        axes.set_title(
            plot_text(f"{self.model}, {counted(self.images, 'image')}: equivariance"), fontsize=9
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
        return figure


def _pixels(shift: Offset) -> str:
    rows, columns = shift
    return str(rows) if rows == columns else f"{rows},{columns}"


@keep_warnings
@full_precision()
def equivariance(
    model: Model,
    images: ImagesLike,
    *,
    shifts: Sequence[int | Offset] | None = None,
) -> Equivariance:
    """Measure how the map of every convolution and pooling changes when the image is shifted.

    The content of the image moves down and to the right, around the edges. A shift by whole strides
    of a layer moves its map by whole positions; for other shifts, the map is moved by linear
    interpolation. The image and each shifted image take one forward pass. The first 64 channels of
    a layer are compared, and of a map with more than 40 rows every second, third and so on.

    Args:
        model: the model; left untouched.
        images: `(N, C, H, W)` inside the bounds, or photos as `Model.prepare` takes them.
        shifts: pixels, for both axes or as (rows, columns), not negative. Default: one pixel, and
            the greatest stride of any layer.

    Returns:
        The errors of every layer, as medians over the images.

    Raises:
        ConvlensError: if a shift cannot be used, the model does not take the images, or the
            network has no maps.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.2.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
        ...     torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> convlens.equivariance(model, torch.rand(2, 3, 8, 8), shifts=[1]).layers[0].layer
        '0'
    """
    check_model(model)
    images = model.check(model.to_images(images))
    trace = trace_network(model, images)
    layers = find_shifted_layers(trace)
    offsets = parse_shifts(trace, layers, shifts)
    errors = compare_maps(model, trace, layers, images, offsets)
    medians = errors.nanmedian(dim=0).values
    return summarize_errors(model, trace, layers, offsets, medians, len(images))


def summarize_errors(
    model: Model,
    trace: Trace,
    layers: Sequence[ShiftedLayer],
    offsets: Sequence[Offset],
    errors: Tensor,
    images: int,
) -> Equivariance:
    """Make the result from the median errors.

    Args:
        model: the model.
        trace: its trace.
        layers: the layers that were compared (L of them).
        offsets: the shifts (S of them).
        errors: `(2, S, L)`, of the inner positions and of the whole map; NaN for no comparison.
        images: the number of images.
    """
    rows = []
    for number, layer in enumerate(layers):
        field, dims = trace.field(layer.node), trace.spatial_dims(layer.node)
        assert field is not None
        assert dims is not None
        size, shape = field.size, trace.shape(layer.node)
        inner, whole = (
            tuple(None if isnan(value) else value for value in errors[kind, :, number].tolist())
            for kind in (0, 1)
        )
        rows.append(
            LayerEquivariance(
                layer=layer.layer,
                operation=layer.operation_name,
                stride=layer.stride,
                padded=layer.padded,
                spacing=layer.spacing,
                field=(size[0], size[1]) if size[0] and size[1] else None,
                map_size=(shape[dims[0]], shape[dims[1]]),
                inner_errors=inner,
                whole_errors=whole,
            )
        )
    lost = [
        next((number for number, row in enumerate(rows) if (row.error(shift) or 0.0) > LOST), None)
        for shift in range(len(offsets))
    ]
    return Equivariance(
        model=model.name,
        images=images,
        shifts=tuple(offsets),
        layers=tuple(rows),
        lost=tuple(lost),
        left_out=tuple(map(str, find_left_out(trace))),
    )
