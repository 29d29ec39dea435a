"""AlexNet (Krizhevsky, One weird trick for parallelizing convolutional networks, 2014).

The single-stream variant, with torchvision's layers and names.
"""

from torch import nn

from convlens.models.networks.convnet import ConvNet, Size, feature_map_sizes
from convlens.models.networks.pooling import make_pooling as pool

_GRID = (6, 6)


def alexnet(
    *, size: Size, channels: int, classes: int, pooling: str = "max", average: bool = True
) -> ConvNet:
    """Five convolutions, of 11 × 11, 5 × 5 and 3 × 3, and three fully connected layers.

    Args:
        size: height and width of the images that it is built for; at least 63.
        channels: number of channels of the image.
        classes: number of logits.
        pooling: max (the paper's), average or blur; 3 × 3 windows, two apart.
        average: pool to 6 × 6, what 224 pixels give, so that all sizes fit; else the fully
            connected stage is made for `size`, and fits no other.
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
