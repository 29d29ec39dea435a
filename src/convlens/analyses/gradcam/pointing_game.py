"""Pointing: do the maps point at the objects, where boxes say where these are?

The pointing game (Zhang et al. 2016): a hit if the greatest value of the map lies in a box of the
class. Energy (Wang et al. 2020): the share of what is above zero that lies in the boxes. Each
stands beside what a map that knows nothing reaches: the image's middle, and the boxes' share of
the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.gradcam.boxes import Box
from convlens.analyses.gradcam.result import GradCam
from convlens.errors import ConvlensError
from convlens.results import Result


@dataclass(frozen=True, eq=False)
class PointingGame(Result):
    """Pointing game and energy inside boxes, for each map whose class has a box on the image.

    Attributes:
        boxed: bool `(N, K)`, whether there is one; the rest is false or NaN where there is none.
        hits: bool `(N, K)`, the greatest value lies in one and is above zero.
        center_hits: bool `(N, K)`, the middle of the image lies in one.
        energy: float32 `(N, K)`, share of the map's positive sum over pixels that lies in them; 0
            where nothing is above zero.
        area: float32 `(N, K)`, share of the image that they cover.
        names: of the classes, by image.
    """

    boxed: Tensor
    hits: Tensor
    center_hits: Tensor
    energy: Tensor
    area: Tensor
    names: tuple[tuple[str, ...], ...]

    def sentence(self) -> str:
        """In words, over all maps with a box."""
        return told(*self.sums())

    def sums(self) -> tuple[int, int, int, float, float]:
        """Maps with a box, hits, hits of the middle, summed energy and area."""
        return (
            int(self.boxed.sum()), int(self.hits.sum()), int(self.center_hits.sum()),
            float(self.energy[self.boxed].double().sum()),
            float(self.area[self.boxed].double().sum()),
        )  # fmt: skip


def told(count: int, hits: int, center: int, energy: float, area: float) -> str:
    """Sums over some maps, as `PointingGame.sums` gives them, in words."""
    if not count:
        return "no class that was explained has a box on its photo"
    return (
        f"the greatest value lies in the object's box in {hits} of {count} maps (the image's "
        f"middle in {center}); {_percent(energy / count)} of what speaks for the class lies in the "
        f"boxes, which cover {_percent(area / count)} of the image"
    )


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def pointing_game(
    cam: GradCam, boxes: Sequence[Sequence[Box]], *, tolerance: float = 0.0
) -> PointingGame:
    """Pointing game and energy of each map of a Grad-CAM, at the image's pixels, bilinear.

    A pixel lies in a box if its center does. Boxes that the crop leaves without a pixel do not
    count as boxes.

    Args:
        cam: from `gradcam`.
        boxes: those on each image, as `boxes_on_image` gives them.
        tolerance: pixels by which boxes are larger for the greatest value; Zhang et al. give 15,
            on photos of about 500.

    Raises:
        ConvlensError: boxes of another number of images.
    """
    count, several = cam.classes.shape
    if len(boxes) != count:
        raise ConvlensError(f"boxes of {len(boxes)} images for maps of {count}")
    height, width = cam.images.shape[-2:]
    on_image = cam.on_image()
    shape = (count, several)
    boxed = torch.zeros(shape, dtype=torch.bool)
    hits, center_hits = boxed.clone(), boxed.clone()
    energy, area = torch.full(shape, torch.nan), torch.full(shape, torch.nan)
    for image in range(count):
        for rank in range(several):
            wanted = int(cam.classes[image, rank])
            mine = [box for box in boxes[image] if wanted in box.classes]
            inside = _inside(mine, height, width)
            if not bool(inside.any()):
                continue
            boxed[image, rank] = True
            pixels = on_image[image, rank].double()
            row, column = divmod(int(pixels.argmax()), width)
            near = _inside(mine, height, width, tolerance)
            hits[image, rank] = near[row, column] & (pixels[row, column] > 0)
            center_hits[image, rank] = _holds(mine, height / 2, width / 2, tolerance)
            above = pixels.clamp(min=0)
            energy[image, rank] = (above * inside).sum() / above.sum().clamp(min=1e-300)
            area[image, rank] = inside.double().mean()
    return PointingGame(boxed, hits, center_hits, energy, area, cam.names)


def _inside(boxes: Sequence[Box], height: int, width: int, margin: float = 0.0) -> Tensor:
    """Bool `(height, width)`: pixels whose center lies in a box."""
    y, x = torch.arange(height).double()[:, None] + 0.5, torch.arange(width).double() + 0.5
    inside = torch.zeros(height, width, dtype=torch.bool)
    for box in boxes:
        inside |= (
            (y >= box.top - margin) & (y < box.bottom + margin)
            & (x >= box.left - margin) & (x < box.right + margin)
        )  # fmt: skip
    return inside


def _holds(boxes: Sequence[Box], y: float, x: float, margin: float) -> bool:
    return any(
        box.top - margin <= y < box.bottom + margin and box.left - margin <= x < box.right + margin
        for box in boxes
    )
