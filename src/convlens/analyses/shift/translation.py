"""Translation equivariance of one convolution: the map of a shifted photo is the shifted map."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.feature_maps.convolution import convolve
from convlens.data.images import to_pixels, to_tensor
from convlens.data.photos import PhotoLike, read_photo
from convlens.data.preprocessing import Preprocessing
from convlens.drawing import diverging_colors, render_figure
from convlens.drawing.boards import Board
from convlens.drawing.palette import ACCENT, MUTED
from convlens.errors import ConvlensError
from convlens.results import Result
from convlens.runtime.default_device import check_default_device
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Sobel's filter: greatest where brightness rises from left to right.
_EDGE = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
_SIDE = 6.6  # of a picture in the figure, in cells
_BRIGHTEST = 255  # value of a white pixel; whole numbers have exact sums


@dataclass(frozen=True, eq=False)
class Translation(Result):
    """A photo and a shifted view of it, convolved with one filter.

    Attributes:
        image: float32 `(H, W)`, gray values of 0 to 255.
        shifted_image: float32 `(H, W)`, a view of the same photo whose content is moved.
        filter: float32 `(Mh, Mw)`.
        shift: rows downward and columns to the right by which the content is moved.
        stride: steps of the filter.
        feature_map: float32 `(h, w)`, of the image.
        shifted_feature_map: float32 `(h, w)`, of the shifted image.
        moved_feature_map: float32 `(h, w)`, the map of the image, moved by the shift over the
            stride, or by the whole number next to it that fits best. NaN where the image does not
            show what would be there.
    """

    image: Tensor
    shifted_image: Tensor
    filter: Tensor
    shift: tuple[int, int]
    stride: int
    feature_map: Tensor
    shifted_feature_map: Tensor
    moved_feature_map: Tensor

    @property
    def difference(self) -> Tensor:
        """float32 `(h, w)`, map of the shifted image minus moved map; NaN where there is none."""
        return self.shifted_feature_map - self.moved_feature_map

    @property
    def error(self) -> float:
        """Root mean square of the difference, as a share of the map's standard deviation."""
        is_measured = ~self.difference.isnan()
        moved = self.moved_feature_map[is_measured]
        deviation = float(moved.std(correction=0))
        return float(self.difference[is_measured].square().mean().sqrt()) / max(deviation, 1e-30)

    @property
    def exact(self) -> bool:
        """Whether the difference is 0 wherever it is known."""
        return not bool(self.difference.nan_to_num().any())

    def summary(self) -> str:
        """The shift and the difference in words."""
        down, right = self.shift
        words = (
            "equals the shifted map"
            if self.exact
            else f"differs from the shifted map by {self.error * 100:.0f} % of its variation (RMS)"
        )
        return (
            f"shift of {counted(down, 'row')} and {counted(right, 'column')}, stride "
            f"{self.stride}: the map of the shifted image {words}"
        )

    def figure(self) -> "Figure":
        """Image, map and shifted map; below them shifted image, its map, and the difference.

        All maps have one scale. Where the difference is not known, it is gray.
        """
        down, right = self.shift
        step_x, step_y = _SIDE + 1.9, _SIDE + 1.7
        board = Board(3 * step_x - 0.7, 2 * step_y + 0.5)
        scale = float(torch.stack([self.feature_map, self.shifted_feature_map]).abs().max())
        maps = {
            (1, 0): ("map of the image, C(I)", self.feature_map),
            (2, 0): ("that map, shifted, T(C(I))", self.moved_feature_map),
            (1, 1): ("map of the shifted image, C(T(I))", self.shifted_feature_map),
            (2, 1): (self._describe_difference(), self.difference),
        }
        for row, (name, image) in enumerate(
            (("image I", self.image),
             (f"shifted image T(I), by {down} and {right} pixels", self.shifted_image))
        ):  # fmt: skip
            pixels = to_pixels(image[None], (0.0, float(_BRIGHTEST))).expand(-1, -1, 3)
            self._add(board, pixels, 0, row, name)
        for (column, row), (name, values) in maps.items():
            colors = diverging_colors(values.nan_to_num(), scale)
            colors[values.isnan()] = 200
            self._add(board, colors, column, row, name, signed=True)
        for row in (0, 1):
            y = 1.0 + row * step_y + _SIDE / 2
            board.arrow((0.5 + _SIDE + 0.25, y), (0.5 + step_x - 0.25, y))
        y = 1.0 + _SIDE / 2
        board.arrow((0.5 + step_x + _SIDE + 0.25, y), (0.5 + 2 * step_x - 0.25, y))
        rows, columns = self.filter.shape
        board.words(
            0.5, 2 * step_y + 0.05,
            f"filter {rows} × {columns}, stride {self.stride}; red: brighter on the right, blue: "
            f"darker; maps on one scale, ±{scale:.0f}",
            ha="left", color=MUTED, size=8,
        )  # fmt: skip
        return board.figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"translation": render_figure(self.figure(), dpi=150)}

    def _describe_difference(self) -> str:
        if self.exact:
            return "difference: 0 everywhere"
        return f"difference: {self.error * 100:.0f} % of the variation (RMS)"

    def _add(
        self,
        board: Board,
        pixels: Tensor,
        column: int,
        row: int,
        name: str,
        *,
        signed: bool = False,
    ) -> None:
        x, y = 0.5 + column * (_SIDE + 1.9), 1.0 + row * (_SIDE + 1.7)
        board.picture(pixels, x, y, _SIDE, _SIDE, signed=signed)
        is_difference = (column, row) == (2, 1)
        board.words(x, y - 0.4, name, ha="left", size=8, color=ACCENT if is_difference else MUTED)


def translation(
    photo: PhotoLike,
    *,
    shift: tuple[int, int] = (0, 16),
    filter: Tensor | None = None,
    stride: int = 1,
    size: int = 96,
) -> Translation:
    """Convolve a photo and a shifted view of it, and compare the maps.

    The map of the shifted image is the shifted map: C(T(I)) = T(C(I)). With a stride S this holds
    for shifts by multiples of S only. Both views are cut from one photo, so that no border enters.

    Args:
        photo: a path, a PIL image or a decoded photo; it is made gray.
        shift: rows downward and columns to the right by which the content is moved; default 0, 16.
        filter: `(Mh, Mw)`. Default: a 3 × 3 filter for vertical edges (Sobel).
        stride: steps of the filter; default 1.
        size: height and width of the two views, in pixels; default 96.

    Returns:
        The views, their maps, and the difference. Pixels and maps are whole numbers for a filter
        of whole numbers, so that a difference of 0 is exact.

    Raises:
        PhotoError: the photo cannot be read.
        ConvlensError: a shift of half the size or more, a size below 1, a filter of another shape
            or one larger than the view, or a default device of torch other than the CPU.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.2.2.

    Example:
        >>> import convlens
        >>> from PIL import Image
        >>> result = convlens.translation(Image.radial_gradient("L"))
        >>> result.error
        0.0
        >>> convlens.translation(Image.radial_gradient("L"), shift=(0, 15), stride=2).error > 0
        True
    """
    check_default_device()
    kernel = torch.tensor(_EDGE, dtype=torch.float32) if filter is None else filter.float()
    if kernel.ndim != 2 or size < 1:
        raise ConvlensError(
            f"a filter of shape {tuple(kernel.shape)} over views of {size} pixels; give rows and "
            f"columns, and a size of at least 1"
        )
    down, right = (int(pixels) for pixels in shift)
    margin = max(abs(down), abs(right))
    if 2 * margin >= size:
        raise ConvlensError(
            f"a shift of {down} and {right} pixels leaves little of {size}; give less than half"
        )
    side = size + 2 * margin
    preprocessing = Preprocessing(size=(side, side), resize=side, interpolation="bicubic")
    picture = preprocessing.apply(read_photo(photo).picture).convert("L")
    scene = to_tensor(picture, (0.0, float(_BRIGHTEST)))[0]
    views = [
        scene[margin - y : margin - y + size, margin - x : margin - x + size]
        for y, x in ((0, 0), (down, right))
    ]
    maps = convolve(torch.stack(views)[:, None], kernel[None], stride=stride)[:, 0]
    return Translation(
        image=views[0].clone(),
        shifted_image=views[1].clone(),
        filter=kernel,
        shift=(down, right),
        stride=stride,
        feature_map=maps[0].clone(),
        shifted_feature_map=maps[1].clone(),
        moved_feature_map=_move_to(maps[0], maps[1], down / stride, right / stride),
    )


def _move_to(values: Tensor, target: Tensor, down: float, right: float) -> Tensor:
    """A map moved by whole rows and columns; of the two nearest numbers, those that fit best."""
    candidates = [
        _move(values, y, x)
        for y in {math.floor(down), math.ceil(down)}
        for x in {math.floor(right), math.ceil(right)}
    ]
    return min(candidates, key=lambda moved: float((moved - target).square().nanmean()))


def _move(values: Tensor, down: int, right: int) -> Tensor:
    """A map moved by rows and columns; NaN where nothing moves to."""
    height, width = values.shape
    moved = torch.full_like(values, torch.nan)
    if abs(down) < height and abs(right) < width:
        moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = values[
            max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
    return moved
