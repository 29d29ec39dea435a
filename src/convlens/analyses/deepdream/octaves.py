"""Octaves: a photo at its own size as an image, and at several smaller ones."""

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.deepdream.objective import Raised
from convlens.analyses.deepdream.tiles import Plan, plan
from convlens.data.images import to_tensor
from convlens.data.photo_decoder import PhotoLike
from convlens.data.photos import Photo, read_photo
from convlens.errors import ConvlensError
from convlens.models.model import Model

_LARGEST = 4096  # pixels; a least size beyond is not looked for


def image_of(model: Model, photo: PhotoLike | Tensor, size: int | None) -> Tensor:
    """A photo at its own size, or with that longer side, as an image `(1, C, H, W)`."""
    if isinstance(photo, Tensor):
        image = photo if photo.ndim == 4 else photo[None]
        if len(image) != 1:
            raise ConvlensError(f"{len(image)} images; a dream is of one, (1, C, H, W)")
        image = model.check(image.detach()).float().to(model.device)
        if size is not None:
            sides = (image.shape[2], image.shape[3])
            image = resized(image, _scaled(sides, size / max(sides))).clamp_(*model.bounds)
        return image
    if isinstance(photo, np.ndarray):
        model.check_shape(photo)  # says what to give instead
    if model.channels not in (1, 3):
        raise ConvlensError(
            f"{model.name} takes {model.channels} input channels and a photo has 1 or 3; give an "
            f"image (1, {model.channels}, H, W)"
        )
    picture = _shaped(read_photo(photo), size).convert("L" if model.channels == 1 else "RGB")
    return to_tensor(picture, model.bounds)[None].to(model.device)


def _shaped(photo: Photo, size: int | None) -> Image.Image:
    picture = photo.picture
    if size is None:
        return picture
    sides = _scaled(picture.size, size / max(picture.size))
    return picture.resize(sides, Image.Resampling.BICUBIC)


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """An image `(1, C, H, W)` at another size, as a new tensor; shrunk without aliasing."""
    if tuple(image.shape[2:]) == size:
        return image.clone()
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)


def plans_of(
    model: Model, target: Raised, sizes: list[tuple[int, int]], scale: float, tile: int | None
) -> list[Plan]:
    """The tiles of every octave; what is too small is told before any work."""
    try:
        return [plan(model, size, target.node_name, most=tile) for size in sizes]
    except ConvlensError as error:
        least = _least(model, target, sizes[-1], len(sizes), scale)
        if least is None:
            raise
        (height, width), (high, wide) = sizes[-1], sizes[0]
        raise ConvlensError(
            f"a photo of {height} x {width} is too small for {target.layer} in {len(sizes)} "
            f"octave{'s' * (len(sizes) > 1)}: the smallest would be {high} x {wide}; give at least "
            f"{least} pixels on the longer side, or fewer octaves"
        ) from error


def _least(
    model: Model, target: Raised, size: tuple[int, int], octaves: int, scale: float
) -> int | None:
    """The least longer side of a photo of this shape that will do; None if none is found."""

    def fits(side: int) -> bool:
        photo = _scaled(size, side / max(size))
        try:
            plan(model, sizes_of(photo, octaves, scale)[0], target.node_name, most=None)
        except ConvlensError:
            return False
        return True

    low = high = max(size)
    while not fits(high):
        low, high = high, 2 * high
        if high > _LARGEST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high if high > max(size) else None


def sizes_of(size: tuple[int, int], octaves: int, scale: float) -> list[tuple[int, int]]:
    """Height and width of each octave, the smallest first."""
    return [_scaled(size, scale**-k) for k in reversed(range(octaves))]


def _scaled(size: tuple[int, int], by: float) -> tuple[int, int]:
    return max(1, round(size[0] * by)), max(1, round(size[1] * by))
