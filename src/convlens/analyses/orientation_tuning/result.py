"""The result of `orientation_tuning`: responses to gratings, and the tuning read from them."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.data.sampling import spread
from convlens.drawing import (
    Panel,
    add_color_bar,
    add_title,
    color_bar,
    enlarge,
    grid_figure,
    make_sheet,
    sequential_colors,
)
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 64  # channels in the picture, at most
_MOST_DRAWN, _COLUMNS = 24, 8  # channels and columns of a figure
_CELL = 6  # pixels of the side of one response in the picture
_GAP = 12  # pixels between tiles
_BAR = 120  # length of the color bar in pixels


@dataclass(frozen=True, eq=False)
class OrientationTuning(NetworkResult):
    """Responses of every channel of a layer to drifting gratings.

    Attributes:
        model: name of the model.
        layer: the layer that was asked for, or the first convolution.
        node_name: name of the node whose units respond.
        side: side of the layer: `pre`, `post` or `output`.
        size: height and width of the images that were shown, in pixels.
        field: rows and columns that the unit sees.
        orientations: float32 `(O,)`, of the bars, in degrees, counter-clockwise from horizontal.
        frequencies: float32 `(S,)`, in cycles per pixel.
        phases: number of steps P of the drift over one cycle.
        contrast: contrast of the gratings, as a share of the span of the bounds.
        responses: float32 `(C, O, S, P)`, activations of the unit, after the non-linearity.
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
        """`(C, O, S)`, the mean response over the drift."""
        return self.responses.mean(dim=3)

    @property
    def f1(self) -> Tensor:
        """`(C, O, S)`, amplitude of the response's first harmonic over the drift."""
        step = torch.arange(self.phases, dtype=torch.float32) * (2 * math.pi / self.phases)
        wave = torch.polar(torch.ones_like(step), -step)
        return 2 / self.phases * (self.responses.to(torch.complex64) @ wave).abs()

    @property
    def strength(self) -> Tensor:
        """`(C, O, S)`, the greater of F0 and F1, from which the tuning is read."""
        return torch.maximum(self.f0, self.f1)

    @property
    def best(self) -> Tensor:
        """int64 `(C, 2)`, indices of the orientation and the frequency with the most strength."""
        flat = self.strength.flatten(1).argmax(dim=1)
        count = len(self.frequencies)
        return torch.stack([flat // count, flat % count], dim=1)

    @property
    def silent(self) -> Tensor:
        """Bool `(C,)`, channels that respond to no grating."""
        return (self.responses <= 0).flatten(1).all(dim=1)

    @property
    def preferred_orientation(self) -> Tensor:
        """`(C,)`, in degrees; NaN for silent channels."""
        return self.orientations[self.best[:, 0]].masked_fill(self.silent, torch.nan)

    @property
    def preferred_frequency(self) -> Tensor:
        """`(C,)`, in cycles per pixel; NaN for silent channels."""
        return self.frequencies[self.best[:, 1]].masked_fill(self.silent, torch.nan)

    @property
    def modulation(self) -> Tensor:
        """`(C,)`, F1/F0 at the preferred grating: above 1 simple, below complex; NaN if silent."""
        ratio = _select_best(self.f1, self.best) / _select_best(self.f0, self.best)
        return ratio.masked_fill(self.silent, torch.nan)

    @property
    def selectivity(self) -> Tensor:
        """`(C,)`, `|Σ R e^{2iθ}| / Σ R` over orientations at the preferred frequency, 0 to 1."""
        curves = self.orientation_curves
        phasors = torch.polar(
            torch.ones(len(self.orientations), dtype=torch.float32),
            torch.deg2rad(2 * self.orientations),
        )
        return ((curves.to(torch.complex64) @ phasors).abs() / curves.sum(dim=1)).masked_fill(
            self.silent, torch.nan
        )

    @property
    def orientation_curves(self) -> Tensor:
        """`(C, O)`, strength over orientations at the preferred frequency."""
        channels = torch.arange(len(self.responses))
        return self.strength[channels, :, self.best[:, 1]]

    @property
    def frequency_curves(self) -> Tensor:
        """`(C, S)`, strength over frequencies at the preferred orientation."""
        channels = torch.arange(len(self.responses))
        return self.strength[channels, self.best[:, 0]]

    @property
    def orientation_bandwidth(self) -> Tensor:
        """`(C,)`, in degrees: half the width of the orientation curve at half its height.

        The curve is interpolated linearly. NaN if it never falls to half its height.
        """
        step = 180.0 / len(self.orientations)
        return torch.tensor(
            [_half_width(curve, step, cyclic=True) for curve in self.orientation_curves],
            dtype=torch.float32,
        )

    @property
    def frequency_bandwidth(self) -> Tensor:
        """`(C,)`, in octaves: the full width of the frequency curve at half its height.

        NaN if the curve never falls to half its height.
        """
        octaves = torch.log2(self.frequencies)
        step = float(octaves[1] - octaves[0]) if len(octaves) > 1 else math.nan
        return torch.tensor(
            [2 * _half_width(curve, step, cyclic=False) for curve in self.frequency_curves],
            dtype=torch.float32,
        )

    def counts(self) -> tuple[int, int, int]:
        """Numbers of simple, complex and silent channels."""
        simple = int((self.modulation > 1).sum())
        silent = int(self.silent.sum())
        return simple, len(self.responses) - silent - simple, silent

    def summary(self) -> str:
        """Numbers of simple, complex and silent channels, in words."""
        simple, complex_cells, silent = self.counts()
        return (
            f"{counted(len(self.responses), 'channel')} of {self.layer} ({self.side}): {simple} "
            f"respond like simple cells, {complex_cells} like complex cells, {silent} to no grating"
        )

    def table(self) -> Table:
        """The channels with the sharpest tuning."""
        order = self.selectivity.nan_to_num(-1).argsort(descending=True, stable=True).tolist()
        return Table.of(
            ["channel", "orientation", "cycles per pixel", "F1/F0", "selectivity"],
            [
                [
                    str(channel),
                    f"{float(self.preferred_orientation[channel]):.0f}°",
                    f"{float(self.preferred_frequency[channel]):.2g}",
                    f"{float(self.modulation[channel]):.2f}",
                    f"{float(self.selectivity[channel]):.2f}",
                ]
                for channel in order
                if not self.silent[channel]
            ],
        )

    def figure(self) -> "Figure":
        """The responses of the channels with the sharpest tuning, each on its own scale.

        In each tile a row is an orientation and a column a frequency. At most 24 are drawn.
        """
        order = self.selectivity.nan_to_num(-1).argsort(descending=True, stable=True).tolist()
        panels = []
        for channel in order[:_MOST_DRAWN]:
            strength = self.strength[channel]
            words = "silent"
            if not self.silent[channel]:
                degrees, ratio = self.preferred_orientation[channel], self.modulation[channel]
                words = f"{float(degrees):.0f}°, F1/F0 {float(ratio):.2g}"
            colors = sequential_colors(strength, 0.0, max(float(strength.max()), 0.0))
            panels.append(Panel(enlarge(colors, _CELL), f"channel {channel}\n{words}"))
        some = f"; {len(panels)} of {len(order)}" * (len(panels) < len(order))
        low, high = float(self.frequencies[0]), float(self.frequencies[-1])
        return grid_figure(
            panels, _COLUMNS,
            title=f"{self.layer}: responses to gratings; rows 0 to 180°, columns {low:.2g} to "
            f"{high:.2g} cycles per pixel{some}",
        )  # fmt: skip

    def pictures(self) -> dict[str, Tensor]:
        """A tile for each channel: a row for each orientation, a column for each frequency.

        Each tile has its own scale. At most 64 channels are drawn, evenly spread, silent ones gray.
        """
        total = len(self.responses)
        channels = spread(range(total), _SHOWN)
        count = len(channels)
        tiles = []
        captions = []
        for channel in channels:
            strength = self.strength[channel]
            greatest = float(strength.max())
            if self.silent[channel]:
                colors = torch.full((*strength.shape, 3), 200, dtype=torch.uint8)
            else:
                colors = sequential_colors(strength, 0.0, greatest)
            tiles.append(enlarge(colors, _CELL))
            captions.append(
                f"{channel}\n" + ("silent" if self.silent[channel] else f"to {greatest:.2g}")
            )
        columns = max(1, round(count**0.5))
        first, last = (f"{float(self.orientations[index]):.0f}°" for index in (0, -1))
        low, high = float(self.frequencies[0]), float(self.frequencies[-1])
        sheet = add_color_bar(
            make_sheet(
                tiles, columns, captions=captions, gap=_GAP,
                sides=[f"{first}\n{last}"] * -(-count // columns),
            ),
            color_bar(_BAR, colors="sequential", upright=True),
            ("0", "0.5", "1"),
            "response, as a share of the channel's greatest, which is given below it",
        )  # fmt: skip
        selection = f"{count} of {total} channels, evenly spread" if count < total else "by channel"
        return {
            "tuning": add_title(
                sheet, f"{self.layer}: responses to gratings, {selection}",
                f"rows: orientation of the bars; columns: {low:.2g} to {high:.2g} cycles per "
                f"pixel; gray: no response to any grating",
            )
        }  # fmt: skip


def _select_best(values: Tensor, best: Tensor) -> Tensor:
    return values[torch.arange(len(values)), best[:, 0], best[:, 1]]


def _half_width(curve: Tensor, step: float, *, cyclic: bool) -> float:
    """Mean distance from the peak at which a curve, interpolated linearly, falls to half."""
    count, peak = len(curve), int(curve.argmax())
    half = float(curve[peak]) / 2
    if half <= 0:
        return math.nan
    distances = []
    for sign in (1, -1):
        for distance in range(1, count // 2 + 1 if cyclic else count):
            index = peak + sign * distance
            if not cyclic and not 0 <= index < count:
                break
            value, previous = float(curve[index % count]), float(curve[(index - sign) % count])
            if value <= half:
                distances.append(distance - (half - value) / max(previous - value, 1e-30))
                break
    return step * sum(distances) / len(distances) if distances else math.nan
