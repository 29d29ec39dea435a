"""The effective receptive field: exact on uniform kernels, zero outside the theoretical field."""

import numpy as np
import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensError, Result, effective_field, wrap
from convlens.analyses.effective_field.result import effective_area


def uniform_stack(depth, kernel):
    """A stack of convolutions with one channel and equal weights."""
    layers = []
    for _ in range(depth):
        convolution = nn.Conv2d(1, 1, kernel, bias=False)
        nn.init.constant_(convolution.weight, 1 / kernel**2)
        layers.append(convolution)
    return nn.Sequential(*layers)


def self_convolution(kernel, depth):
    """The exact field: `depth` uniform kernels convolved with each other, per axis, by NumPy."""
    line = np.ones(1)
    for _ in range(depth):
        line = np.convolve(line, np.full(kernel, 1 / kernel))
    return torch.from_numpy(np.outer(line, line))


def split(layer):
    """The gradient inside the theoretical field, and the whole map with that part set to zero."""
    top, bottom, left, right = layer.box
    outside = layer.gradient.clone()
    outside[top : bottom + 1, left : right + 1] = 0
    return layer.gradient[top : bottom + 1, left : right + 1], outside


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (2, 3), (5, 3), (3, 5)])
def test_uniform_kernels_give_their_self_convolution(depth, kernel):
    size = depth * (kernel - 1) + 1 + 6
    model = wrap(uniform_stack(depth, kernel), size=size, name="uniform")
    last = effective_field(model, torch.rand(3, 1, size, size)).layers[-1]
    expected = self_convolution(kernel, depth)
    inside, outside = split(last)
    assert last.size == tuple(expected.shape)
    torch.testing.assert_close(inside.double(), expected, rtol=1e-5, atol=1e-9)
    assert outside.abs().max() == 0


def test_effective_area_of_a_self_convolution():
    """The smallest set of pixels with 95 % of the sum, by trying sizes one after the other."""
    expected = self_convolution(3, 6)
    values = sorted(expected.flatten().tolist(), reverse=True)
    count = next(n for n in range(1, len(values) + 1) if sum(values[:n]) >= 0.95 * sum(values))
    layer = effective_field(wrap(uniform_stack(6, 3), size=15), torch.rand(2, 1, 15, 15)).layers[-1]
    assert layer.area == expected.numel() == 169
    assert layer.effective_area == count
    assert layer.ratio == count / 169


def test_uniform_map_needs_95_percent_of_its_pixels():
    assert effective_area(torch.full((10, 10), 0.1), 0.95) == 95
    assert effective_area(torch.zeros(4, 4), 0.95) == 0


class Residual(nn.Module):
    """Stride, padding, pooling and a residual branch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.pool(torch.relu(self.stem(x)))
        x = torch.relu(x + self.second(torch.relu(self.first(x))))
        return self.head(x.mean((2, 3)))


def test_nothing_lies_outside_the_theoretical_field():
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    field = effective_field(wrap(Residual(), size=64), images)
    assert [layer.layer for layer in field.layers] == ["stem", "first", "second"]
    for layer in field.layers:
        inside, outside = split(layer)
        assert outside.abs().max() == 0
        assert inside.max() > 0
        assert 0 < layer.ratio <= 1


@pytest.mark.filterwarnings("ignore:.*limits its outputs by tanh")
def test_gradient_is_the_mean_over_photos_by_finite_differences():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Softplus(), nn.Conv2d(3, 2, 3), nn.Tanh())
    mean, std = torch.tensor([0.2, 0.4])[:, None, None], torch.tensor([0.5, 0.25])[:, None, None]
    model = wrap(network.double(), size=7, mean=(0.2, 0.4), std=(0.5, 0.25))
    images = torch.rand(3, 2, 7, 7, dtype=torch.float64)
    layer = effective_field(model, images, layers=["2"], channel=1, batch_size=2).layers[0]
    expected = torch.zeros(7, 7, dtype=torch.float64)
    for image in images:
        for c, y, x in np.ndindex(2, 7, 7):
            outputs = []
            for step in (1e-5, -1e-5):
                moved = image.clone()
                moved[c, y, x] += step
                outputs.append(network((moved - mean) / std)[(1, *layer.position)].item())
            expected[y, x] += abs(outputs[0] - outputs[1]) / 2e-5 / 2 / 3
    torch.testing.assert_close(layer.gradient.double(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*limits its outputs by tanh")
def test_sides_differ_where_the_non_linearity_saturates():
    torch.manual_seed(0)
    model = wrap(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh()), size=8)
    images = torch.rand(2, 1, 8, 8)
    pre, post = (
        effective_field(model, images, layers=["0"], side=side, channel=0).layers[0]
        for side in ("pre", "post")
    )
    torch.testing.assert_close(split(pre)[0], model.network[0].weight[0, 0].detach().abs())
    assert post.gradient.sum() < pre.gradient.sum()


def test_dead_unit_has_no_effective_field():
    network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    network[0].weight.data.zero_()
    network[0].bias.data.fill_(-1.0)
    field = effective_field(wrap(network, size=8), torch.rand(1, 1, 8, 8))
    assert field.layers[0].effective_area == 0
    assert np.isnan(field.layers[0].ratio)
    assert "zero" in field.layers[0].summary()
    assert field.pictures()["fields"].dtype == torch.uint8


class Excited(nn.Module):
    """A convolution whose input depends on the whole image through a mean."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        x = self.first(x)
        return self.second(x * torch.sigmoid(x.mean((2, 3), keepdim=True)))


def test_global_operation_makes_the_image_the_theoretical_field():
    layer = effective_field(wrap(Excited(), size=12), torch.rand(1, 1, 12, 12)).layers[-1]
    assert layer.sees_whole_image
    assert layer.area == 144
    assert (layer.gradient > 0).all()


def test_batch_size_makes_no_difference():
    torch.manual_seed(0)
    model = wrap(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), size=16)
    images = torch.rand(5, 3, 16, 16)
    together, apart = (effective_field(model, images, batch_size=size) for size in (5, 1))
    for one_batch, single in zip(together.layers, apart.layers, strict=True):
        torch.testing.assert_close(one_batch.gradient, single.gradient, rtol=1e-5, atol=1e-9)


def test_saved_and_loaded(tmp_path):
    field = effective_field(wrap(uniform_stack(2, 3), size=9), torch.rand(2, 1, 9, 9))
    field.save(tmp_path / "field")
    assert (tmp_path / "field" / "fields.png").is_file()
    assert Result.load(tmp_path / "field") == field
    assert field["1"].layer == "1"
    assert field.figure().axes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": ["9"]}, "no layer '9'"),
        ({"channel": 4}, "1 channel"),
        ({"share": 1.5}, "between 0 and 1"),
    ],
)
def test_wrong_arguments(options, words):
    model = wrap(uniform_stack(1, 3), size=8)
    with pytest.raises(ConvlensError, match=words):
        convlens.effective_field(model, torch.rand(1, 1, 8, 8), **options)
