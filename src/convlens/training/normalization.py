"""Mean and standard deviation of the training images, exact and independent of their order."""

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.training.data import TrainingImages
from convlens.training.data.labeled_images import PixelSums


def mean_and_std(
    images: TrainingImages, center: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
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
    height, width, _ = images.shape
    count, sums = len(images), images.pixel_sums
    area = height * width
    means = sums.levels.sum(dim=0).double() / (count * area)
    if center == "image":
        variance = _variance_about_image_means(sums, area)
        means = torch.zeros_like(means)
    else:
        variance = sums.squares.sum(dim=0).double() / (count * area) - means**2
    if bool((variance <= 0).any()):
        difference = "differ from their own mean" if center == "image" else "differ"
        raise ConvlensError(
            f"in channel {int(variance.argmin())} no pixels of the training images {difference}; "
            f"there is nothing to learn from flat images"
        )
    deviations = variance.sqrt()
    return _to_unit_range(means), _to_unit_range(deviations)


def _variance_about_image_means(sums: PixelSums, area: int) -> Tensor:
    """The mean square of the pixels' difference from their image's mean, for each channel."""
    variances = []
    for levels, squares in zip(sums.levels.T.tolist(), sums.squares.T.tolist(), strict=True):
        # In Python's whole numbers: for a million images they exceed 64 bits.
        whole_squares = sum(squares) * area - sum(level * level for level in levels)
        variances.append(whole_squares / (len(levels) * area * area))
    return torch.tensor(variances, dtype=torch.float64)


def _to_unit_range(levels: Tensor) -> tuple[float, ...]:
    return tuple(round(level / 255, 6) for level in levels.tolist())
