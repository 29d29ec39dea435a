"""LeNet-5 (LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998)."""

from torch import nn

from convlens.models.networks.convnet import ConvNet, Size, feature_map_sizes, flattened_size
from convlens.models.networks.pooling import make_pooling as pool


def lenet5(
    *, size: Size, channels: int, classes: int, pooling: str = "max", average: bool = False
) -> ConvNet:
    """Two convolutions of 5 × 5, each with a pooling, and three fully connected layers.

    The first convolution pads by two, which makes the paper's 32 pixels of MNIST's 28. ReLU
    stands where the paper has a scaled tanh, a linear output where it has radial basis functions.

    Args:
        size: height and width of the images that the fully connected layers are made for; at
            least 12.
        channels: number of channels of the image.
        classes: number of logits.
        pooling: max, average (the paper's) or blur.
        average: pool to the grid that `size` gives, so that images of other sizes fit too.
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
