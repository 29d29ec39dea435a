"""What is subtracted from the images, so that zero padding is the average."""

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.training.data import Images

_AT_ONCE = 2**23  # values; each takes 16 bytes for a moment


def mean_and_deviation(images: Images, center: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation in each channel, of pixels of 0..1.

    Sums of whole numbers, so that they depend neither on order nor on the number of threads.

    Args:
        images: the training set.
        center: `data` for the mean over all images; `image` where each image's own mean is
            subtracted: the mean is then 0, and the deviation is that about the images' means.

    Raises:
        ConvlensError: a channel in which nothing varies.
    """
    count, height, width, channels = images.pixels.shape
    sums = torch.zeros(channels, dtype=torch.int64)
    squares = torch.zeros(channels, dtype=torch.int64)
    between = torch.zeros(channels, dtype=torch.int64)  # of the images' own sums, squared
    for pixels in images.pixels.split(max(1, _AT_ONCE // (height * width * channels))):
        levels = pixels.to(torch.int64)
        own = levels.sum(dim=(1, 2))
        sums += own.sum(dim=0)
        squares += (levels * levels).sum(dim=(0, 1, 2))
        between += (own * own).sum(dim=0)
    area = height * width
    means = sums.double() / (count * area)
    if center == "image":
        variance = _quotient(squares * area - between, count * area * area)
        means = torch.zeros_like(means)
    else:
        variance = squares.double() / (count * area) - means**2
    if bool((variance <= 0).any()):
        which = "differ from their own mean" if center == "image" else "differ"
        raise ConvlensError(
            f"in channel {int(variance.argmin())} no pixels of the training images {which}; "
            f"there is nothing to learn from flat images"
        )
    deviations = variance.sqrt()
    return _shares(means), _shares(deviations)


def _quotient(whole: Tensor, by: int) -> Tensor:
    return whole.double() / by


def _shares(levels: Tensor) -> tuple[float, ...]:
    return tuple(round(level / 255, 6) for level in levels.tolist())
