"""Mean and standard deviation of the training images, exact and independent of their order."""

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.training.data import LabeledImages

_VALUES_AT_ONCE = 2**23  # values in one piece; each needs 16 bytes for a moment


def mean_and_std(images: LabeledImages, center: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, for pixels scaled to 0..1.

    The sums are sums of whole numbers, so they depend neither on the order of the images nor on
    the number of threads.

    Args:
        images: the training set.
        center: `data` for the mean over all images. With `image`, the mean of each image is
            subtracted later; the mean is then 0 and the deviation is taken about the images' means.

    Returns:
        The means and the standard deviations, one number for each channel.

    Raises:
        ConvlensError: all pixels of a channel are equal.
    """
    count, height, width, channels = images.pixels.shape
    sums = torch.zeros(channels, dtype=torch.int64)
    squares = torch.zeros(channels, dtype=torch.int64)
    image_sums_squared = torch.zeros(
        channels, dtype=torch.int64
    )  # squares of the sums of each image
    for pixels in images.pixels.split(max(1, _VALUES_AT_ONCE // (height * width * channels))):
        levels = pixels.to(torch.int64)
        image_sums = levels.sum(dim=(1, 2))
        sums += image_sums.sum(dim=0)
        squares += (levels * levels).sum(dim=(0, 1, 2))
        image_sums_squared += (image_sums * image_sums).sum(dim=0)
    area = height * width
    means = sums.double() / (count * area)
    if center == "image":
        variance = _divide(squares * area - image_sums_squared, count * area * area)
        means = torch.zeros_like(means)
    else:
        variance = squares.double() / (count * area) - means**2
    if bool((variance <= 0).any()):
        difference = "differ from their own mean" if center == "image" else "differ"
        raise ConvlensError(
            f"in channel {int(variance.argmin())} no pixels of the training images {difference}; "
            f"there is nothing to learn from flat images"
        )
    deviations = variance.sqrt()
    return _to_unit_range(means), _to_unit_range(deviations)


def _divide(whole: Tensor, by: int) -> Tensor:
    return whole.double() / by


def _to_unit_range(levels: Tensor) -> tuple[float, ...]:
    return tuple(round(level / 255, 6) for level in levels.tolist())
