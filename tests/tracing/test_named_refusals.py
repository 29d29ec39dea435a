"""Refusals after an operation without a rule, or without a gradient, name the operation."""

import pytest
import torch
from torch import nn

import convlens


class Spectrum(nn.Module):
    """A convolution of the amplitudes of a Fourier transform."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(torch.relu(self.conv(torch.fft.fft2(x).abs())).mean((2, 3)))


class Levels(nn.Module):
    """A convolution of the levels into which feature maps are sorted."""

    levels: torch.Tensor

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 5)
        self.register_buffer("levels", torch.linspace(0, 1, 9))

    def forward(self, x):
        levels = torch.bucketize(torch.relu(self.first(x)).contiguous(), self.levels).float()
        return self.head(torch.relu(self.second(levels)).mean((2, 3)))


class Rounded(Levels):
    """The same with rounded maps, whose gradient is 0 everywhere."""

    def forward(self, x):
        levels = torch.round(8 * torch.relu(self.first(x)))
        return self.head(torch.relu(self.second(levels)).mean((2, 3)))


class Quantiles(Levels):
    """The same with levels that depend on the whole image."""

    def forward(self, x):
        maps = torch.relu(self.first(x)).contiguous()
        levels = torch.bucketize(maps, self.levels * maps.amax()).float()
        return self.head(torch.relu(self.second(levels)).mean((2, 3)))


class Identity(torch.autograd.Function):
    """Rounds, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class StraightThrough(Levels):
    """The same with rounding that has a gradient of its own."""

    def forward(self, x):
        levels = Identity.apply(8 * torch.relu(self.first(x)))
        return self.head(torch.relu(self.second(levels)).mean((2, 3)))


def images():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def wrap(network):
    torch.manual_seed(0)
    return convlens.wrap(network(), size=16)


@pytest.mark.parametrize(
    "analyze",
    [
        lambda model: convlens.feature_maps(model, images()[:1], layer="conv"),
        lambda model: convlens.feature_maps(model, images()[:1]),
        lambda model: convlens.gradcam(model, images()),
        lambda model: convlens.gradcam(model, images(), layer="conv"),
        lambda model: convlens.patches(model, images()),
        lambda model: convlens.shift(model, images()),
        lambda model: convlens.dream(model, images()[:1], steps=1, octaves=1),
    ],
)
def test_a_map_after_a_fourier_transform(analyze):
    with pytest.raises(convlens.ConvlensError, match="_fft_c2c"):
        analyze(wrap(Spectrum))


def test_anatomy_says_why_there_is_no_final_layer():
    assert "_fft_c2c" in convlens.anatomy(wrap(Spectrum)).final_reason


def test_levels_keep_rows_and_columns():
    fixed = convlens.receptive_field(wrap(Levels), images()[:1], layer="second", at=(4, 4))
    assert fixed.size == (5, 5) and not fixed.sees_whole_image  # two convolutions of 3 × 3
    with pytest.warns(convlens.ConvlensWarning, match="other images"):
        of_image = convlens.trace(wrap(Quantiles))
    assert of_image.unknown or of_image.field(of_image.find_node("second")).sees_whole_image


@pytest.mark.parametrize(("network", "name"), [(Levels, "bucketize"), (Rounded, "round")])
def test_grad_cam_before_an_operation_without_a_gradient(network, name):
    model = wrap(network)
    expected = f"no gradient reaches first .*: {name}, through which the class scores"
    with pytest.raises(convlens.ConvlensError, match=expected):
        convlens.gradcam(model, images(), layer="first")
    assert bool(convlens.gradcam(model, images(), layer="second").maps.any())


def test_attacks_and_dreams_name_it():
    with pytest.raises(convlens.ConvlensError, match="bucketize, through which"):
        convlens.fgsm(wrap(Levels), images())
    with pytest.raises(convlens.ConvlensError, match="bucketize, through which"):
        convlens.maximize(wrap(Levels), "second:1", steps=1)


def test_a_gradient_of_its_own_is_used():
    cam = convlens.gradcam(wrap(StraightThrough), images(), layer="first")
    assert bool(cam.maps.any())


class Against(nn.Module):
    """The score of class 0 is always 0, against which the other one is learned."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 1)

    def forward(self, x):
        score = self.head(torch.relu(self.conv(x)).mean((2, 3)))
        return torch.cat([torch.zeros_like(score).detach(), score], 1)


def test_a_class_whose_score_is_constant_has_a_map_of_zeros():
    maps = convlens.gradcam(wrap(Against), images(), classes=[0, 1]).maps
    assert not maps[:, 0].any() and bool(maps[:, 1].any())
    assert not convlens.gradcam(wrap(Against), images(), classes=[0]).maps.any()
