"""Cortex: a photo through a bank of Gabor filters, as simple and complex cells would see it.

A simple cell answers with its filter's response, rectified. A complex cell adds the squares of a
quadrature pair (odd and even filter), and so keeps its answer when the wave shifts under it; pooled
over a neighborhood it keeps it over larger shifts too (Adelson & Bergen, Spatiotemporal energy
models for the perception of motion, 1985).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.feature_maps.feature_maps import convolve, pool
from convlens.analyses.gabor.gabor import GaborBank, gabor_bank
from convlens.data.images import to_pixels
from convlens.drawing import add_color_bar, add_title, color_bar, make_sheet, sequential_colors
from convlens.errors import ConvlensError
from convlens.results import Result

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow makes gray


@dataclass(frozen=True, eq=False)
class Cortex(Result):
    """What simple and complex cells answer to a photo.

    Attributes:
        image: float32 `(1, H, W)`, its gray values of 0..1.
        bank: the filters: for the phases 0 and 90 degrees all orientations.
        orientations: degrees of the bars, O of them.
        simple: float32 `(O, 4, H, W)`, for the phases 0, 90, 180 and 270 degrees, rectified.
        complex: float32 `(O, H, W)`, √(odd² + even²).
        pooled: float32 `(O, h, w)`, the complex cells' mean over windows of one wavelength.
    """

    image: Tensor
    bank: GaborBank
    orientations: tuple[float, ...]
    simple: Tensor
    complex: Tensor
    pooled: Tensor

    @property
    def scale(self) -> float:
        """Greatest answer of any cell; all are drawn from 0 to it."""
        return float(self.complex.max())

    def pictures(self) -> dict[str, Tensor]:
        """The photo, the bank, and the cells: a column for each orientation, from horizontal on."""
        photo = to_pixels(self.image, (0.0, 1.0)).expand(-1, -1, 3).contiguous()

        def drawn(answers: Tensor) -> Tensor:
            return sequential_colors(answers, 0.0, self.scale)

        simple = [drawn(one) for phase in self.simple.unbind(1) for one in phase]
        side = max(1, self.image.shape[1] // self.pooled.shape[1])
        pooled = [
            drawn(one).repeat_interleave(side, 0).repeat_interleave(side, 1) for one in self.pooled
        ]
        ramp = color_bar(min(len(photo), 160), colors="sequential", upright=True)
        ends = ("0", f"{self.scale:.2g}")

        heads = [f"{degrees:.3g}°" for degrees in self.orientations]

        def drawn_sheet(tiles: list[Tensor], title: str, sides: Sequence[str] = ()) -> Tensor:
            cells = make_sheet(tiles, len(self.orientations), heads=heads, sides=sides)
            return add_title(
                add_color_bar(cells, ramp, ends, "answer"), title,
                "a column for each orientation of the bars",
            )  # fmt: skip

        return {
            "photo": photo,
            **self.bank.pictures(),
            "simple": drawn_sheet(
                simple, "Simple cells, a row for each phase", ("0°", "90°", "180°", "270°")
            ),
            "complex": drawn_sheet([drawn(one) for one in self.complex], "Complex cells"),
            "pooled": drawn_sheet(pooled, f"Complex cells, the mean over {side} × {side} pixels"),
        }


def cortex(
    image: Tensor,
    *,
    orientations: int = 8,
    wavelength: float = 8.0,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Cortex:
    """A photo as simple and complex cells of one size would see it.

    Args:
        image: `(C, H, W)` or `(1, C, H, W)`, with C of 1 or 3, inside the bounds.
        orientations: how many, over 180 degrees.
        wavelength: of the waves, in pixels; at least 2.
        bounds: of the pixels.

    Raises:
        ConvlensError: another shape, or a wavelength below 2 or above the image's shorter side.
    """
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ConvlensError(f"an image {tuple(image.shape)}; give (C, H, W) with C of 1 or 3")
    if not 2 <= wavelength <= min(image.shape[1:]):
        raise ConvlensError(
            f"a wavelength of {wavelength:g} pixels; give 2 to {min(image.shape[1:])}"
        )
    low, high = bounds
    unit = (image.detach().float().cpu() - low) / (high - low)
    gray = unit if len(unit) == 1 else (unit * torch.tensor(_LUMA).view(3, 1, 1)).sum(0)[None]
    bank = gabor_bank(orientations=orientations, frequencies=(1 / wavelength,))
    # Beyond the border the photo goes on as it ends there: an edge to zeros would excite cells.
    reach = bank.filters.shape[-1] // 2
    wider = F.pad(gray[None], (reach,) * 4, mode="replicate")
    answers = convolve(wider, bank.filters)[0]
    odd, even = answers[:orientations], answers[orientations:]
    simple = torch.stack([odd, even, -odd, -even], dim=1).clamp(min=0)
    energy = (odd**2 + even**2).sqrt()
    window = max(1, round(wavelength))
    return Cortex(
        image=gray,
        bank=bank,
        orientations=bank.orientations[:orientations],
        simple=simple,
        complex=energy,
        pooled=pool(energy, "average", window),
    )
