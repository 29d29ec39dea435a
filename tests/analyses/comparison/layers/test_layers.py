"""The first layer that differs: rounding errors are none, and every other change is located."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

import convlens
from support.compared_networks import (
    MEAN,
    STD,
    Normalization,
    changed,
    images,
    model,
    network,
    round_to_int8,
)


class Unfolded(nn.Module):
    """A convolution that adds its products in another order."""

    def __init__(self, convolution):
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, batch):
        columns = nn.functional.unfold(batch.flip(1), 3, padding=1)
        weight = self.weight.flip(1).flatten(1)
        sums = weight @ columns + self.bias[:, None]
        return sums.unflatten(2, batch.shape[2:])


def compare(module, first=None, count=2, seed=1):
    return convlens.compare_layers(first or model(), model(module), images(count, seed))


def test_equal_networks_are_equal_in_every_bit_at_every_node():
    layers = compare(network())
    assert layers.identical
    assert [layer.name for layer in layers.layers] == ["image", *"01234568"]
    assert layers.first_exceeding is None


def test_a_single_changed_weight_is_located():
    def change(module):
        module[4].weight[3, 1, 2, 0] += 0.01

    layers = compare(changed(change))
    first = layers.first_exceeding
    assert (first.name, first.channel, first.differing_channels, first.channels) == ("4", 3, 1, 12)
    maps = [nn.Sequential(*module[:5])(Normalization()(images(2))).detach()
            for module in (network(), changed(change))]  # fmt: skip
    difference = (maps[1] - maps[0])[:, 3].square().mean().sqrt()
    scale = torch.stack(maps).square().mean().sqrt()
    assert first.difference == pytest.approx(float(difference / scale), rel=1e-4)


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 204))]
)
def test_another_order_of_additions_is_rounding(seed):
    module = network(seed)
    other = copy.deepcopy(module)
    other[4] = Unfolded(other[4])
    layers = convlens.compare_layers(model(module), model(other), images(2, seed))
    assert layers.first_exceeding is None
    if seed == 0:
        assert "no layer differs by more than rounding errors" in layers.summary()


def test_folded_batch_normalization_is_rounding():
    module = network()
    folded = nn.Sequential(fuse_conv_bn_eval(module[0], module[1]), *module[2:])
    layers = compare(folded.eval())
    assert not layers.every_node
    assert [layer.name for layer in layers.layers] == ["image", "2", "5", "8"]
    assert layers.first_exceeding is None
    with torch.no_grad():
        folded[0].bias[5] += 0.001
    assert compare(folded).first_exceeding.name == "2"


def test_half_precision_is_compared_after_a_conversion():
    half = copy.deepcopy(network()).half()
    layers = convlens.compare_layers(model(), model(half), images(2))
    assert layers.converted == "the first network was converted to float16"
    assert "for this comparison, the first network was converted" in layers.summary()
    assert layers.first_exceeding is None
    with torch.no_grad():
        half[4].bias[2] += 0.1
    first = convlens.compare_layers(model(half), model(), images(2)).first_exceeding
    assert (first.name, first.channel) == ("4", 2)


def test_rounded_weights_are_no_rounding_errors():
    layers = compare(
        changed(lambda module: module[0].weight.copy_(round_to_int8(module[0].weight)))
    )
    assert layers.first_exceeding.name == "0"


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (lambda: model(nn.Sequential(Normalization(), *network())), "normalized twice"),
        (lambda: model(mean=(0.0,), std=(1.0,)), "images that are not normalized"),
        (lambda: model(mean=[4 * m for m in MEAN], std=[4 * s for s in STD]), "multiplied by 0.25"),
        (lambda: model(nn.Sequential(nn.ChannelShuffle(3), *network())), ""),
        (lambda: model(nn.Sequential(Reversed(), *network())), "channels in the order 2, 1, 0"),
    ],
)
def test_the_input_of_the_first_convolution_is_compared(second, words):
    layers = convlens.compare_layers(model(), second(), images(2))
    assert words in layers.input_change
    assert bool(words) == bool(layers.input_change)


class Reversed(nn.Module):
    """BGR for RGB."""

    def forward(self, batch):
        return batch.flip(1)


def test_an_input_that_the_network_pads_is_compared_without_its_border():
    padded = [nn.Sequential(*first, nn.ZeroPad2d(2), *network())
              for first in ((), (Normalization(),))]  # fmt: skip
    layers = convlens.compare_layers(model(padded[0]), model(padded[1]), images(2))
    assert layers.input_change == "images that are normalized twice"


def test_other_architectures_are_compared_at_images_and_logits_only():
    torch.manual_seed(5)
    other = nn.Sequential(
        nn.Conv2d(3, 5, 5), nn.ReLU(), nn.Conv2d(5, 7, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(7, 5),
    )  # fmt: skip
    layers = compare(other)
    assert [layer.name for layer in layers.layers] == ["image", "8"]
    assert "inner layers were not compared: the networks have other layers" in layers.summary()


class OnlySingle(nn.Module):
    """A layer that refuses double precision."""

    def forward(self, batch):
        if batch.dtype == torch.float64:
            raise RuntimeError("no kernel for double")
        return batch


def test_a_network_that_does_not_run_in_double_precision_is_compared_in_bits():
    modules = [network(), changed(lambda module: module[4].bias.add_(1e-3))]
    for module in modules:
        module.append(OnlySingle())
    layers = convlens.compare_layers(model(modules[0]), model(modules[1]), images(1))
    assert "no kernel for double" in layers.no_rounding
    assert layers.first_exceeding is None
    assert "not equal in every bit is 4" in layers.summary()


def test_memory_is_bounded_and_changes_nothing(monkeypatch):
    def change(module):
        module[4].weight[3, 1, 2, 0] += 0.01

    whole = compare(changed(change))
    monkeypatch.setattr(
        "convlens.analyses.comparison.layers.layer_comparison._VALUES_AT_ONCE", 4000
    )
    assert compare(changed(change)) == whole
