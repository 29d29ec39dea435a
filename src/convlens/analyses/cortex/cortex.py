"""The primary visual cortex: a photo filtered as by its simple and complex cells.

A simple cell's response is that of its Gabor filter, rectified. A complex cell adds the squares of
a quadrature pair (an odd and an even filter), so that its response does not change when the wave
shifts under it. Pooling over a neighborhood extends this to larger shifts (Adelson & Bergen,
"Spatiotemporal energy models for the perception of motion", 1985).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.feature_maps.convolution import convolve, pool
from convlens.analyses.gabor.bank import GaborBank, gabor_bank
from convlens.data.images import to_pixels, to_tensor
from convlens.data.photos import PhotoLike, read_photo
from convlens.data.preprocessing import Preprocessing
from convlens.drawing import (
    Panel,
    Scale,
    add_color_bar,
    add_title,
    color_bar,
    enlarge,
    make_sheet,
    picture_figure,
    reduce_map,
    sequential_colors,
)
from convlens.errors import ConvlensError
from convlens.results import Result, Table
from convlens.runtime.default_device import check_default_device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts to gray


@dataclass(frozen=True, eq=False)
class Cortex(Result):
    """Responses of simple and complex cells to a photo.

    Attributes:
        image: float32 `(1, H, W)`, gray values from 0 to 1.
        bank: the filters: all orientations for the phases 0 and 90 degrees.
        orientations: the O orientations of the bars, in degrees.
        simple: float32 `(O, 4, H, W)`, responses for the phases 0, 90, 180 and 270 degrees,
            rectified.
        complex: float32 `(O, H, W)`, √(odd² + even²).
        pooled: float32 `(O, h, w)`, mean of the complex cells over windows of one wavelength.
    """

    image: Tensor
    bank: GaborBank
    orientations: tuple[float, ...]
    simple: Tensor
    complex: Tensor
    pooled: Tensor

    @property
    def scale(self) -> float:
        """Greatest response of any cell; all cells are drawn from 0 to it."""
        return float(self.complex.max())

    def summary(self) -> str:
        """The cells and the orientation with the most response, in words."""
        energy = self.complex.flatten(1).mean(dim=1)
        best = self.orientations[int(energy.argmax())]
        height, width = self.image.shape[1:]
        return (
            f"simple and complex cells of {len(self.orientations)} orientations on a photo of "
            f"{height} × {width}; {best:.3g}° has the greatest mean response"
        )

    def table(self) -> Table:
        """The mean and the greatest response of the complex cells of each orientation."""
        return Table.of(
            ["orientation", "mean response", "greatest"],
            [
                [f"{degrees:.3g}°", f"{float(cells.mean()):.3g}", f"{float(cells.max()):.3g}"]
                for degrees, cells in zip(self.orientations, self.complex, strict=True)
            ],
        )

    def figure(self) -> "Figure":
        """The photo and the filters, and for each orientation the simple and the complex cells."""
        photo = to_pixels(self.image, (0.0, 1.0)).expand(-1, -1, 3)
        phases = self.simple.unbind(1)

        def draw_row(responses: Tensor) -> list[Panel]:
            return [Panel(sequential_colors(cells, 0.0, self.scale)) for cells in responses]

        heads = [f"{degrees:.3g}°" for degrees in self.orientations]
        filters = [
            Panel(pixels, head, signed=True)
            for pixels, head in zip(self.bank.tiles(), heads, strict=False)
        ]
        rows = [[Panel(photo)], filters, draw_row(phases[0]), draw_row(phases[1])]
        rows += [draw_row(self.complex), draw_row(self.pooled)]
        return picture_figure(
            rows,
            title="primary visual cortex: responses by orientation of the bars",
            sides=["photo", "filters, odd", "simple, 0°", "simple, 90°", "complex", "pooled"],
            scale=Scale("sequential", 0.0, self.scale, "response"),
        )

    def pictures(self) -> dict[str, Tensor]:
        """The photo, the filters and the cells, with a column for each orientation."""
        photo = to_pixels(self.image, (0.0, 1.0)).expand(-1, -1, 3).contiguous()
        scale_bar = color_bar(min(len(photo), 160), colors="sequential", upright=True)
        ends = ("0", f"{self.scale:.2g}")
        heads = [f"{degrees:.3g}°" for degrees in self.orientations]

        def draw_sheet(
            maps: Sequence[Tensor], title: str, sides: Sequence[str] = (), times: int = 1
        ) -> Tensor:
            tiles = [
                enlarge(sequential_colors(reduce_map(responses), 0.0, self.scale), times)
                for responses in maps
            ]
            height, width = reduce_map(maps[0]).shape
            is_reduced = (height, width) != maps[0].shape
            reduced = f"; reduced to {height} × {width} by averaging" * is_reduced
            cells = make_sheet(tiles, len(self.orientations), heads=heads, sides=sides)
            return add_title(
                add_color_bar(cells, scale_bar, ends, "response"), title,
                f"columns: orientation of the bars{reduced}",
            )  # fmt: skip

        simple = [responses for phase in self.simple.unbind(1) for responses in phase]
        side = max(1, self.image.shape[1] // self.pooled.shape[1])
        times = max(1, len(reduce_map(simple[0])) // len(reduce_map(self.pooled[0])))
        return {
            "photo": photo,
            **self.bank.pictures(),
            "simple": draw_sheet(
                simple, "Simple cells, a row for each phase", ("0°", "90°", "180°", "270°")
            ),
            "complex": draw_sheet(self.complex.unbind(), "Complex cells"),
            "pooled": draw_sheet(
                self.pooled.unbind(),
                f"Complex cells, mean over {side} × {side} pixels",
                times=times,
            ),
        }


def cortex(
    photo: PhotoLike | Tensor,
    *,
    orientations: int = 8,
    wavelength: float = 8.0,
    size: int | tuple[int, int] = (256, 256),
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Cortex:
    """Filter a photo as by simple and complex cells of one size (Adelson & Bergen, 1985).

    Args:
        photo: a path, a PIL image, an array `(H, W, C)`, or an image `(C, H, W)` or
            `(1, C, H, W)` with C of 1 or 3, inside the bounds.
        orientations: number of orientations, evenly spaced over 180 degrees; default 8.
        wavelength: wavelength of the filters' waves, in pixels; at least 2. Default: 8.
        size: height and width in pixels to which a photo is resized and cropped. An image keeps its
            size. Default: 256 × 256.
        bounds: least and greatest value of a pixel of an image; default: 0 and 1.

    Returns:
        The responses of simple, complex and pooled complex cells.

    Raises:
        PhotoError: the photo cannot be read.
        ConvlensError: the image has another shape, the wavelength is below 2 or above the image's
            shorter side, or torch's default device is not the CPU.

    Example:
        >>> import torch, convlens
        >>> result = convlens.cortex(torch.rand(1, 32, 32), orientations=4)
        >>> result.simple.shape, result.pooled.shape
        (torch.Size([4, 4, 32, 32]), torch.Size([4, 4, 4]))
    """
    check_default_device()
    if isinstance(photo, Tensor):
        image = photo
    else:
        image = _read_image(photo, (size, size) if isinstance(size, int) else size, bounds)
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ConvlensError(
            f"an image of shape {tuple(image.shape)}; give (C, H, W) with C of 1 or 3"
        )
    if not 2 <= wavelength <= min(image.shape[1:]):
        raise ConvlensError(
            f"a wavelength of {wavelength:g} pixels; give 2 to {min(image.shape[1:])}"
        )
    low, high = bounds
    unit = (image.detach().float().cpu() - low) / (high - low)
    gray = (
        unit
        if len(unit) == 1
        else (unit * torch.tensor(_LUMA, dtype=torch.float32).view(3, 1, 1)).sum(0)[None]
    )
    bank = gabor_bank(orientations=orientations, wavelengths=(wavelength,))
    # The photo is continued beyond its border: an edge to zeros would excite cells.
    reach = bank.filters.shape[-1] // 2
    padded = F.pad(gray[None], (reach,) * 4, mode="replicate")
    responses = convolve(padded, bank.filters)[0]
    odd, even = responses[:orientations], responses[orientations:]
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


def _read_image(photo: PhotoLike, size: tuple[int, int], bounds: tuple[float, float]) -> Tensor:
    preprocessing = Preprocessing(size=size, resize=max(size), interpolation="bicubic")
    return to_tensor(preprocessing.apply(read_photo(photo).picture), bounds)
