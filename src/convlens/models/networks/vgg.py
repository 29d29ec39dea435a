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
    """Build a VGG network: stages of 3 × 3 convolutions, and three fully connected layers.

    Args:
        name: vgg11, vgg13, vgg16 or vgg19; with `_bn` for batch normalization after each
            convolution.
        size: height and width of the images in pixels; at least 32.
        channels: number of channels of the images.
        classes: number of logits.
        pooling: max (the paper's, default), average or blur.
        average: True (default): the last maps are averaged to 7 × 7 cells, their size for images of
            224 pixels, so that the network accepts images of any size. False: the fully connected
            layers accept images of `size` only.

    Returns:
        The network, in training mode, with the weights that torch draws for its layers.

    Raises:
        ConvlensError: an unknown pooling, or a size that a layer reduces below one pixel.

    References:
        Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
        Recognition", ICLR 2015.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # shapes without memory for the weights
        ...     network = vgg("vgg11_bn", size=(32, 32), channels=3, classes=10)
        >>> network.features[0].weight.shape
        torch.Size([64, 3, 3, 3])
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
