"""The result of `feature_detector`: the numbers of one unit, and their figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from convlens.analyses.patches.windows import FieldBox
from convlens.data.images import to_pixels
from convlens.drawing import diverging_colors, enlarge, render_figure, sequential_colors
from convlens.drawing.boards import Board, format_number
from convlens.drawing.palette import ACCENT, MUTED
from convlens.results.network_result import NetworkResult
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_INPUTS = 3  # input channels that are drawn
_COLORS = ("red", "green", "blue")
_NUMBERED = 5  # side of the largest kernel whose numbers are written
_COARSE = 0.5  # numbers as great as this are written with two decimal places
_PICTURE = 6.4  # side of the photo and of the map, in cells
_SIDE, _STEP, _ROW = 3.4, 5.0, 4.4  # of patch and kernel: side, step to the right, step down
_LEFT = _PICTURE + 2.2
_SUMS = _LEFT + 3 * _STEP - 1.1  # where the sums are written
_TOP = 1.2
_MARK = "#ff4d1c"  # color of the circle around the unit, on photos and maps alike


@dataclass(frozen=True, eq=False)
class FeatureDetector(NetworkResult):
    """What one unit of a convolution computes, and how well its patch matches the kernel.

    Attributes:
        model: name of the model.
        layer: name of the convolution.
        channel: number of its output channel.
        position: row and column of the unit in the convolution's map.
        patch: float32 `(C, Mh, Mw)`, what the kernel is multiplied with: for a first convolution
            the normalized image, with the zeros of the padding.
        kernel: float32 `(C, Mh, Mw)`.
        bias: number that is added to the sum; 0 without a bias.
        output: what the convolution gives, as captured from the network.
        pre: what the layer's non-linearity consumes (after batch normalization, where there is
            one), or None where none follows.
        post: what the non-linearity returns, or None.
        pre_name: name of the node that the non-linearity consumes.
        post_name: name of the node that it returns.
        reads_image: whether the convolution reads the image itself.
        image: float32 `(C, H, W)`, before normalization.
        bounds: least and greatest value of a pixel.
        box: first and last row, first and last column of the image that the unit sees, or None
            where that is not known.
        feature_map: float32 `(h, w)`, the channel's map: after the non-linearity, if there is one.
    """

    model: str
    layer: str
    channel: int
    position: tuple[int, int]
    patch: Tensor
    kernel: Tensor
    bias: float
    output: float
    pre: float | None
    post: float | None
    pre_name: str
    post_name: str
    reads_image: bool
    image: Tensor
    bounds: tuple[float, float]
    box: FieldBox | None
    feature_map: Tensor

    @property
    def products(self) -> Tensor:
        """float32 `(C, Mh, Mw)`, patch times kernel."""
        return self.patch * self.kernel

    @property
    def sum(self) -> float:
        """The sum of the products."""
        return float(self.products.double().sum())

    @property
    def greatest_sum(self) -> float:
        """‖w‖‖x‖, the greatest sum that a patch of this norm can have (Cauchy–Schwarz)."""
        return float(self.kernel.double().norm() * self.patch.double().norm())

    @property
    def similarity(self) -> float:
        """The sum as a share of the greatest sum: the cosine of patch and kernel, −1 to 1."""
        return self.sum / max(self.greatest_sum, 1e-30)

    @property
    def best_patch(self) -> Tensor:
        """float32 `(C, Mh, Mw)`, the patch of this norm with the greatest sum: the kernel, scaled.

        For a first convolution it may lie outside the bounds of an image.
        """
        norms = self.patch.norm(), self.kernel.norm().clamp(min=1e-30)
        return self.kernel * (norms[0] / norms[1])

    def summary(self) -> str:
        """Sum, bias and activation, and the match, in words."""
        y, x = self.position
        words = (
            f"{self.layer}:{self.channel}@{y},{x} of {self.model}: sum "
            f"{format_number(self.sum)}, bias {format_number(self.bias)}"
        )
        if self.post is not None and self.pre is not None:
            words += (
                f", before the non-linearity {format_number(self.pre)}, after it "
                f"{format_number(self.post)}"
            )
        return (
            f"{words}; of patches of the norm {format_number(float(self.patch.norm()))}, the "
            f"kernel itself has the greatest sum, {format_number(self.greatest_sum)}, and this "
            f"patch reaches {self.similarity * 100:.0f} % of it"
        )

    @property
    def strongest_inputs(self) -> list[int]:
        """Up to three input channels, those whose products have the greatest magnitudes."""
        weights = self.products.abs().flatten(1).sum(dim=1)
        return sorted(weights.topk(min(len(weights), _MOST_INPUTS)).indices.tolist())

    def name_input(self, channel: int) -> str:
        """The name of an input channel: its color, if the convolution reads a color image."""
        return _COLORS[channel] if self.colored else f"channel {channel}"

    @property
    def colored(self) -> bool:
        """Whether the patch is a part of a color image."""
        return self.reads_image and len(self.patch) == len(_COLORS)

    def steps(self) -> list[str]:
        """What is computed after the products of the strongest input channels, a line each."""
        lines: list[str] = []
        inputs = self.strongest_inputs
        if num_others := len(self.patch) - len(inputs):
            sum_of_others = self.sum - float(self.products[inputs].double().sum())
            lines.append(f"{counted(num_others, 'other channel')}: {format_number(sum_of_others)}")
        lines.append(f"sum w·x = {format_number(self.sum)}")
        sign = "−" if self.bias < 0 else "+"
        lines.append(f"{sign} bias {format_number(abs(self.bias))} = {format_number(self.output)}")
        if self.pre is not None and self.post is not None:
            if self.pre_name != self.layer:
                lines.append(f"after {self.pre_name}: {format_number(self.pre)}")
            lines.append(f"after {self.post_name}: {format_number(self.post)}")
        return lines

    def figure(self) -> "Figure":
        """The unit on the photo, its patch times its kernel, and the patch that fits best.

        The three input channels whose products weigh most are drawn, in order.
        """
        return _draw(self)

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"feature detector": render_figure(self.figure(), dpi=150)}


def _draw(detector: FeatureDetector) -> "Figure":
    """Draw what `FeatureDetector.figure` describes."""
    inputs = detector.strongest_inputs
    match_y = _TOP + len(inputs) * _ROW
    board = Board(_SUMS + 7.0, max(2 * _PICTURE + 3.2, match_y + _SIDE + 2.6))
    _draw_places(board, detector)
    parts = (detector.patch, detector.kernel, detector.products)
    for at, name in enumerate(("patch x", "kernel w", "products w·x")):
        board.words(_LEFT + at * _STEP, 0.6, name, ha="left", color=MUTED)
    for number, channel in enumerate(inputs):
        y = _TOP + number * _ROW
        for at, (part, sign) in enumerate(zip(parts, ("×", "=", ""), strict=True)):
            x = _LEFT + at * _STEP
            _draw_numbers(board, part[channel], x, y, float(part.abs().max()))
            board.words(x + _SIDE + 0.8, y + _SIDE / 2, sign, size=12)
        total = format_number(float(detector.products[channel].double().sum()))
        board.words(_SUMS, y + _SIDE / 2, f"{detector.name_input(channel)}: {total}", ha="left")
    board.words(
        _SUMS, match_y + 0.4, "\n".join(detector.steps()), ha="left", va="top", linespacing=1.7
    )
    _draw_match(board, detector, match_y)
    return board.figure


def _draw_places(board: Board, detector: FeatureDetector) -> None:
    """The photo and the channel's map, with a circle around the unit."""
    pixels = to_pixels(detector.image, detector.bounds)
    if pixels.shape[2] != 3:
        pixels = pixels[..., :1].expand(-1, -1, 3)
    height, width = pixels.shape[:2]
    board.words(0.5, 0.6, "image", ha="left", color=MUTED)
    board.picture(pixels, 0.5, _TOP, _PICTURE, _PICTURE)
    if detector.box is not None:
        top, bottom, left, right = detector.box
        _mark(board, _TOP, (top + bottom + 1) / 2 / height, (left + right + 1) / 2 / width)
    values = detector.feature_map
    greatest = float(values.abs().max())
    is_signed = bool((values < 0).any())
    colors = (
        diverging_colors(values, greatest)
        if is_signed
        else sequential_colors(values, 0.0, greatest)
    )
    (rows, columns), (row, column) = values.shape, detector.position
    y = _TOP + _PICTURE + 1.6
    limits = f"{'±' if is_signed else 'up to '}{format_number(greatest)}"
    board.words(0.5, y - 0.5, f"map {rows} × {columns}, {limits}", ha="left", color=MUTED)
    board.picture(colors, 0.5, y, _PICTURE, _PICTURE, signed=is_signed)
    _mark(board, y, (row + 0.5) / rows, (column + 0.5) / columns)


def _mark(board: Board, y: float, down: float, right: float) -> None:
    """A circle at shares of the height and width of a picture."""
    board.axes.plot(
        [0.5 + _PICTURE * right], [y + _PICTURE * down], "o", markersize=10,
        markerfacecolor="none", markeredgecolor=_MARK, markeredgewidth=1.8, zorder=6,
    )  # fmt: skip


def _draw_numbers(board: Board, values: Tensor, x: float, y: float, scale: float) -> None:
    board.grid(
        values, x, y, colors=diverging_colors(values, scale), signed=True,
        side=_SIDE / max(values.shape), numbers=max(values.shape) <= _NUMBERED,
        decimals=2 if scale >= _COARSE else 3,
    )  # fmt: skip


def _draw_match(board: Board, detector: FeatureDetector, y: float) -> None:
    """The patch beside the best patch of its norm."""
    scale = max(float(part.abs().max()) for part in (detector.patch, detector.best_patch))
    for at, (name, part, total) in enumerate(
        (
            ("this patch", detector.patch, detector.sum),
            ("best patch of its norm", detector.best_patch, detector.greatest_sum),
        )
    ):
        x = _LEFT + at * _STEP
        board.words(x, y, name, ha="left", color=MUTED, size=8)
        colors = _color(detector, part, scale)
        board.picture(colors, x, y + 0.4, _SIDE, _SIDE, signed=not detector.colored)
        board.words(x, y + _SIDE + 0.9, f"sum {format_number(total)}", ha="left")
    board.words(
        _LEFT, y + _SIDE + 1.8,
        f"w·x ≤ ‖w‖‖x‖ = {format_number(detector.greatest_sum)}; this patch reaches "
        f"{detector.similarity * 100:.0f} % of it",
        ha="left", color=ACCENT,
    )  # fmt: skip


def _color(detector: FeatureDetector, patch: Tensor, scale: float) -> Tensor:
    """A patch in color, mid-gray at 0, or its channel with the greatest weights; enlarged."""
    if detector.colored:
        colors = to_pixels((patch / max(scale, 1e-30) / 2 + 0.5).clamp(0, 1), (0.0, 1.0))
    else:
        strongest = int(detector.kernel.flatten(1).norm(dim=1).argmax())
        colors = diverging_colors(patch[strongest], scale)
    return enlarge(colors, max(1, 240 // max(colors.shape[:2])))
