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
    """Six convolutions in three stages, batch normalization, and the mean over all positions.

    29 million multiply-adds on MNIST's 28 pixels. Each class score is linear in the mean of the
    last feature maps, so that any image of at least 4 pixels fits.

    Args:
        size: height and width of the images that it is built for; at least 4.
        channels: number of channels of the image.
        classes: number of logits.
        pooling: max, average or blur.
        average: True; there is no fully connected stage to go without it.

    Raises:
        ConvlensError: without average pooling, or an image that is too small.
    """
    if not average:
        raise ConvlensError("it has no fully connected stage, and always averages the last maps")
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
