"""The pointing game and the energy in boxes: do Grad-CAM maps point at the objects?

Pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016): a map scores
a hit if its greatest value lies in a box of the class. Energy (Wang et al., "Score-CAM", 2020): the
share of the map's positive sum that lies in the boxes. Each is reported beside the value of a map
without information: how often the middle of the image lies in a box, and the share of the image
that the boxes cover.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.analyses.gradcam.result import GradCam
from convlens.drawing import Bars, bar_figure
from convlens.errors import ConvlensError
from convlens.results import Result
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class PointingTotals(Result):
    """Sums of the pointing game over the maps whose class has a box.

    Attributes:
        maps: number of maps with a box.
        hits: number of maps whose greatest value lies in a box.
        center_hits: number of maps whose boxes contain the middle of the image.
        energy: sum of the maps' energy in the boxes, each from 0 to 1.
        box_area: sum of the shares of the image that the boxes cover, each from 0 to 1.
    """

    maps: int
    hits: int
    center_hits: int
    energy: float
    box_area: float

    @classmethod
    def sum_of(cls, parts: Iterable["PointingTotals"]) -> "PointingTotals":
        """Add up several totals, in their order."""
        total = cls(0, 0, 0, 0.0, 0.0)
        for part in parts:
            total = cls(
                total.maps + part.maps,
                total.hits + part.hits,
                total.center_hits + part.center_hits,
                total.energy + part.energy,
                total.box_area + part.box_area,
            )
        return total

    def summary(self) -> str:
        """The totals in words: a sentence without capital letter and full stop."""
        if not self.maps:
            return "no class that was explained has a box on its photo"
        return (
            f"the greatest value lies in the object's box in {self.hits} of "
            f"{counted(self.maps, 'map')} (the middle of the image in {self.center_hits}); "
            f"{percent(self.energy / self.maps)} of what supports the class lies in the boxes, "
            f"which cover {percent(self.box_area / self.maps)} of the image"
        )

    def figure(self) -> "Figure":
        """Hits and energy in boxes, each beside the value of a map without information.

        Raises:
            ConvlensError: no map has a box.
        """
        if not self.maps:
            raise ConvlensError(self.summary())
        hits, control = self.hits / self.maps, self.center_hits / self.maps
        energy, area = self.energy / self.maps, self.box_area / self.maps
        panels = [
            Bars("greatest value lies in a box", ["maps", "middle of the image"], [hits, control],
                 [percent(hits), percent(control)]),
            Bars("share in the boxes", ["what supports the class", "area"], [energy, area],
                 [percent(energy), percent(area)]),
        ]  # fmt: skip
        title = f"pointing game, {counted(self.maps, 'map')}"
        return bar_figure(panels, title=title, limits=(0, 1.15))


@dataclass(frozen=True, eq=False)
class PointingGame(Result):
    """Hits and energy of each map whose class has a box on the image.

    Attributes:
        has_box: bool `(N, K)`, whether the class has a box on the image. Where it has none, the
            other fields are false or NaN.
        hits: bool `(N, K)`, the map's greatest value lies in a box and is above zero.
        center_hits: bool `(N, K)`, the middle of the image lies in a box.
        energy: float32 `(N, K)`, share of the map's positive sum over pixels that lies in the
            boxes; 0 where no value is above zero.
        box_area: float32 `(N, K)`, share of the image that the boxes cover.
        names: names of the classes, by image.
    """

    has_box: Tensor
    hits: Tensor
    center_hits: Tensor
    energy: Tensor
    box_area: Tensor
    names: tuple[tuple[str, ...], ...]

    def totals(self) -> PointingTotals:
        """The sums over all maps whose class has a box."""
        return PointingTotals(
            maps=int(self.has_box.sum()),
            hits=int(self.hits.sum()),
            center_hits=int(self.center_hits.sum()),
            energy=float(self.energy[self.has_box].double().sum()),
            box_area=float(self.box_area[self.has_box].double().sum()),
        )

    def summary(self) -> str:
        """The totals in words."""
        return self.totals().summary()

    def figure(self) -> "Figure":
        """The totals; see `PointingTotals.figure`."""
        return self.totals().figure()


def pointing_game(
    cam: GradCam, boxes: Sequence[Sequence[ObjectBox]], *, tolerance: float = 0.0
) -> PointingGame:
    """Score each map of a Grad-CAM against the boxes of its class.

    Maps are compared at the image's pixels, bilinear between the cells. A pixel lies in a box if
    its center does. A box that the crop leaves without a pixel does not count.

    Args:
        cam: maps from `gradcam`.
        boxes: the boxes on each image, from `boxes_on_image`.
        tolerance: pixels by which boxes are enlarged on each side for the greatest value; default
            0. Zhang et al. use 15 on photos of about 500 pixels.

    Returns:
        Hits and energy for each image and class.

    Raises:
        ConvlensError: boxes of another number of images.

    References:
        Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, section 4.1
        (pointing game); Wang et al., "Score-CAM", CVPR Workshops 2020, section 4.3 (energy).

    Example:
        >>> import torch, convlens
        >>> from convlens.analyses.gradcam.boxes import ObjectBox
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> cam = convlens.gradcam(model, torch.rand(1, 3, 8, 8), classes=1)
        >>> game = convlens.pointing_game(cam, [[ObjectBox((1,), 0, 0, 8, 4)]])
        >>> game.box_area.tolist()
        [[0.5]]
    """
    image_count, class_count = cam.classes.shape
    if len(boxes) != image_count:
        raise ConvlensError(
            f"boxes of {len(boxes)} images for maps of {image_count}; give one "
            f"sequence of boxes per image"
        )
    height, width = cam.images.shape[-2:]
    on_image = cam.on_image()
    shape = (image_count, class_count)
    has_box = torch.zeros(shape, dtype=torch.bool)
    hits, center_hits = has_box.clone(), has_box.clone()
    energy, box_area = (
        torch.full(shape, torch.nan, dtype=torch.float32),
        torch.full(shape, torch.nan, dtype=torch.float32),
    )
    for image in range(image_count):
        for rank in range(class_count):
            target_class = int(cam.classes[image, rank])
            class_boxes = [box for box in boxes[image] if target_class in box.classes]
            inside = _pixels_inside(class_boxes, height, width)
            if not bool(inside.any()):
                continue
            has_box[image, rank] = True
            pixels = on_image[image, rank].double()
            row, column = divmod(int(pixels.argmax()), width)
            enlarged = _pixels_inside(class_boxes, height, width, tolerance)
            hits[image, rank] = enlarged[row, column] & (pixels[row, column] > 0)
            center_hits[image, rank] = _contain(class_boxes, height / 2, width / 2, tolerance)
            positive = pixels.clamp(min=0)
            energy[image, rank] = (positive * inside).sum() / positive.sum().clamp(min=1e-300)
            box_area[image, rank] = inside.double().mean()
    return PointingGame(has_box, hits, center_hits, energy, box_area, cam.names)


def _pixels_inside(
    boxes: Sequence[ObjectBox], height: int, width: int, margin: float = 0.0
) -> Tensor:
    """Bool `(height, width)`: pixels whose center lies in a box."""
    y, x = torch.arange(height).double()[:, None] + 0.5, torch.arange(width).double() + 0.5
    inside = torch.zeros(height, width, dtype=torch.bool)
    for box in boxes:
        inside |= (
            (y >= box.top - margin) & (y < box.bottom + margin)
            & (x >= box.left - margin) & (x < box.right + margin)
        )  # fmt: skip
    return inside


def _contain(boxes: Sequence[ObjectBox], y: float, x: float, margin: float) -> bool:
    return any(
        box.top - margin <= y < box.bottom + margin and box.left - margin <= x < box.right + margin
        for box in boxes
    )
