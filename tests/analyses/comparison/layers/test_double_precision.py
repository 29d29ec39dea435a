"""Double precision: depthwise convolutions against PyTorch's own, and what rounding they show."""

import copy

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.comparison.layers.double_precision import QuickDepthwise
from support.compared_networks import model


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 6, (3, 2), stride=(2, 1), padding=(0, 3), dilation=(1, 2), groups=6),
        nn.Conv2d(6, 6, 3, stride=(3, 2), dilation=2, groups=6),
        nn.Conv2d(6, 18, 3, groups=6),
        nn.Conv2d(6, 6, 4, padding="same", bias=False, groups=6),
        nn.Conv2d(6, 6, 3, padding=2, padding_mode="reflect", stride=3, groups=6),
        nn.Conv2d(6, 12, 3, groups=3),
        nn.ConvTranspose2d(6, 6, 3, stride=2, groups=6),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_depthwise_convolutions_are_those_of_torch(convolution):
    generator = torch.Generator().manual_seed(0)
    convolution = convolution.double()
    images = torch.randn(2, 6, 9, 8, generator=generator, dtype=torch.float64)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        batch = images.contiguous(memory_format=memory_format)
        with torch.no_grad():
            expected = convolution(batch)
            with QuickDepthwise():
                values = convolution(batch)
        assert values.stride() == expected.stride()
        torch.testing.assert_close(values, expected, rtol=1e-13, atol=1e-14)


def test_a_batch_of_other_types_is_convolved_by_torch():
    convolution = nn.Conv2d(6, 6, 3, groups=6)
    images = torch.rand(2, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = convolution(images)
        with QuickDepthwise():
            assert torch.equal(convolution(images), expected)


def test_rounding_of_depthwise_layers_is_what_torch_gives_in_double_precision():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()  # fmt: skip
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed[2].weight[5, 0, 1, 1] += 0.01
    images = torch.rand(3, 3, 24, 24)
    plain = {"mean": (0.0,), "std": (1.0,)}
    layers = convlens.compare_layers(model(network, **plain), model(changed, **plain), images)
    first = layers.first_exceeding
    assert (first.name, first.channel, first.differing_channels) == ("2", 5, 1)

    rounding, squares = 0.0, []
    for each in (network, changed):
        stem = copy.deepcopy(each[:3])
        with torch.no_grad():
            # One image at a time, as PyTorch's kernels may add in another order for a batch.
            values = torch.cat([stem(image[None]) for image in images]).double()
            exact = stem.double()(images.double())
        rounding += float((values - exact)[:, 5].square().mean().sqrt())
        squares.append(values.square().mean())
    assert first.rounding == pytest.approx(
        rounding / float(torch.stack(squares).mean().sqrt()), rel=1e-6
    )
