"""A bank of Gabor filters over orientation, frequency and phase."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.gabor.function import gabor, wave_direction
from convlens.drawing import (
    Panel,
    Scale,
    add_color_bar,
    add_title,
    color_bar,
    diverging_colors,
    enlarge,
    make_sheet,
    picture_figure,
)
from convlens.errors import ConvlensError
from convlens.results import Result
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILE = 44  # pixels, about: small filters are enlarged to this side
_BAR = 90  # length of the color bar in pixels
_REACH = 3.0  # standard deviations of the envelope that a filter holds on each side


@dataclass(frozen=True, eq=False)
class GaborBank(Result):
    """Filters sampled from Gabor functions of several orientations, frequencies and phases.

    Attributes:
        filters: float32 `(F, M, M)`, each of norm 1 and with a mean of 0.
        orientations: orientation of the bars of each filter, in degrees.
        frequencies: frequency of each filter, in cycles per pixel.
        phases: phase of each filter, in degrees; 0 is odd, 90 even.
    """

    filters: Tensor
    orientations: tuple[float, ...]
    frequencies: tuple[float, ...]
    phases: tuple[float, ...]

    def summary(self) -> str:
        """What the filters are, in words."""
        size = self.filters.shape[-1]
        orientations, frequencies = set(self.orientations), set(self.frequencies)
        return (
            f"{len(self.filters)} Gabor filters of {size} × {size}: "
            f"{counted(len(orientations), 'orientation')}, frequencies of "
            f"{', '.join(f'{frequency:.3g}' for frequency in sorted(frequencies))} cycles per pixel"
        )

    def tiles(self) -> list[Tensor]:
        """Each filter as uint8 `(M, M, 3)` on one scale."""
        scale = float(self.filters.abs().max())
        return [diverging_colors(weights, scale) for weights in self.filters]

    def figure(self) -> "Figure":
        """A row for each frequency and phase, a column for each orientation."""
        scale = float(self.filters.abs().max())
        columns = len(dict.fromkeys(self.orientations))
        panels = [
            Panel(pixels, f"{degrees:.3g}°", signed=True)
            for pixels, degrees in zip(self.tiles(), self.orientations, strict=True)
        ]
        starts = range(0, len(panels), columns)
        return picture_figure(
            [panels[start : start + columns] for start in starts],
            title="Gabor functions by orientation of the bars",
            sides=[
                f"{self.frequencies[start]:.3g} cycles per pixel, phase {self.phases[start]:g}°"
                for start in starts
            ],
            scale=Scale("diverging", -scale, scale, "weight"),
        )

    def pictures(self) -> dict[str, Tensor]:
        """A sheet with a row for each frequency and phase and a column for each orientation."""
        scale = float(self.filters.abs().max())
        factor = max(1, _TILE // self.filters.shape[-1])
        tiles = [enlarge(tile, factor) for tile in self.tiles()]
        columns = len(dict.fromkeys(self.orientations))
        rows = zip(self.frequencies[::columns], self.phases[::columns], strict=True)
        sheet = make_sheet(
            tiles, columns, heads=[f"{degrees:.3g}°" for degrees in self.orientations[:columns]],
            sides=[f"{frequency:.3g}, {phase:g}°" for frequency, phase in rows],
        )  # fmt: skip
        ends = (f"−{scale:.2g}", "0", f"+{scale:.2g}")
        return {
            "bank": add_title(
                add_color_bar(sheet, color_bar(_BAR, upright=True), ends, "weight"),
                "Gabor functions",
                "columns: orientation of the bars; rows: cycles per pixel, and phase",
            )
        }


def gabor_bank(
    *,
    orientations: int = 8,
    wavelengths: Sequence[float] = (8.0,),
    phases: Sequence[float] = (0.0, 90.0),
    bandwidth: float = 1.0,
    aspect: float = 0.5,
    sigma: float | None = None,
) -> GaborBank:
    """Sample a bank of Gabor filters: for each wavelength and phase all orientations.

    The envelope follows from the bandwidth b in octaves: its standard deviation along the wave is
    σ = √(ln 2 / 2) (2ᵇ + 1) λ / ((2ᵇ - 1) π) at a wavelength λ, and across it σ / aspect (Petkov &
    Kruizinga, 1997). The envelope, scaled, is subtracted from each filter so that its weights sum
    to 0 and uniform brightness gives no response.

    Args:
        orientations: number of orientations, evenly spaced over 180 degrees from horizontal on;
            default 8.
        wavelengths: wavelengths in pixels, at least 2; default: 8.
        phases: phases in degrees; 0 and 90 form a quadrature pair. Default: 0 and 90.
        bandwidth: bandwidth in octaves at half height; 1 to 1.5 in the visual cortex. Default: 1.
        aspect: width of the envelope along the wave divided by that across it; default 0.5.
        sigma: standard deviation of all envelopes along the wave, in pixels, in place of that which
            follows from the bandwidth; default: None.

    Returns:
        The filters, all of one size.

    Raises:
        ConvlensError: a number is out of range.

    Example:
        >>> import convlens
        >>> bank = convlens.gabor_bank(orientations=4, wavelengths=(4,))
        >>> bank.filters.shape
        torch.Size([8, 29, 29])
        >>> bank.orientations[:4]
        (0.0, 45.0, 90.0, 135.0)
    """
    widths = (bandwidth, aspect, 1.0 if sigma is None else sigma)
    if orientations < 1 or not wavelengths or not phases or min(widths) <= 0:
        raise ConvlensError(
            f"{orientations} orientations, {len(wavelengths)} wavelengths, {len(phases)} phases, "
            f"bandwidth {bandwidth:g}, aspect {aspect:g}"
            + ("" if sigma is None else f", sigma {sigma:g}")
            + "; give at least one of each, above 0"
        )
    for wavelength in wavelengths:
        if not 2 <= wavelength < math.inf:
            raise ConvlensError(f"a wavelength of {wavelength:g} pixels; give at least 2")
    frequencies = [1 / wavelength for wavelength in wavelengths]
    spread = math.sqrt(math.log(2) / 2) * (2**bandwidth + 1) / ((2**bandwidth - 1) * math.pi)
    widest = (sigma or spread / min(frequencies)) * max(1.0, 1 / aspect)
    half = math.ceil(_REACH * widest)
    axis = torch.arange(-half, half + 1, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    filters, parameters = [], []
    for frequency in frequencies:
        along = sigma or spread / frequency
        alpha, beta = 1 / (2 * along**2), aspect**2 / (2 * along**2)
        for phase in phases:
            for number in range(orientations):
                degrees = 180.0 * number / orientations
                theta, phi = wave_direction(degrees), math.radians(phase)
                wave = gabor(x, y, 1.0, alpha, beta, 2 * math.pi * frequency, phi, 0, 0, theta)
                envelope = gabor(x, y, 1.0, alpha, beta, 0.0, math.pi / 2, 0, 0, theta)
                balanced = wave - envelope * (wave.sum() / envelope.sum())
                filters.append((balanced / balanced.norm()).float())
                parameters.append((degrees, float(frequency), float(phase)))
    return GaborBank(torch.stack(filters), *zip(*parameters, strict=True))
