"""The VGG family (Simonyan & Zisserman, 2014), VGG-16 first; layers and names are torchvision's."""

from torch import nn

from convlens.models.networks.convnet import ConvNet, Size, feature_map_sizes
from convlens.models.networks.pooling import make_pooling as pool

# From the image on: how many convolutions of 3 x 3, and with how many filters each. A pooling that
# halves height and width ends every stage. (Bishop & Bishop, figure 10.10, shows VGG-16.)
STAGES: dict[str, tuple[tuple[int, int], ...]] = {
    "vgg16": ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)),
    "vgg11": ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512)),
    "vgg13": ((2, 64), (2, 128), (2, 256), (2, 512), (2, 512)),
    "vgg19": ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)),
}
_GRID = (7, 7)


def vgg(
    name: str,
    *,
    size: Size,
    channels: int,
    classes: int,
    pooling: str = "max",
    average: bool = True,
) -> ConvNet:
    """Stages of 3 × 3 convolutions, then fully connected layers of 4,096, 4,096 and the classes.

    Args:
        name: a key of `STAGES`, with `_bn` for batch normalization after each convolution.
        size: height and width of the images that it is built for; at least 32.
        channels: number of channels of the image.
        classes: number of logits.
        pooling: max (the paper's), average or blur.
        average: pool to 7 × 7, what 224 pixels give, so that all sizes fit; else the fully
            connected stage is made for `size`, and fits no other.
    """
    plain, _, normalized = name.partition("_")
    layers: list[nn.Module] = []
    for convolutions, filters in STAGES[plain]:
        for _ in range(convolutions):
            layers.append(nn.Conv2d(channels, filters, 3, padding=1))
            if normalized:
                layers.append(nn.BatchNorm2d(filters))
            layers.append(nn.ReLU(inplace=True))
            channels = filters
        layers.append(pool(pooling))
    features = nn.Sequential(*layers)

    *_, (_, grid) = feature_map_sizes(features, size)
    rows, columns = _GRID if average else grid
    return ConvNet(
        features=features,
        avgpool=nn.AdaptiveAvgPool2d(_GRID) if average else nn.Identity(),
        classifier=nn.Sequential(
            nn.Linear(channels * rows * columns, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, classes),
        ),
    )
