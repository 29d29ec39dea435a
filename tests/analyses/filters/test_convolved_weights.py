"""Filters are the weights that the network convolves with, however it computes them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

import convlens
from convlens import ConvlensError

KERNEL = 5


class StandardizedConv2d(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class MaskedConv2d(nn.Conv2d):
    def forward(self, x):
        mask = torch.ones_like(self.weight)
        mask[:, :, KERNEL // 2 :] = 0
        return self._conv_forward(x, self.weight * mask, self.bias)


class RenormalizedConv2d(nn.Conv2d):
    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.5)
        return super().forward(x)


class BareFilters(nn.Module):
    """Convolves with a parameter of its own, without a convolution module."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.bank = nn.Parameter(torch.randn(4, 3, KERNEL, KERNEL))

    def forward(self, x):
        return F.conv2d(x, self.scale * self.bank)


class Symmetric(nn.Module):
    def forward(self, weight):
        return (weight + weight.flip(-1)) / 2


def symmetric(convolution):
    parametrize.register_parametrization(convolution, "weight", Symmetric())
    return convolution


def pruned(convolution):
    return prune.l1_unstructured(convolution, "weight", 0.5)


def convolution(cls=nn.Conv2d, **options):
    return cls(3, 4, KERNEL, **options)


LAYERS = {
    "plain": convolution,
    "weight norm": lambda: parametrizations.weight_norm(convolution()),
    "spectral norm": lambda: parametrizations.spectral_norm(convolution()),
    "weight norm by a hook": lambda: nn.utils.weight_norm(convolution()),
    "spectral norm by a hook": lambda: nn.utils.spectral_norm(convolution()),
    "pruned": lambda: pruned(convolution()),
    "parametrization of one's own": lambda: symmetric(convolution()),
    "standardized": lambda: convolution(StandardizedConv2d),
    "masked": lambda: convolution(MaskedConv2d),
    "renormalized": lambda: convolution(RenormalizedConv2d),
    "bare": BareFilters,
    "half": lambda: parametrizations.weight_norm(convolution()).bfloat16(),
}


def weights_by_gradients(layer):
    """The derivative of the output of one window by its pixels, `(channels, C, side, side)`."""
    dtype = next(layer.parameters()).dtype
    window = torch.rand(1, 3, KERNEL, KERNEL, dtype=dtype)
    jacobian = torch.autograd.functional.jacobian(layer, window)
    return jacobian[0, :, 0, 0, 0].float()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", LAYERS)
def test_filters_are_what_the_network_convolves_with(kind):
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    network = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()  # as loading weights does: no hook has computed .weight since
    model = convlens.wrap(network, size=12)
    for _ in range(2):
        filters = convlens.filters(model).weights
    expected = weights_by_gradients(layer)
    torch.testing.assert_close(filters, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(convlens.filters(model).weights, filters)  # also after the network has run


def test_the_first_convolution_that_runs_of_several_computed_ones():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.second = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3))
            self.first = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))

        def forward(self, x):
            return self.second(self.first(x)).mean((2, 3))

    network = Backwards().eval()
    model = convlens.wrap(network, size=12)
    for name in ("first", "second"):
        layer = network.get_submodule(name)
        assert torch.equal(convlens.filters(model, layer=name).weights, layer.weight.detach())
    assert convlens.filters(model).layer == "first"


def test_a_convolution_in_the_networks_own_code_has_the_name_of_its_operation():
    model = convlens.wrap(BareFilters(), size=12)
    filters = convlens.filters(model)
    assert filters.layer == convlens.trace(model).name(convlens.trace(model).convolutions[0].node)
    assert torch.equal(filters.weights, (model.network.scale * model.network.bank).detach())


@pytest.mark.filterwarnings("ignore:.*depend on the other images of its batch")
def test_weights_that_depend_on_the_image_are_refused():
    class Dynamic(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

        def forward(self, x):
            return F.conv2d(x, self.weight * x.mean()).mean((2, 3))

    model = convlens.wrap(nn.Sequential(Dynamic()), size=12)
    with pytest.raises(ConvlensError, match="from the image"):
        convlens.filters(model)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_network_stays_as_it_is():
    layer = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
    network = nn.Sequential(layer, nn.BatchNorm2d(4)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weight = layer.weight
    convlens.filters(convlens.wrap(network, size=12))
    assert layer.weight is weight and network.training
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
