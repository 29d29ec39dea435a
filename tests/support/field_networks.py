"""Networks whose receptive fields are checked, pieces to build others, and what they give."""

import timm
import torch
import torchvision
from torch import nn

from convlens import trace, wrap

NETWORKS = {
    "alexnet": lambda: torchvision.models.alexnet(weights=None),
    "vgg16": lambda: nn.Sequential(*torchvision.models.vgg16(weights=None).features),
    "googlenet": lambda: torchvision.models.googlenet(
        weights=None, init_weights=False, aux_logits=False
    ),
    "resnet50": lambda: torchvision.models.resnet50(weights=None),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(weights=None),
    "tf_efficientnet_lite0": lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False),
    "inception_v3": lambda: torchvision.models.inception_v3(weights=None, init_weights=False),
    "densenet121": lambda: torchvision.models.densenet121(weights=None),
    "convnext_tiny": lambda: torchvision.models.convnext_tiny(weights=None),
    "efficientnet_b0": lambda: torchvision.models.efficientnet_b0(weights=None),
    "squeezenet1_0": lambda: torchvision.models.squeezenet1_0(weights=None),
    "fcn_resnet50": lambda: torchvision.models.segmentation.fcn_resnet50(
        weights=None, weights_backbone=None
    ),
    "timm_resnet50": lambda: timm.create_model("resnet50", pretrained=False),
    "regnety_004": lambda: timm.create_model("regnety_004", pretrained=False),
}


class Do(nn.Module):
    """A function as a module, so that a plain hook sees what it gives."""

    def __init__(self, function, name=""):
        super().__init__()
        self.function = function
        self.name = name

    def forward(self, x):
        return self.function(x)

    def extra_repr(self):
        return self.name


class Branches(nn.Module):
    """Several modules on one input, and what is made of their outputs."""

    def __init__(self, join, *branches):
        super().__init__()
        self.join = join
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return self.join([branch(x) for branch in self.branches])


def concatenated(*branches):
    return Branches(lambda parts: torch.cat(parts, 1), *branches)


def conv(in_channels, out_channels, kernel=3, **options):
    return nn.Conv2d(in_channels, out_channels, kernel, **options)


def traced(network, size):
    torch.manual_seed(0)
    return trace(wrap(network, size=size))


def field_size(result, name):
    return result.field(result.find_node(name)).size


class Seen(Exception):
    pass


def captured(network, path, images):
    """What the module at `path` gives first, by a plain hook that goes no further."""

    def stop(module, inputs, output):
        raise Seen(output)

    handle = network.get_submodule(path).register_forward_hook(stop)
    try:
        with torch.set_grad_enabled(images.requires_grad):
            network(images)
    except Seen as seen:
        return seen.args[0]
    finally:
        handle.remove()


def span(low, high, length):
    return range(max(low, 0), min(high, length - 1) + 1)
