"""Filters: the weights of a convolution as pictures, the first one's by default."""

from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.drawing import (
    add_color_bar,
    add_title,
    color_bar,
    diverging_colors,
    enlarge,
    make_sheet,
    stack_vertically,
)
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results import Result
from convlens.runtime.guard import unwrap_network
from convlens.tracing.recorder import Operation
from convlens.tracing.selection import check_channel
from convlens.tracing.trace import Trace, trace

_SILENT = 1e-4
_TILE = 44  # pixels that a filter is enlarged to, about
_BAR = 120  # pixels


@dataclass(frozen=True, eq=False)
class Filters(Result):
    """Weights of one convolution.

    Of all patches of one norm the filter itself gives the greatest response (Cauchy-Schwarz), so
    that its picture is also what it looks for.

    Attributes:
        layer: its dotted name.
        channels: which of its channels the filters give (F of them).
        weights: float32 `(F, C, Mh, Mw)`, raw.
        scale: greatest absolute weight of the layer; all filters are drawn on this one scale.
        stride: of the convolution, rows and columns.
        first: whether it looks at the image itself.
        own_scale: each filter is drawn on the scale of its own greatest absolute weight, so that
            strengths cannot be compared; those that are next to nothing keep the common one.
        kinds: what each filter is, where they are sorted by it; else empty.
    """

    layer: str
    channels: tuple[int, ...]
    weights: Tensor
    scale: float
    stride: tuple[int, int]
    first: bool
    own_scale: bool = False
    kinds: tuple[str, ...] = ()

    @property
    def scales(self) -> Tensor:
        """float32 `(F,)`, the weight that each filter's full color stands for."""
        if not self.own_scale:
            return torch.full((len(self.weights),), self.scale)
        scales = self.weights.abs().flatten(1).amax(dim=1)
        scales[list(self.silent)] = self.scale
        return scales

    @property
    def norms(self) -> Tensor:
        """float32 `(F,)`, root of the summed squared weights of each filter."""
        return self.weights.flatten(1).norm(dim=1)

    @property
    def silent(self) -> tuple[int, ...]:
        """Numbers of the filters that are next to nothing: norm at most 1/10,000 of the greatest.

        Trained filters that do anything are far above.
        """
        norms = self.norms
        return tuple((norms <= _SILENT * norms.max()).nonzero().flatten().tolist())

    @property
    def colored(self) -> bool:
        """Whether the filters are drawn in color: three channels that look at the image."""
        return self.first and self.weights.shape[1] == 3

    def tiles(self) -> list[Tensor]:
        """Each filter as uint8 `(Mh, Mw, 3)`, one pixel a weight, on its scale.

        Filters of three channels that look at the image are color: mid-gray is no weight, and
        ±scale is the end of each channel. Other filters show the channel of greatest norm, red
        for positive and blue for negative.
        """
        scales = self.scales.view(-1, 1, 1, 1).clamp(min=torch.finfo(torch.float32).tiny)
        unit = (self.weights / scales).clamp(-1, 1)
        if self.colored:
            color = unit / 2 + 0.5
            return list((color * 255).round().to(torch.uint8).permute(0, 2, 3, 1))
        strongest = self.weights.flatten(2).norm(dim=2).argmax(dim=1)
        return list(diverging_colors(unit[torch.arange(len(unit)), strongest], 1.0))

    def pictures(self) -> dict[str, Tensor]:
        """All filters in one sheet with their channels, enlarged with hard edges, and their scale.

        Each kind begins a row of its own.
        """
        tiles = self.tiles()
        times = max(1, _TILE // max(tiles[0].shape[:2]))
        columns = max(1, round((2 * len(tiles)) ** 0.5))
        enlarged = [enlarge(tile, times) for tile in tiles]
        captions = [str(channel) for channel in self.channels]
        if self.own_scale:
            scales = self.scales.tolist()
            captions = [f"{one}\n±{own:.2g}" for one, own in zip(captions, scales, strict=True)]
        parts = []
        for kind in dict.fromkeys(self.kinds or ("",)):
            own = [
                number for number, of in enumerate(self.kinds or [""] * len(tiles)) if of == kind
            ]
            part = make_sheet(
                [enlarged[number] for number in own], columns,
                captions=[captions[number] for number in own],
            )  # fmt: skip
            parts.append(add_title(part, f"{len(own)} {kind}") if kind else part)
        _, inputs, height, width = self.weights.shape
        strongest = "" if self.colored or inputs == 1 else "the input channel of greatest norm"
        drawn = add_title(
            self.with_bar(stack_vertically(*parts)),
            f"{self.layer}: {len(tiles)} filters of {height} × {width} × {inputs}, by channel",
            f"of each {strongest}" if strongest else "",
        )
        return {"filters": drawn}

    def with_bar(self, picture: Tensor) -> Tensor:
        """A picture of these filters with the bar of their weights on the right."""
        colors = color_bar(_BAR, colors="gray" if self.colored else "diverging", upright=True)
        ends = ("−", "0", "+")
        unit = "weight, up to the one beneath each filter"
        if not self.own_scale:
            ends = (f"−{self.scale:.2g}", "0", f"+{self.scale:.2g}")
            unit = "weight"
        return add_color_bar(
            picture,
            colors,
            ends,
            unit + (": of red, green and blue each" if self.colored else ""),
        )


def filters(
    model: Model,
    *,
    layer: str | None = None,
    channel: int | None = None,
    own_scale: bool = False,
) -> Filters:
    """The filters of a convolution, in the order of its channels.

    `fit_gabor(model).sorted()` gives them by kind.

    Args:
        model: the model; its weights are not run, only looked at.
        layer: dotted name of a convolution; default: the first that an image meets.
        channel: only the filter of this channel; default: all.
        own_scale: draw each filter on a scale of its own instead of one for all; weak ones can be
            made out then, and strengths cannot be compared.

    Raises:
        ConvlensError: no convolution, not one of that name, or no such channel.
    """
    found = trace(model)
    convolutions = _convolutions(found)
    if not convolutions:
        raise ConvlensError(f"{model.name} runs no convolution, so it has no filters")
    name = layer or next(iter(convolutions))
    if name not in convolutions:
        found.find_node(name)  # an unknown name is told with the nearest ones
        raise ConvlensError(
            f"{name} of {model.name} is not a convolution; the first one is "
            f"{next(iter(convolutions))}"
        )
    operation = convolutions[name]
    weight = getattr(dict(unwrap_network(model.network).named_modules())[name], "weight", None)
    if not isinstance(weight, Tensor):
        raise ConvlensError(f"{name} of {model.name} keeps no weights of its own")
    weights = weight.detach().float().cpu().clone()
    if operation.arguments["transposed"]:
        weights = weights.transpose(0, 1)
    if not bool(weights.isfinite().all()):
        bad = int((~weights.isfinite()).sum())
        raise ConvlensError(f"{bad} of {weights.numel()} weights of {name} are NaN or infinite")
    if channel is not None:
        check_channel(name, channel, len(weights))
    chosen = tuple(range(len(weights))) if channel is None else (channel,)
    stride = operation.arguments["stride"]
    return Filters(
        layer=name,
        channels=chosen,
        weights=weights[list(chosen)],
        scale=float(weights.abs().max()),
        stride=(stride[0], stride[-1]),
        first=name == next(iter(convolutions)),
        own_scale=own_scale,
    )


def _convolutions(found: Trace) -> dict[str, Operation]:
    """Two-dimensional convolutions of what follows from the image, by module, in order."""
    convolutions: dict[str, Operation] = {}
    for operation in found.recording.operations:
        if operation.name != "convolution" or operation.call is None:
            continue
        if len(operation.arguments["stride"]) == 2 and found.reach(operation.outputs[0]):
            convolutions.setdefault(operation.call.path, operation)
    return convolutions
