"""A small network without a fully connected stage, for images of about 8 to 64 pixels."""

from torch import nn

from convlens.errors import ConvlensError
from convlens.models.networks.convnet import ConvNet, Size, feature_map_sizes
from convlens.models.networks.pooling import make_pooling as pool

# How many convolutions of 3 x 3, and with how many filters each. Most of the work is done at a
# half and a quarter of the image's size, where memory costs least for each multiply-add.
STAGES = ((1, 32), (2, 64), (3, 128))


def allconv(
    *, size: Size, channels: int, classes: int, pooling: str = "max", average: bool = True
) -> ConvNet:
    """Build a network of six 3 × 3 convolutions in three stages with batch normalization.

    Each logit is linear in the mean of the last feature maps over all positions, so the network
    accepts images of any size from 4 pixels on. An image of MNIST (28 pixels) costs 29 million
    multiply-adds.

    Args:
        size: height and width of the images in pixels; at least 4.
        channels: number of channels of the images.
        classes: number of logits.
        pooling: max (default), average or blur.
        average: True (default), as the network has no fully connected layers that depend on the
            size.

    Returns:
        The network, in training mode, with the weights that torch draws for its layers.

    Raises:
        ConvlensError: `average` is False, an unknown pooling, or a size that a layer reduces below
            one pixel.

    Example:
        >>> import torch
        >>> network = allconv(size=(28, 28), channels=1, classes=10)
        >>> network(torch.zeros(2, 1, 40, 40)).shape
        torch.Size([2, 10])
    """
    if not average:
        raise ConvlensError(
            "average=False, but the network has no fully connected stage and always averages its "
            "last maps; leave the option out"
        )
    layers: list[nn.Module] = []
    for stage, (convolutions, filters) in enumerate(STAGES):
        if stage > 0:
            layers.append(pool(pooling))
        for _ in range(convolutions):
            # Batch normalization subtracts the mean, and with it any bias.
            layers.append(nn.Conv2d(channels, filters, 3, padding=1, bias=False))
            layers.append(nn.BatchNorm2d(filters))
            layers.append(nn.ReLU(inplace=True))
            channels = filters
    features = nn.Sequential(*layers)
    feature_map_sizes(features, size)
    return ConvNet(
        features=features,
        avgpool=nn.AdaptiveAvgPool2d(1),
        classifier=nn.Sequential(nn.Linear(channels, classes)),
    )
