"""AlexNet (Krizhevsky 2014).

The single-stream variant, with torchvision's layers and names.
"""

from torch import nn

from convlens.models.networks.convnet import ConvNet, Size, feature_map_sizes
from convlens.models.networks.pooling import make_pooling as pool

_GRID = (6, 6)


def alexnet(
    *, size: Size, channels: int, classes: int, pooling: str = "max", average: bool = True
) -> ConvNet:
    """Build AlexNet: five convolutions (11 × 11, 5 × 5 and 3 × 3), three fully connected layers.

    Args:
        size: height and width of the images in pixels; at least 63.
        channels: number of channels of the images.
        classes: number of logits.
        pooling: max (the paper's, default), average or blur; windows of 3 × 3 pixels, stride 2.
        average: True (default): the last maps are averaged to 6 × 6 cells, their size for images of
            224 pixels, so that the network accepts images of any size. False: the fully connected
            layers accept images of `size` only.

    Returns:
        The network, in training mode, with the weights that torch draws for its layers.

    Raises:
        ConvlensError: an unknown pooling, or a size that a layer reduces below one pixel.

    References:
        Krizhevsky, "One weird trick for parallelizing convolutional networks", 2014.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # shapes without memory for the weights
        ...     network = alexnet(size=(63, 63), channels=3, classes=10)
        >>> network.features[0].weight.shape
        torch.Size([64, 3, 11, 11])
    """
    features = nn.Sequential(
        nn.Conv2d(channels, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        pool(pooling, 3),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        pool(pooling, 3),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        pool(pooling, 3),
    )
    *_, (_, grid) = feature_map_sizes(features, size)
    rows, columns = _GRID if average else grid
    return ConvNet(
        features=features,
        avgpool=nn.AdaptiveAvgPool2d(_GRID) if average else nn.Identity(),
        classifier=nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * rows * columns, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, classes),
        ),
    )
