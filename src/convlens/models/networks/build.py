"""The chapter's networks, by name."""

from collections.abc import Callable
from functools import partial

from torch import nn

from convlens.errors import ConvlensError, suggest
from convlens.models.networks.alexnet import alexnet
from convlens.models.networks.allconv import allconv
from convlens.models.networks.convnet import ConvNet
from convlens.models.networks.lenet import lenet5
from convlens.models.networks.vgg import STAGES, vgg

NETWORKS: dict[str, Callable[..., ConvNet]] = {
    "allconv": allconv,
    "lenet5": lenet5,
    "alexnet": alexnet,
    **{f"{name}{bn}": partial(vgg, f"{name}{bn}") for name in STAGES for bn in ("", "_bn")},
}


def build(
    name: str,
    *,
    size: int | tuple[int, int] = 224,
    channels: int = 3,
    classes: int = 1000,
    pooling: str = "max",
    average: bool | None = None,
) -> ConvNet:
    """One of the chapter's networks with weights drawn from torch's random state.

    AlexNet and VGG have torchvision's keys, whatever the pooling, so torchvision's weights load
    into them.

    Args:
        name: a key of `NETWORKS`: allconv, lenet5, alexnet, vgg16, vgg11, vgg13, vgg19, each VGG
            also with `_bn`.
        size: height and width of the images in pixels.
        channels: of the image.
        classes: number of logits.
        pooling: max, average or blur (anti-aliased).
        average: average pooling before the fully connected stage, so that images of any size
            fit; default: as the network has it (all but LeNet-5).

    Raises:
        ConvlensError: an unknown name or pooling, or a size that shrinks below one pixel in the
            stack (which layer, and the least size).
    """
    if name not in NETWORKS:
        raise ConvlensError(
            f"no network {name!r}{suggest(name, NETWORKS)}; there are {', '.join(NETWORKS)}"
        )
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width, channels, classes) < 1:
        raise ConvlensError(
            f"size {height} x {width}, {channels} channels, {classes} classes: each is at least 1"
        )
    options = {} if average is None else {"average": average}
    try:
        network = NETWORKS[name](
            size=(height, width), channels=channels, classes=classes, pooling=pooling, **options
        )
    except ConvlensError as error:
        raise ConvlensError(f"{name}: {error}") from None
    _draw(network)
    return network


def _draw(network: ConvNet) -> None:
    """Draw weights that keep the size of gradients from layer to layer.

    He et al., Delving Deep into Rectifiers, 2015; zero biases; the last layer starts near zero, so
    that all classes start about equally probable.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    last = network.classifier[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=0.01)
