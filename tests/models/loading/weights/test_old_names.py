"""Published weights with old names, and torchvision's auxiliary classifiers."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models.convnext import ConvNeXt
from timm.models.densenet import DenseNet as TimmDenseNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torchvision.models import DenseNet, GoogLeNet, SqueezeNet

from convlens.errors import ConvlensError
from convlens.models.loading.weights.fitting import load_weights
from convlens.models.loading.weights.weight_files import WeightFile
from support.tensors import same_tensors


def file(state):
    return WeightFile(Path("w.pt"), {"state_dict": state}, {})


@pytest.mark.parametrize("network_class", [DenseNet, TimmDenseNet])
def test_old_names_of_dense_layers(network_class):
    options: dict[str, Any] = {"growth_rate": 4, "block_config": (2, 2), "num_classes": 3}
    trained, network = network_class(**options), network_class(**options)
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): tensor
        for key, tensor in trained.state_dict().items()
    }
    assert old.keys() != network.state_dict().keys() and not same_tensors(
        network.state_dict(), trained.state_dict()
    )
    assert "translated by the filter" in load_weights(network, file(old)).summary()
    assert same_tensors(network.state_dict(), trained.state_dict())
    with pytest.raises(ConvlensError, match="does not fit"):
        load_weights(nn.Sequential(nn.Conv2d(3, 4, 3)), file(old))


def test_a_checkpoint_filter_of_timm_that_takes_the_network():
    options: dict[str, Any] = {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 16), "num_classes": 3}
    trained, network = ConvNeXt(**options), ConvNeXt(**options)
    old = {}
    for key, tensor in trained.state_dict().items():  # the names of the authors of ConvNeXt
        name = re.sub(r"^stem", "downsample_layers.0", key).replace(".blocks.", ".")
        name = re.sub(r"stages\.(\d)\.downsample", r"downsample_layers.\1", name)
        name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        old[name.replace("head.norm", "norm").replace("head.fc.", "head.")] = tensor
    assert load_weights(network, file(old)).renamed and same_tensors(
        network.state_dict(), trained.state_dict()
    )


def test_position_embeddings_that_timm_resamples():
    options: dict[str, Any] = {
        "patch_size": 4,
        "embed_dim": 8,
        "depth": 1,
        "num_heads": 2,
        "num_classes": 3,
    }
    trained = VisionTransformer(img_size=32, **options)
    network = VisionTransformer(img_size=16, **options)
    assert load_weights(network, file(trained.state_dict())).renamed
    assert network.pos_embed.shape == (1, 1 + 16, 8)
    assert torch.equal(network.pos_embed[:, 0], trained.pos_embed[:, 0])
    assert torch.equal(network.patch_embed.proj.weight, trained.patch_embed.proj.weight)


def test_auxiliary_classifiers_are_for_the_training_only():
    torch.manual_seed(0)
    trained = GoogLeNet(num_classes=3, aux_logits=False, init_weights=False).eval()
    network = GoogLeNet(num_classes=3, aux_logits=True, init_weights=False).eval()
    loaded = load_weights(network, file(trained.state_dict()))
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(network(images), trained(images)) and loaded.dropped == ("aux1", "aux2")
    assert "without aux1, aux2, which only a training needs" in loaded.summary()


def test_a_classifier_that_is_a_convolution():
    trained, network = SqueezeNet("1_1", num_classes=3).eval(), SqueezeNet("1_1").eval()
    assert load_weights(network, file(trained.state_dict())).classes == 3
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(network(images), trained(images))
