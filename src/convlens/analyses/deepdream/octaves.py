"""Octaves: a photo at its own size, and at several smaller ones, each with its tiles."""

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.deepdream.objective import ObjectiveNode
from convlens.analyses.deepdream.tiles import TilePlan, plan_tiles
from convlens.data.datasets.pictures import list_photos
from convlens.data.images import to_tensor
from convlens.data.photos import Photo, PhotoLike, read_photo
from convlens.data.preprocessing import check_image_size
from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model, tensor_to_array

_LARGEST_SIDE = 4096  # pixels: advice on the smallest photo that works goes no further


def load_image(model: Model, photo: ImagesLike, size: int | None) -> Tensor:
    """A photo as an image `(1, C, H, W)`, at its own size or with a longer side of `size`."""
    photo = only_photo(photo)
    if isinstance(photo, Tensor):
        image = photo if photo.ndim == 4 else photo[None]
        if len(image) != 1:
            raise ConvlensError(f"{len(image)} images; a dream takes one, (1, C, H, W)")
        image = model.check(image.detach()).float().to(model.device)
        if size is not None:
            sides = _scale_size((image.shape[2], image.shape[3]), size / max(image.shape[2:]))
            check_image_size(*sides)
            image = resize_image(image, sides)
            image = image.clamp_(*model.bounds)
        return image
    if model.channels not in (1, 3):
        raise ConvlensError(
            f"{model.name} takes {model.channels} input channels and a photo has 1 or 3; give an "
            f"image (1, {model.channels}, H, W)"
        )
    picture = _resize_photo(read_photo(photo), size)
    return to_tensor(picture.convert("L" if model.channels == 1 else "RGB"), model.bounds)[None].to(
        model.device
    )


def only_photo(photo: ImagesLike) -> PhotoLike | Tensor:
    """The photo in a sequence of one photo; anything that is no sequence as it is.

    Raises:
        ConvlensError: several photos, or none.
    """
    if isinstance(photo, Tensor):
        return tensor_to_array(photo) if photo.dtype == torch.uint8 and photo.ndim == 3 else photo
    photos = list_photos(photo)
    if len(photos) != 1:
        raise ConvlensError(f"{len(photos)} photos; a dream takes one")
    is_sequence = photos[0] is not photo
    return only_photo(photos[0]) if is_sequence else photos[0]


def _resize_photo(photo: Photo, size: int | None) -> Image.Image:
    picture = photo.picture
    if size is None:
        return picture
    sides = _scale_size(picture.size, size / max(picture.size))
    check_image_size(sides[1], sides[0])
    return picture.resize(sides, Image.Resampling.BICUBIC)


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """A new image `(1, C, H, W)` of another size, by bicubic interpolation with antialiasing."""
    if tuple(image.shape[2:]) == size:
        return image.clone()
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)


def octave_sizes(size: tuple[int, int], octaves: int, scale: float) -> list[tuple[int, int]]:
    """Height and width of each octave, the smallest first."""
    return [_scale_size(size, scale**-octave) for octave in reversed(range(octaves))]


def plan_octaves(
    model: Model,
    node: ObjectiveNode,
    sizes: list[tuple[int, int]],
    scale: float,
    tile: int | None,
) -> list[TilePlan]:
    """The tiles of every octave.

    Raises:
        ConvlensError: an octave is too small for the layer. The message names the smallest photo
            that works.
    """
    try:
        return [plan_tiles(model, size, node.node_name, largest=tile) for size in sizes]
    except ConvlensError as error:
        smallest = _smallest_longer_side(model, node, sizes[-1], len(sizes), scale)
        if smallest is None:
            raise
        (height, width), (octave_height, octave_width) = sizes[-1], sizes[0]
        raise ConvlensError(
            f"a photo of {height} x {width} is too small for {node.layer} in {len(sizes)} "
            f"octave{'s' * (len(sizes) > 1)}: the smallest would be {octave_height} x "
            f"{octave_width}; give at least {smallest} pixels on the longer side, or fewer octaves"
        ) from error


def _smallest_longer_side(
    model: Model, node: ObjectiveNode, size: tuple[int, int], octaves: int, scale: float
) -> int | None:
    """The smallest longer side of a photo of this shape that works; None if none is found."""

    def works(side: int) -> bool:
        photo_size = _scale_size(size, side / max(size))
        try:
            plan_tiles(
                model, octave_sizes(photo_size, octaves, scale)[0], node.node_name, largest=None
            )
        except ConvlensError:
            return False
        return True

    low = high = max(size)
    while not works(high):
        low, high = high, 2 * high
        if high > _LARGEST_SIDE:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high if high > max(size) else None


def _scale_size(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
