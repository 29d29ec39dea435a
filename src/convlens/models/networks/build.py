"""Build the chapter's networks by name."""

from collections.abc import Callable
from functools import partial

from torch import nn

from convlens.data.preprocessing import check_image_size
from convlens.errors import ConvlensError
from convlens.models.networks.alexnet import alexnet
from convlens.models.networks.allconv import allconv
from convlens.models.networks.convnet import ConvNet
from convlens.models.networks.lenet import lenet5
from convlens.models.networks.names import VGG_NAMES, check_network_name
from convlens.models.networks.vgg import vgg

NETWORKS: dict[str, Callable[..., ConvNet]] = {
    "allconv": allconv,
    "lenet5": lenet5,
    "alexnet": alexnet,
    **{f"{name}{bn}": partial(vgg, f"{name}{bn}") for name in VGG_NAMES for bn in ("", "_bn")},
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
    """Build one of the chapter's networks, with weights drawn from torch's random state.

    AlexNet and VGG have torchvision's parameter names with any pooling, so torchvision's weights
    can be loaded into them.

    Args:
        name: allconv, lenet5, alexnet, vgg11, vgg13, vgg16 or vgg19; each VGG also with `_bn` for
            batch normalization.
        size: height and width of the images in pixels; default 224.
        channels: number of channels of the images; default 3.
        classes: number of logits; default 1000.
        pooling: max, average or blur (anti-aliased); default "max".
        average: whether average pooling before the fully connected stage makes the network accept
            images of any size; default: True for all networks but LeNet-5.

    Returns:
        The network, in training mode.

    Raises:
        ConvlensError: an unknown name or pooling, or a size that a layer reduces below one pixel;
            the message names the layer and the smallest size.

    Example:
        >>> import torch, convlens
        >>> network = convlens.build("lenet5", size=28, channels=1, classes=10)
        >>> network(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    check_network_name(name)
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width, channels, classes) < 1:
        raise ConvlensError(
            f"size {height} x {width}, {channels} channels, {classes} classes; give "
            f"at least 1 of each"
        )
    check_image_size(height, width)
    options = {} if average is None else {"average": average}
    try:
        network = NETWORKS[name](
            size=(height, width), channels=channels, classes=classes, pooling=pooling, **options
        )
    except ConvlensError as error:
        raise ConvlensError(f"{name}: {error}") from None
    _draw_weights(network)
    return network


def _draw_weights(network: ConvNet) -> None:
    """Draw weights that keep the variance of gradients from layer to layer.

    He et al., Delving Deep into Rectifiers, 2015. Biases are zero, and the last layer starts near
    zero, so that all classes start with about the same probability.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    last = network.classifier[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=0.01)
