"""Tuning: what gratings make the channels of a layer fire, as physiologists ask it of cells.

Drifting gratings of many orientations and frequencies are shown, and the unit in the middle of each
map is recorded. A unit that follows the bars as they drift is simple, one that does not mind where
they are is complex: the ratio of the first harmonic of its answer to the mean, F1/F0, is above 1 or
below (Skottun et al., Classifying simple and complex cells on the basis of response modulation,
1991).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.capture import stream
from convlens.drawing import (
    add_color_bar,
    add_title,
    color_bar,
    enlarge,
    make_sheet,
    sequential_colors,
)
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results import Result
from convlens.runtime.guard import untouched
from convlens.runtime.precision import full_precision
from convlens.tracing.selection import ChannelSource, Side, find_channel_sources
from convlens.tracing.trace import Trace, trace

_BATCH = 64  # gratings
_SHOWN = 64  # channels in the picture
_CELL = 6  # pixels that a response is enlarged to
_GAP = 12  # pixels between tiles
_BAR = 120  # pixels


@dataclass(frozen=True, eq=False)
class OrientationTuning(Result):
    """Answers of every channel of a layer to gratings.

    Attributes:
        model: its name.
        layer: the name that was asked for, or the convolution's.
        node_name: name of the node.
        side: side of the layer: `pre`, `post` or `output`.
        size: height and width of the images that were shown, in pixels.
        field: rows and columns that the unit sees.
        orientations: float32 `(O,)`, degrees of the bars, counter-clockwise from horizontal.
        frequencies: float32 `(S,)`, cycles a pixel.
        phases: how many steps of the drift.
        contrast: of the gratings, share of the span of the bounds.
        responses: float32 `(C, O, S, P)`, the unit's activation, after the non-linearity.
    """

    model: str
    layer: str
    node_name: str
    side: str
    size: tuple[int, int]
    field: tuple[int, int]
    orientations: Tensor
    frequencies: Tensor
    phases: int
    contrast: float
    responses: Tensor

    @property
    def f0(self) -> Tensor:
        """`(C, O, S)`, the mean answer over the drift."""
        return self.responses.mean(dim=3)

    @property
    def f1(self) -> Tensor:
        """`(C, O, S)`, amplitude of the answer's first harmonic over the drift."""
        step = torch.arange(self.phases) * (2 * math.pi / self.phases)
        wave = torch.polar(torch.ones_like(step), -step)
        return 2 / self.phases * (self.responses.to(torch.complex64) @ wave).abs()

    @property
    def strength(self) -> Tensor:
        """`(C, O, S)`, the greater of F0 and F1, which tuning is read from."""
        return torch.maximum(self.f0, self.f1)

    @property
    def best(self) -> Tensor:
        """int64 `(C, 2)`, number of the orientation and of the frequency with the most strength."""
        flat = self.strength.flatten(1).argmax(dim=1)
        count = len(self.frequencies)
        return torch.stack([flat // count, flat % count], dim=1)

    @property
    def silent(self) -> Tensor:
        """Bool `(C,)`, channels that no grating makes fire."""
        return (self.responses <= 0).flatten(1).all(dim=1)

    @property
    def preferred_orientation(self) -> Tensor:
        """`(C,)`, degrees; NaN for silent channels."""
        return self.orientations[self.best[:, 0]].masked_fill(self.silent, torch.nan)

    @property
    def preferred_frequency(self) -> Tensor:
        """`(C,)`, cycles a pixel; NaN for silent channels."""
        return self.frequencies[self.best[:, 1]].masked_fill(self.silent, torch.nan)

    @property
    def modulation(self) -> Tensor:
        """`(C,)`, F1/F0 at the preferred grating: above 1 simple, below complex; NaN if silent."""
        return (_at(self.f1, self.best) / _at(self.f0, self.best)).masked_fill(
            self.silent, torch.nan
        )

    @property
    def selectivity(self) -> Tensor:
        """`(C,)`, |Σ R e^{2iθ}| / Σ R over orientations at the preferred frequency, of 0 to 1."""
        curves = self.orientation_curves
        turn = torch.polar(torch.ones(len(self.orientations)), torch.deg2rad(2 * self.orientations))
        return ((curves.to(torch.complex64) @ turn).abs() / curves.sum(dim=1)).masked_fill(
            self.silent, torch.nan
        )

    @property
    def orientation_curves(self) -> Tensor:
        """`(C, O)`, strength over orientations at the preferred frequency."""
        each = torch.arange(len(self.responses))
        return self.strength[each, :, self.best[:, 1]]

    @property
    def frequency_curves(self) -> Tensor:
        """`(C, S)`, strength over frequencies at the preferred orientation."""
        each = torch.arange(len(self.responses))
        return self.strength[each, self.best[:, 0]]

    @property
    def orientation_bandwidth(self) -> Tensor:
        """`(C,)`, degrees: half the width of the curve at half its height.

        NaN where it never falls to half; between the orientations shown it is taken as straight.
        """
        step = 180.0 / len(self.orientations)
        return torch.tensor(
            [_half_width(one, step, cyclic=True) for one in self.orientation_curves]
        )

    @property
    def frequency_bandwidth(self) -> Tensor:
        """`(C,)`, octaves: the width of the curve at half its height; NaN where it never halves."""
        octaves = torch.log2(self.frequencies)
        step = float(octaves[1] - octaves[0]) if len(octaves) > 1 else math.nan
        return torch.tensor(
            [2 * _half_width(one, step, cyclic=False) for one in self.frequency_curves]
        )

    def counts(self) -> tuple[int, int, int]:
        """How many channels are simple, complex and silent."""
        simple = int((self.modulation > 1).sum())
        silent = int(self.silent.sum())
        return simple, len(self.responses) - silent - simple, silent

    def pictures(self) -> dict[str, Tensor]:
        """A tile for each channel: orientations down, frequencies across, each on its own scale.

        At most 64 channels, evenly spread; silent ones are gray.
        """
        count, total = min(len(self.responses), _SHOWN), len(self.responses)
        chosen = [number * total // count for number in range(count)]
        tiles = []
        captions = []
        for channel in chosen:
            strength = self.strength[channel]
            most = float(strength.max())
            if self.silent[channel]:
                colors = torch.full((*strength.shape, 3), 200, dtype=torch.uint8)
            else:
                colors = sequential_colors(strength, 0.0, most)
            tiles.append(enlarge(colors, _CELL))
            captions.append(
                f"{channel}\n" + ("silent" if self.silent[channel] else f"to {most:.2g}")
            )
        columns = max(1, round(count**0.5))
        first, last = (f"{float(self.orientations[at]):.0f}°" for at in (0, -1))
        low, high = float(self.frequencies[0]), float(self.frequencies[-1])
        drawn = add_color_bar(
            make_sheet(
                tiles, columns, captions=captions, gap=_GAP,
                sides=[f"{first}\n{last}"] * -(-count // columns),
            ),
            color_bar(_BAR, colors="sequential", upright=True),
            ("0", "0.5", "1"),
            "answer, of the greatest of its channel, which stands beneath it",
        )  # fmt: skip
        some = f"{count} of {total} channels, evenly spread" if count < total else "by channel"
        return {
            "tuning": add_title(
                drawn, f"{self.layer}: answers to gratings, {some}",
                f"down: orientation of the bars; across: {low:.2g} to {high:.2g} cycles a pixel; "
                f"gray: no grating makes it fire",
            )
        }  # fmt: skip


@full_precision()
def orientation_tuning(
    model: Model,
    *,
    layer: str | None = None,
    side: Side = "post",
    orientations: int = 12,
    frequencies: Sequence[float] | None = None,
    phases: int = 16,
    contrast: float = 0.8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OrientationTuning:
    """Record the middle unit of every channel of a layer while gratings drift past.

    All channels at once; the images are no larger than the unit's field needs.

    Args:
        model: left untouched.
        layer: name of a layer or a node. Default: the first convolution.
        side: of the layer. Only what a rectifier returns can be used: the `post` side, or the
            `output` of a rectifier.
        orientations: how many, over 180 degrees from horizontal on.
        frequencies: cycles a pixel, evenly spaced in octaves; default: eight, from one cycle in the
            unit's field (at least one in 64 pixels) to 0.4.
        phases: steps of the drift over one cycle, at least 4; with few of them the mean of a
            rectified answer is read too small (by 5 % with 8, 1 % with 16).
        contrast: greatest minus least pixel of a grating, as a share of the span of the bounds.
        progress: called with gratings shown and their number.

    Raises:
        ConvlensError: a layer without maps, or one whose node no rectifier gave: there a mean over
            the drift means nothing, and simple and complex cannot be told apart.
    """
    if orientations < 2 or phases < 4 or not 0 < contrast <= 1:
        raise ConvlensError(
            f"{orientations} orientations, {phases} phases, contrast {contrast:g}; give at least "
            f"2, at least 4, and more than 0 up to 1"
        )
    whole = trace(model)
    channel_source = find_channel_sources(whole, [layer] if layer is not None else None, side)[0]
    if not channel_source.rectified:
        raise ConvlensError(
            f"{channel_source.node_name} of {model.name} may be negative, as no rectifier gave it: "
            f"tuning is undefined there; choose a layer after a ReLU"
        )
    found, node, position, field = _stage(model, whole, channel_source)
    shown = _octaves(frequencies, max(field))
    angles = torch.arange(orientations) * (180.0 / orientations)
    total = orientations * len(shown) * phases
    answers = torch.zeros(channel_source.channels, total)
    center = _center(found, node, position)
    row, column = position

    with untouched(model.network):
        for start in range(0, total, _BATCH):
            numbers = torch.arange(start, min(start + _BATCH, total))
            images = _gratings(
                model, found.image_size, center, angles, shown, phases, contrast, numbers
            )

            def keep(_: int, maps: Tensor, numbers: Tensor = numbers) -> None:
                unit = found.channels_first(node, maps)[:, :, row, column]
                answers[:, numbers] = unit.float().cpu().T

            stream(model, found, images, [node], keep)
            progress(int(numbers[-1]) + 1, total)
    return OrientationTuning(
        model=model.name,
        layer=channel_source.layer,
        node_name=channel_source.node_name,
        side=channel_source.side,
        size=found.image_size,
        field=field,
        orientations=angles.float(),
        frequencies=shown.float(),
        phases=phases,
        contrast=contrast,
        responses=answers.view(channel_source.channels, orientations, len(shown), phases),
    )


def _stage(
    model: Model, whole: Trace, channel_source: ChannelSource
) -> tuple[Trace, int, tuple[int, int], tuple[int, int]]:
    """The smallest images on which a unit sees no padding, that unit, and what it sees."""
    side = 16
    while side < max(whole.image_size):
        found = trace(model, size=(side, side), partly=True)
        if channel_source.node_name in found:
            node = found.find_node(channel_source.node_name)
            unit = _inner(found, node)
            if unit is not None:
                return found, node, *unit
        side *= 2
    unit = _inner(whole, channel_source.node, strictly=False)
    assert unit is not None
    return whole, channel_source.node, *unit


def _inner(
    found: Trace, node: int, *, strictly: bool = True
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Row and column of a middle unit that sees no padding, and the size of what it sees."""
    field = found.field(node)
    if field is None or (strictly and field.beyond):
        return None
    position, extent = [], []
    for axis, length in enumerate(found.image_size):
        middle = len(field.low[axis]) // 2
        low, high = int(field.low[axis][middle]), int(field.high[axis][middle])
        if strictly and (low < 0 or high >= length):
            return None
        position.append(middle)
        extent.append(min(high, length - 1) - max(low, 0) + 1)
    return (position[0], position[1]), (extent[0], extent[1])


def _center(found: Trace, node: int, position: tuple[int, int]) -> tuple[float, float]:
    """The middle of what the unit sees, in pixels."""
    field = found.field(node)
    assert field is not None
    y, x = (float(middles[at]) for middles, at in zip(field.centers, position, strict=True))
    return y, x


def _octaves(frequencies: Sequence[float] | None, extent: int) -> Tensor:
    if frequencies is None:
        least = max(1 / 64, min(1 / extent, 0.1))
        return torch.logspace(math.log2(least), math.log2(0.4), 8, base=2.0)
    given = torch.tensor(list(frequencies), dtype=torch.float32)
    if not len(given) or bool(((given <= 0) | (given > 0.5)).any()):
        raise ConvlensError(
            f"frequencies {list(frequencies)}; give cycles a pixel above 0 and at most 0.5"
        )
    steps = torch.log2(given).diff()
    if len(given) > 2 and float(steps.max() - steps.min()) > 1e-3:
        raise ConvlensError("the frequencies are not evenly spaced in octaves")
    return given


def _gratings(
    model: Model,
    size: tuple[int, int],
    center: tuple[float, float],
    angles: Tensor,
    frequencies: Tensor,
    phases: int,
    contrast: float,
    numbers: Tensor,
) -> Tensor:
    """Images `(N, C, H, W)`: gray waves about mid-gray, by their numbers in (O, S, P)."""
    orientation = torch.deg2rad(angles[numbers // (len(frequencies) * phases)])
    frequency = frequencies[numbers // phases % len(frequencies)]
    phase = (numbers % phases) * (2 * math.pi / phases)
    y = torch.arange(size[0], dtype=torch.float32)[:, None] - center[0]
    x = torch.arange(size[1], dtype=torch.float32) - center[1]
    # Across the bars: they rise to the right, and rows grow downwards.
    across = x * orientation.sin()[:, None, None] + y * orientation.cos()[:, None, None]
    wave = torch.cos(2 * math.pi * frequency[:, None, None] * across - phase[:, None, None])
    low, high = model.bounds
    gray = (low + high) / 2 + wave * (high - low) * contrast / 2
    return gray[:, None].expand(-1, model.channels, -1, -1).contiguous().to(model.device)


def _at(values: Tensor, best: Tensor) -> Tensor:
    return values[torch.arange(len(values)), best[:, 0], best[:, 1]]


def _half_width(curve: Tensor, step: float, *, cyclic: bool) -> float:
    """Mean distance from the peak at which a curve has fallen to half, between points straight."""
    count, peak = len(curve), int(curve.argmax())
    half = float(curve[peak]) / 2
    if half <= 0:
        return math.nan
    reached = []
    for sign in (1, -1):
        for distance in range(1, count // 2 + 1 if cyclic else count):
            at = peak + sign * distance
            if not cyclic and not 0 <= at < count:
                break
            here, before = float(curve[at % count]), float(curve[(at - sign) % count])
            if here <= half:
                reached.append(distance - (half - here) / max(before - here, 1e-30))
                break
    return step * sum(reached) / len(reached) if reached else math.nan
