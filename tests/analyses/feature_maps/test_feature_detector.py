"""The numbers of one unit, against a patch that is cut out by hand and a plain sum."""

import pytest
import torch
from torch import nn

import convlens


def network():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, 3, dilation=2, groups=2), nn.ReLU(), nn.Conv2d(6, 2, 1),
    ).eval().requires_grad_(False)  # fmt: skip
    layers[1].running_mean.fill_(0.1)
    layers[1].running_var.fill_(0.25)
    return layers


def wrapped():
    return convlens.wrap(network(), mean=0.4, std=0.2, size=16)


def image():
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_first_layer_with_padding_and_batch_norm():
    model, x = wrapped(), image()
    unit = convlens.feature_detector(model, x, "0:2@0,3")
    layers = network()
    padded = torch.nn.functional.pad((x - 0.4) / 0.2, (1, 1, 1, 1))[0]
    patch = padded[:, 0:3, 6:9]
    assert torch.allclose(unit.patch, patch)
    assert torch.equal(unit.kernel, layers[0].weight[2])
    assert unit.sum == pytest.approx(float((patch * layers[0].weight[2]).sum()), abs=1e-5)
    assert unit.output == pytest.approx(unit.sum + unit.bias, abs=1e-5)
    assert unit.bias == float(layers[0].bias[2])
    assert unit.pre == pytest.approx((unit.output - 0.1) / 0.25**0.5, rel=1e-3)
    assert unit.post == max(0.0, unit.pre)
    assert unit.box == (-1, 1, 5, 7)
    assert unit.reads_image
    expected = torch.relu(layers[1](layers[0]((x - 0.4) / 0.2)))[0, 2]
    assert torch.allclose(unit.feature_map, expected, atol=1e-5)


def test_groups_and_dilation_inside():
    model, x = wrapped(), image()
    unit = convlens.feature_detector(model, x, "3:4@1,2")
    layers = network()
    hidden = layers[:3]((x - 0.4) / 0.2)[0]
    assert torch.allclose(unit.patch, hidden[2:4, 1:6:2, 2:7:2], atol=1e-5)
    assert unit.output == pytest.approx(float(layers[:4]((x - 0.4) / 0.2)[0, 4, 1, 2]), abs=1e-5)
    assert not unit.reads_image
    unit.figure()


def test_no_patch_of_the_norm_has_a_greater_sum():
    unit = convlens.feature_detector(wrapped(), image(), "0:1")
    generator = torch.Generator().manual_seed(2)
    patches = torch.randn(2000, *unit.patch.shape, generator=generator)
    patches *= unit.patch.norm() / patches.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    sums = (patches * unit.kernel).flatten(1).sum(dim=1)
    assert float(sums.max()) < unit.greatest_sum
    assert float(unit.best_patch.norm()) == pytest.approx(float(unit.patch.norm()), rel=1e-5)
    assert float((unit.best_patch * unit.kernel).sum()) == pytest.approx(
        unit.greatest_sum, rel=1e-5
    )
    assert unit.similarity == pytest.approx(unit.sum / unit.greatest_sum)


def test_defaults():
    model, x = wrapped(), image()
    strongest = convlens.feature_detector(model, x, "0:3")
    maps = network()[0]((x - 0.4) / 0.2)[0]
    assert strongest.position == divmod(int(maps[3].argmax()), maps.shape[2])
    best = convlens.feature_detector(model, x)
    assert best.layer == "0"
    units = [convlens.feature_detector(model, x, f"0:{channel}") for channel in range(4)]
    assert best.similarity == max(unit.similarity for unit in units)
    texts = [text.get_text() for text in best.figure().axes[0].texts]
    assert "best patch of its norm" in texts
    assert any(text.startswith("sum w·x = ") for text in texts)


def test_refusals():
    model, x = wrapped(), image()
    for channel, message in (
        ("0", "LAYER:K"), ("2:0", "2 is no convolution"), ("0:4", "0 to 3"),
        ("0:1@8,0", "given 8,0"),
    ):  # fmt: skip
        with pytest.raises(convlens.ConvlensError, match=message):
            convlens.feature_detector(model, x, channel)
    with pytest.raises(convlens.ConvlensError, match="2 images"):
        convlens.feature_detector(model, torch.rand(2, 3, 16, 16))
    up = convlens.wrap(nn.Sequential(nn.ConvTranspose2d(3, 2, 2), nn.ReLU()), size=8)
    assert up.channels == 3
    with pytest.raises(convlens.ConvlensError, match="transposed"):
        convlens.feature_detector(up, torch.rand(1, 3, 8, 8))
