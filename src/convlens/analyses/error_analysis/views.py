"""Other views of photos: shifted, nearer, the whole photo, mirrored.

They tell whether the network would be right if the photo were framed otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.error_analysis.photo_selection import read_images
from convlens.analyses.shift.views import crop, find_margin, pad_squashed, with_margin
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.models.model import Model

SHIFT, NEARER, WHOLE, MIRROR = "shifted", "nearer", "the whole photo", "mirrored"
_ZOOMS = (1.25, 1.5, 2.0)


@dataclass(frozen=True)
class View:
    """Photos as the network would see them in another framing.

    Attributes:
        kind: `SHIFT`, `NEARER`, `WHOLE` or `MIRROR`.
        name: the view in a few words.
        images: `(N, C, H, W)`.
    """

    kind: str
    name: str
    images: Tensor


def make_views(model: Model, photos: PhotoDataset | Tensor, images: Tensor) -> Iterator[View]:
    """All views of some photos, one after the other.

    Eight shifts by up to the margin that the preprocessing cuts off, three crops that magnify the
    center, the whole photo (two ways, unless the preprocessing shows it anyhow), and the mirror
    image. Images in memory have no surroundings: their edges are repeated around them.

    Args:
        model: the model.
        photos: the photos, or images.
        images: what the model's preprocessing makes of them, `(N, C, H, W)`.
    """
    yield from _shifted(model, photos, images)
    for zoom in _ZOOMS:
        yield View(NEARER, f"magnified {zoom:g} times", _magnify(model, photos, images, zoom))
    resize = model.preprocessing.resize
    if not isinstance(photos, Tensor) and resize is not None and resize > max(model.size):
        for name, side in (("squashed to size", None), ("resized to the crop", max(model.size))):
            yield View(WHOLE, name, read_images(with_resize(model, side), photos))
    yield View(MIRROR, "mirrored", images.flip(3))


def with_resize(model: Model, resize: int | None) -> Model:
    """The model with another short side of photos before the crop; None: squashed to the size."""
    return replace(model, preprocessing=replace(model.preprocessing, resize=resize))


def _shifted(model: Model, photos: PhotoDataset | Tensor, images: Tensor) -> Iterator[View]:
    if isinstance(photos, Tensor):
        margin = find_margin(model)
        before, after = margin // 2, margin - margin // 2
        wide = F.pad(images, (before, after, before, after), mode="replicate")
    else:
        wide = pad_squashed(model, read_images(with_margin(model), photos))
    height, width = images.shape[2:]
    down, across = wide.shape[2] - height, wide.shape[3] - width
    for top in (0, down // 2, down):
        for left in (0, across // 2, across):
            if (top, left) != (down // 2, across // 2):
                name = f"shifted by {top - down // 2:+d}, {left - across // 2:+d}"
                yield View(SHIFT, name, crop(wide, top, left, (height, width)))


def _magnify(model: Model, photos: PhotoDataset | Tensor, images: Tensor, zoom: float) -> Tensor:
    """The center of the photos, from the file where the preprocessing keeps the aspect ratio."""
    resize = model.preprocessing.resize
    if not isinstance(photos, Tensor) and resize is not None:
        return read_images(with_resize(model, round(zoom * resize)), photos)
    height, width = images.shape[2:]
    high, wide = max(1, round(height / zoom)), max(1, round(width / zoom))
    center = crop(images, (height - high) // 2, (width - wide) // 2, (high, wide))
    enlarged = F.interpolate(center, size=(height, width), mode="bilinear", align_corners=False)
    return enlarged.contiguous(memory_format=torch.channels_last)
