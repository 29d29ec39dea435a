"""The filters of a convolution: its weights, drawn as pictures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from convlens.analyses.filters.convolved_weights import convolved_weights
from convlens.data.sampling import spread
from convlens.drawing import (
    Panel,
    Scale,
    add_color_bar,
    add_title,
    color_bar,
    diverging_colors,
    enlarge,
    grid_figure,
    make_sheet,
    stack_vertically,
)
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.tracing.channel_names import check_channel
from convlens.tracing.left_out import explain_missing_maps
from convlens.tracing.recording.recording import Operation
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SILENT_NORM = 1e-4  # norm of a silent filter, as a share of the greatest norm, at most
_TILE = 44  # pixels, about: small filters are enlarged to this side
_MOST_DRAWN = 64  # filters in a figure
_COLUMNS = 12  # of a figure
_LARGEST = 1.2  # inches of a filter in a figure
_BAR = 120  # length of the color bar in pixels


@dataclass(frozen=True, eq=False)
class Filters(NetworkResult):
    """The filters of one convolution.

    Among all patches of the same norm, a filter responds most strongly to the patch that equals
    the filter (Cauchy-Schwarz), so the picture of a filter is also what it detects.

    Attributes:
        layer: name of the convolution.
        channels: the channels whose filters these are, F of them.
        weights: float32 `(F, C, Mh, Mw)`, raw.
        scale: greatest absolute weight of the layer, on which all filters are drawn.
        stride: stride of the convolution, along rows and columns.
        first: whether the convolution is the first one that an image meets.
        own_scale: whether each filter is drawn on the scale of its own greatest absolute weight.
            Strengths cannot be compared then. Silent filters keep the common scale.
        kinds: the kind of each filter, if they are sorted by kind; else empty.
        kinds_reason: why no kind could be decided; empty if it could.
    """

    layer: str
    channels: tuple[int, ...]
    weights: Tensor
    scale: float
    stride: tuple[int, int]
    first: bool
    own_scale: bool = False
    kinds: tuple[str, ...] = ()
    kinds_reason: str = ""

    @property
    def scales(self) -> Tensor:
        """float32 `(F,)`, the absolute weight that is drawn in full color in each filter."""
        if not self.own_scale:
            return torch.full((len(self.weights),), self.scale, dtype=torch.float32)
        scales = self.weights.abs().flatten(1).amax(dim=1)
        scales[list(self.silent)] = self.scale
        return scales

    @property
    def norms(self) -> Tensor:
        """float32 `(F,)`, the Euclidean norm of each filter."""
        return self.weights.flatten(1).norm(dim=1)

    @property
    def silent(self) -> tuple[int, ...]:
        """Indices of the filters whose norm is at most 1/10,000 of the greatest norm.

        Trained filters that contribute anything have far greater norms.
        """
        norms = self.norms
        return tuple((norms <= _SILENT_NORM * norms.max()).nonzero().flatten().tolist())

    @property
    def colored(self) -> bool:
        """Whether the filters are drawn in color: first convolutions with three channels are."""
        return self.first and self.weights.shape[1] == 3

    @property
    def colors(self) -> Literal["gray", "diverging"]:
        """The color map of the weights."""
        return "gray" if self.colored else "diverging"

    def summary(self) -> str:
        """Number and size of the filters, in words."""
        _, inputs, height, width = self.weights.shape
        words = (
            f"{counted(len(self.weights), 'filter')} of {self.layer}, {height} × {width} × "
            f"{inputs}, with weights up to ±{self.scale:.2g}"
        )
        return words + (f"; {len(self.silent)} of them silent" if self.silent else "")

    def table(self) -> Table:
        """The filters with the greatest norms."""
        norms = self.norms
        return Table.of(
            ["channel", "norm", "greatest weight"],
            [
                [
                    str(self.channels[index]),
                    f"{float(norms[index]):.3g}",
                    f"{float(self.weights[index].abs().max()):.3g}",
                ]
                for index in norms.argsort(descending=True, stable=True).tolist()
            ],
            most=5,
        )

    def figure(self) -> "Figure":
        """The filters with their channels and the bar of their scale.

        At most 64 are drawn, evenly spread.
        """
        tiles, signed = self.tiles(), not self.colored
        indices = spread(range(len(tiles)), _MOST_DRAWN)
        panels = [Panel(tiles[index], str(self.channels[index]), signed) for index in indices]
        _, inputs, height, width = self.weights.shape
        title = f"{self.layer}: filters of {height} × {width} × {inputs} by channel"
        if not self.colored and inputs > 1:
            title += ", of each the strongest input channel"
        if len(indices) < len(tiles):
            title += f"; {len(indices)} of {len(tiles)} filters"
        scale = Scale(self.colors, -self.scale, self.scale, "weight")
        return grid_figure(
            panels, max(1, min(_COLUMNS, len(panels))), title=title,
            scale=None if self.own_scale else scale, largest=_LARGEST,
        )  # fmt: skip

    def tiles(self) -> list[Tensor]:
        """Each filter as uint8 `(Mh, Mw, 3)`, one pixel for each weight, on its scale.

        Filters of a first convolution with three channels are drawn in color: mid-gray is 0, and
        each color channel ends at ±scale. For other filters, the channel with the greatest norm
        is drawn, red for positive and blue for negative weights.
        """
        scales = self.scales.view(-1, 1, 1, 1).clamp(min=torch.finfo(torch.float32).tiny)
        unit = (self.weights / scales).clamp(-1, 1)
        if self.colored:
            color = unit / 2 + 0.5
            return list((color * 255).round().to(torch.uint8).permute(0, 2, 3, 1))
        strongest = self.weights.flatten(2).norm(dim=2).argmax(dim=1)
        return list(diverging_colors(unit[torch.arange(len(unit)), strongest], 1.0))

    def pictures(self) -> dict[str, Tensor]:
        """One sheet of all filters with their channels and their scale.

        Filters are enlarged without interpolation, and each kind starts a row of its own.
        """
        tiles = self.tiles()
        factor = max(1, _TILE // max(tiles[0].shape[:2]))
        columns = max(1, round((2 * len(tiles)) ** 0.5))
        enlarged = [enlarge(tile, factor) for tile in tiles]
        captions = [str(channel) for channel in self.channels]
        if self.own_scale:
            scales = self.scales.tolist()
            captions = [
                f"{caption}\n±{scale:.2g}" for caption, scale in zip(captions, scales, strict=True)
            ]
        parts = []
        for kind in dict.fromkeys(self.kinds or ("",)):
            indices = [
                index
                for index, own_kind in enumerate(self.kinds or [""] * len(tiles))
                if own_kind == kind
            ]
            part = make_sheet(
                [enlarged[index] for index in indices], columns,
                captions=[captions[index] for index in indices],
            )  # fmt: skip
            parts.append(add_title(part, f"{len(indices)} {kind}") if kind else part)
        _, inputs, height, width = self.weights.shape
        has_hidden_channels = not self.colored and inputs > 1
        picture = add_title(
            self.add_weight_bar(stack_vertically(*parts)),
            f"{self.layer}: {counted(len(tiles), 'filter')} of {height} × {width} × {inputs}, "
            f"by channel",
            "of each filter the strongest input channel" if has_hidden_channels else "",
        )
        return {"filters": picture}

    def add_weight_bar(self, picture: Tensor) -> Tensor:
        """Add the color bar of the weights on the right of a picture of these filters."""
        colors = color_bar(_BAR, colors=self.colors, upright=True)
        ends = ("−", "0", "+")
        unit = "weight, up to the value below each filter"
        if not self.own_scale:
            ends = (f"−{self.scale:.2g}", "0", f"+{self.scale:.2g}")
            unit = "weight"
        return add_color_bar(
            picture,
            colors,
            ends,
            unit + (": of red, green and blue" if self.colored else ""),
        )


@keep_warnings
def filters(
    model: Model,
    *,
    layer: str | None = None,
    channel: int | None = None,
    own_scale: bool = False,
) -> Filters:
    """The filters of a convolution, in the order of its channels.

    `convlens.filters_by_kind` sorts them by kind.

    Args:
        model: the model. Weights that the network computes in each run (weight norm, spectral
            norm, pruning, standardized weights) are those of a run; parameters are only read.
        layer: name of a convolution; default: the first one that an image meets.
        channel: return only the filter of this channel; default: all.
        own_scale: draw each filter on a scale of its own instead of one for all. Weak filters
            become visible, but strengths cannot be compared. Default: one scale for all.

    Returns:
        The filters with raw weights.

    Raises:
        ConvlensError: the network runs no convolution, or none of that name; there is no such
            channel; weights are NaN or infinite, or computed from the image.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.3.

    Example:
        >>> import torch, convlens
        >>> model = convlens.wrap(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5)), size=8)
        >>> result = convlens.filters(model)
        >>> result.layer, result.weights.shape
        ('0', torch.Size([4, 3, 5, 5]))
    """
    model_trace = trace(model)
    convolutions = _find_convolutions(model_trace)
    if not convolutions:
        reason = explain_missing_maps(model_trace)
        raise ConvlensError(
            f"{model.name} has no filters of rows and columns: "
            + (reason or "it runs no convolution")
        )
    name = layer or next(iter(convolutions))
    if name not in convolutions:
        model_trace.find_node(name)  # raises for an unknown name, and suggests the nearest
        raise ConvlensError(
            f"{name} of {model.name} is not a convolution; the first one is "
            f"{next(iter(convolutions))}"
        )
    operation = convolutions[name]
    weights = convolved_weights(model, model_trace, operation).float().cpu()
    if operation.arguments["transposed"]:
        weights = weights.transpose(0, 1)
    if not bool(weights.isfinite().all()):
        bad = int((~weights.isfinite()).sum())
        raise ConvlensError(f"{bad} of {weights.numel()} weights of {name} are NaN or infinite")
    if channel is not None:
        check_channel(name, channel, len(weights))
    channels = tuple(range(len(weights))) if channel is None else (channel,)
    stride = operation.arguments["stride"]
    return Filters(
        layer=name,
        channels=channels,
        weights=weights[list(channels)],
        scale=float(weights.abs().max()),
        stride=(stride[0], stride[-1]),
        first=name == next(iter(convolutions)),
        own_scale=own_scale,
    )


def _find_convolutions(model_trace: Trace) -> dict[str, Operation]:
    """Two-dimensional convolutions of tensors that depend on the image, by module, in order."""
    convolutions: dict[str, Operation] = {}
    for operation in model_trace.recording.operations:
        if operation.name != "convolution" or operation.call is None:
            continue
        if len(operation.arguments["stride"]) == 2 and operation.outputs[0] in model_trace.on_image:
            # The code of the network itself has no path, and the operation has a name.
            name = operation.call.path or model_trace.name(operation.outputs[0])
            convolutions.setdefault(name, operation)
    return convolutions
