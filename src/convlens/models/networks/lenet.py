"""LeNet-5 (LeCun et al. 1998)."""

from torch import nn

from convlens.models.networks.convnet import ConvNet, Size, feature_map_sizes, flattened_size
from convlens.models.networks.pooling import make_pooling as pool


def lenet5(
    *, size: Size, channels: int, classes: int, pooling: str = "max", average: bool = False
) -> ConvNet:
    """Build LeNet-5: two 5 × 5 convolutions, each with a pooling, three fully connected layers.

    The first convolution pads MNIST's 28 pixels to the 32 of the paper. The network has ReLUs
    instead of the paper's scaled tanh, and a linear output instead of radial basis functions.

    Args:
        size: height and width of the images in pixels; at least 12.
        channels: number of channels of the images.
        classes: number of logits.
        pooling: max (default), average (the paper's) or blur.
        average: False (default): the fully connected layers accept images of `size` only. True: the
            last maps are averaged to the grid that images of `size` give, so that the network
            accepts images of any size.

    Returns:
        The network, in training mode, with the weights that torch draws for its layers.

    Raises:
        ConvlensError: an unknown pooling, or a size that a layer reduces below one pixel.

    References:
        LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document
        Recognition", Proceedings of the IEEE 86, 1998.

    Example:
        >>> network = lenet5(size=(28, 28), channels=1, classes=10)
        >>> sum(parameter.numel() for parameter in network.parameters())
        61706
    """
    features = nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(inplace=True),
        pool(pooling),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(inplace=True),
        pool(pooling),
    )
    *_, (_, grid) = feature_map_sizes(features, size)
    return ConvNet(
        features=features,
        avgpool=nn.AdaptiveAvgPool2d(grid) if average else nn.Identity(),
        classifier=nn.Sequential(
            nn.Linear(flattened_size(features, 16, size), 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, classes),
        ),
    )
