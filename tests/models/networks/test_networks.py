"""The chapter's networks, compared with torchvision's and with plain loops."""

import re
from itertools import pairwise

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError, build
from convlens.arithmetic import count_parameters
from convlens.models.networks.build import NETWORKS
from convlens.models.networks.convnet import feature_map_sizes
from convlens.models.networks.pooling import POOLINGS, make_pooling

KNOWN = [name for name in NETWORKS if name not in ("allconv", "lenet5")]


@pytest.mark.parametrize("name", KNOWN)
def test_keys_and_shapes_are_torchvisions(name):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name).state_dict()
    with torch.device("meta"):
        ours = build(name).state_dict()
    assert list(ours) == list(theirs)
    assert all(ours[key].shape == theirs[key].shape for key in theirs)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 96), ("vgg11", 64), ("vgg16_bn", 40)])
def test_torchvisions_weights_give_torchvisions_answers(name, size):
    torch.manual_seed(1)
    theirs = torchvision.models.get_model(name).eval()
    ours = build(name, size=size).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected, result = theirs(images), ours(images)
    assert expected.std() > 1e-3
    assert (result - expected).abs().max() < 1e-5


@pytest.mark.parametrize("kind", POOLINGS)
def test_pooling_leaves_keys_alone(kind):
    with torch.device("meta"):
        assert list(build("vgg16", pooling=kind).state_dict()) == list(build("vgg16").state_dict())


def test_vgg16_is_the_figures():
    """Sizes and filters of every stage, and the parameters that the chapter counts."""
    with torch.device("meta"):
        network = build("vgg16")
    sizes = dict(feature_map_sizes(network.features, (224, 224)))
    filters = {
        name: layer.out_channels
        for name, layer in network.features.named_modules()
        if isinstance(layer, nn.Conv2d)
    }
    seen = [(sizes[name][0], count) for name, count in filters.items()]
    assert seen == (
        [(224, 64)] * 2 + [(112, 128)] * 2 + [(56, 256)] * 3 + [(28, 512)] * 3 + [(14, 512)] * 3
    )
    counted = sum(p.numel() for p in network.parameters())
    chain = [3, *filters.values()]
    convolutions = sum(count_parameters(3, before, after) for before, after in pairwise(chain))
    dense = [7 * 7 * 512, 4096, 4096, 1000]
    stages = sum((before + 1) * after for before, after in pairwise(dense))
    assert counted == convolutions + stages == 138_357_544


@given(
    st.sampled_from(list(NETWORKS)),
    st.sampled_from(POOLINGS),
    st.integers(12, 90),
    st.integers(12, 90),
)
@settings(max_examples=60, deadline=None)
def test_sizes_are_those_that_really_come_out(name, kind, height, width):
    """The formula along the stack, against what torch makes of it; and the least size."""
    with torch.device("meta"):
        try:
            network = build(name, size=(height, width), channels=2, classes=5, pooling=kind).eval()
        except ConvlensError as error:
            least = int(re.search(r"at least (\d+) x", str(error))[1])
            assert min(height, width) < least
            build(name, size=least, channels=2, classes=5, pooling=kind)
            with pytest.raises(ConvlensError, match="too small: layer features"):
                build(name, size=least - 1, channels=2, classes=5, pooling=kind)
            return
        images = torch.zeros(1, 2, height, width)
        *_, (_, last) = feature_map_sizes(network.features, (height, width))
        assert network.features(images).shape[-2:] == last
        assert network(images).shape == (1, 5)


def test_average_pooling_lets_other_sizes_in():
    torch.manual_seed(0)
    plain = build("lenet5", size=28, channels=1, classes=10)
    pooled = build("lenet5", size=28, channels=1, classes=10, average=True)
    pooled.load_state_dict(plain.state_dict())
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(plain(images), pooled(images))
    assert pooled(torch.randn(2, 1, 64, 50)).shape == (2, 10)
    with pytest.raises(RuntimeError):
        plain(torch.randn(2, 1, 64, 50))


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2)])
def test_blur_pooling_against_its_definition(kernel, stride):
    """Greatest in each window at stride 1, edges repeated, then 1 2 1 on both axes, subsampled."""
    maps = torch.randn(2, 3, 11, 8)
    dense = F.max_pool2d(maps, kernel, 1)
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    binomial = (row[:, None] * row).expand(3, 1, 3, 3)
    blurred = F.conv2d(F.pad(dense, (1, 1, 1, 1), mode="replicate"), binomial, groups=3)
    result = make_pooling("blur", kernel, stride)(maps)
    assert torch.allclose(result, blurred[:, :, ::stride, ::stride], atol=1e-6)
    assert result.shape == make_pooling("max", kernel, stride)(maps).shape


def test_blur_keeps_more_when_the_image_moves():
    """What anti-aliasing is for: a shift by one pixel changes the pooled map less."""
    torch.manual_seed(0)
    maps = torch.randn(20, 4, 33, 33)

    def change(kind):
        layer = make_pooling(kind)
        before, after = layer(maps[..., :-1]), layer(maps[..., 1:])
        return ((before - after) ** 2).mean() / before.var()

    assert change("blur") < 0.5 * change("max")


def test_weights_are_drawn_from_the_random_state():
    torch.manual_seed(3)
    first = build("allconv", size=8, channels=1, classes=2)
    torch.manual_seed(3)
    two = build("allconv", size=8, channels=1, classes=2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), two.parameters(), strict=True))
    assert 0.04 < first.features[4].weight.std() < 0.08  # sqrt(2 / (9 x 64)) = 0.059


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "vgg61"}, "no network 'vgg61'; nearest: vgg"),
        (
            {"name": "vgg16", "size": 31},
            r"features.30 \(2 x 2 pooling\).*at least 32 x 32, or choose another network",
        ),
        ({"name": "vgg16", "pooling": "mx"}, "no pooling 'mx'; nearest: max"),
        ({"name": "allconv", "average": False}, "no fully connected stage"),
        ({"name": "lenet5", "classes": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_built(options, words):
    with torch.device("meta"), pytest.raises(ConvlensError, match=words):
        build(**options)
