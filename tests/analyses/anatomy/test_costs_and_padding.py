"""Costs of recurrent and other layers, what is not counted, and the padding of every mode."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import convlens
from convlens.cli.show.anatomy import show_anatomy
from support.field_networks import Do


def anatomy_of(network, size=(9, 11)):
    return convlens.anatomy(convlens.wrap(network.eval(), size=size))


def layer_of(result, name):
    (layer,) = (layer for layer in result.layers if layer.name == name)
    return layer


class Rows(nn.Module):
    """A recurrent layer along the columns of a map whose rows are averaged."""

    def __init__(self, layer):
        super().__init__()
        self.conv, self.layer = nn.Conv2d(3, 8, 3, padding=1), layer

    def forward(self, x):
        steps = self.conv(x).mean(2).permute(2, 0, 1)
        return self.layer(steps)[0][-1]


@pytest.mark.filterwarnings("ignore:Rows. the network limits its outputs")  # it ends in a tanh
@pytest.mark.parametrize(
    ("layer", "gates", "layers", "directions"),
    [
        (nn.LSTM(8, 6), 4, 1, 1),
        (nn.LSTM(8, 6, num_layers=2, bidirectional=True), 4, 2, 2),
        (nn.GRU(8, 6), 3, 1, 1),
        (nn.RNN(8, 6, bidirectional=True), 1, 1, 2),
    ],
)
def test_recurrent_layers_use_each_matrix_at_each_step(layer, gates, layers, directions):
    steps, inputs, hidden = 11, 8, 6
    expected = 0
    for _ in range(layers):
        expected += directions * steps * gates * hidden * (inputs + hidden)
        inputs = directions * hidden
    result = anatomy_of(Rows(layer))
    assert layer_of(result, "layer").multiply_adds == expected
    assert result.not_counted == ()


class Attend(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.value = nn.Linear(4, 6), nn.Linear(4, 10)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        query, value = self.query(tokens), self.value(tokens)
        return F.scaled_dot_product_attention(query, query[:, :7], value[:, :7])


@pytest.mark.parametrize(
    "piece",
    [
        Attend(),
        nn.ConvTranspose2d(4, 6, 3, stride=2),
        Do(lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2)),
        Do(lambda x: torch.einsum("nchw,ndhw->ncd", x, x)),
        Do(lambda x: F.conv2d(x.view(-1, 2, *x.shape[2:]), torch.ones(5, 2, 3, 3).to(x))),
    ],
)
def test_costs_are_half_of_what_torch_counts(piece):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), piece)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.rand(1, 3, 9, 11))
    result = anatomy_of(network)
    assert 2 * result.multiply_adds == counter.get_total_flops()


def test_costs_of_bilinear_and_deformable_layers():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.deform = torchvision.ops.DeformConv2d(3, 4, 3)
            self.pair = nn.Bilinear(4, 4, 5)

        def forward(self, x):
            offsets = torch.zeros(len(x), 18, x.shape[2] - 2, x.shape[3] - 2).to(x)
            means = self.deform(x, offsets).mean((2, 3))
            return self.pair(means, means)

    result = anatomy_of(Pairs())
    assert layer_of(result, "deform").multiply_adds == 4 * 3 * 9 * 7 * 9
    assert layer_of(result, "pair").multiply_adds == 5 * 4 * 4 + 5 * 4


@torch.library.custom_op("convlens_tests::blend", mutates_args=())
def blend(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (x * weight.sum()).clone()


@blend.register_fake
def _(x, weight):
    return torch.empty_like(x)


class Blend(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))

    def forward(self, x):
        return blend(x, self.weight.t())


def test_an_operation_with_parameters_and_without_a_formula_is_not_counted(capsys):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), Blend())
    result = anatomy_of(network)
    assert result.not_counted == ("3",)
    assert layer_of(result, "3").not_counted == ("blend",)
    assert result.multiply_adds == layer_of(result, "0").multiply_adds > 0
    show_anatomy(result, result.layers, json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"at least {result.multiply_adds:,} multiply-adds" in shown
    assert "not counted, since there is no formula: 3" in shown
    with convlens.register_operation("convlens_tests::blend", multiply_adds=lambda view: 7):
        again = anatomy_of(network)
    assert again.not_counted == () and layer_of(again, "3").multiply_adds == 7


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(0, 2), (3, 1), "same"])
def test_padding_of_every_mode_satisfies_the_formula_for_the_output(mode, padding):
    kernel = (4, 5)
    stride = 1 if padding == "same" else (2, 1)
    network = nn.Conv2d(3, 4, kernel, stride, padding, padding_mode=mode)
    layer = anatomy_of(nn.Sequential(network)).layers[0]
    if padding == "same":
        assert layer.padding == (1, 2, 2, 2)
    else:
        assert layer.padding == (padding[0], padding[0], padding[1], padding[1])
    top, bottom, left, right = layer.padding
    height = (9 + top + bottom - kernel[0]) // layer.stride[0] + 1
    width = (11 + left + right - kernel[1]) // layer.stride[1] + 1
    assert layer.output == (1, 4, height, width)


class Blur(nn.Module):
    """A convolution that pads by itself, differently on each side."""

    def __init__(self, mode):
        super().__init__()
        self.mode = mode
        self.weight = nn.Parameter(torch.ones(3, 1, 3, 3))

    def forward(self, x):
        x = F.pad(x, (2, 1, 1, 0), mode=self.mode)
        return F.conv2d(x, self.weight, padding=1, groups=3)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_in_a_layers_own_code_adds_up(mode):
    layer = anatomy_of(nn.Sequential(Blur(mode))).layers[0]
    assert layer.padding == (2, 1, 3, 2) and layer.groups == 3


def test_a_layer_with_two_products_has_no_single_formula():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(torch.ones(4, 3, 3, 3))
            self.second = nn.Parameter(torch.ones(2, 4, 1, 1))

        def forward(self, x):
            return F.conv2d(F.conv2d(x, self.first), self.second)

    layer = anatomy_of(nn.Sequential(Two())).layers[0]
    assert layer.kernel is None and layer.by_formula is None
    assert layer.parameters == 4 * 27 + 8
