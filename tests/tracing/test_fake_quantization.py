"""Networks that were prepared for quantization are read as those without the rounding."""

import pytest
import torch
from torch import nn
from torch.ao.quantization import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    QConfig,
    disable_observer,
    get_default_qat_qconfig,
    prepare_qat,
)

import convlens
from support.public_functions import SIZE, images

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Please use quant_min:UserWarning"),
]
_CONFIGURATIONS = {
    "fused": get_default_qat_qconfig("fbgemm"),
    "by channel and by tensor": QConfig(
        activation=FakeQuantize.with_args(observer=MovingAverageMinMaxObserver),
        weight=get_default_qat_qconfig("fbgemm").weight,
    ),
}


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.last = nn.ReLU(), nn.ReLU()
        self.add = torch.ao.nn.quantized.FloatFunctional()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.last(self.add.add(self.second(x), x))
        return self.fc(self.pool(x).flatten(1))


def prepared(configuration):
    torch.manual_seed(0)
    plain = Residual().eval()
    network = Residual().train()
    network.load_state_dict(plain.state_dict())
    network.qconfig = _CONFIGURATIONS[configuration]
    prepare_qat(network, inplace=True)
    network(images(4))
    network.eval().apply(disable_observer)
    return convlens.wrap(plain, size=SIZE), convlens.wrap(network, size=SIZE)


@pytest.mark.parametrize("configuration", _CONFIGURATIONS)
def test_layers_fields_and_maps_are_those_of_the_network_without_rounding(configuration):
    plain, quantized = prepared(configuration)
    expected, trace = convlens.trace(plain), convlens.trace(quantized)
    assert trace.final_layer is not None and expected.final_layer is not None
    cam, right = convlens.gradcam(quantized, images()), convlens.gradcam(plain, images())
    assert cam.classes.tolist() == right.classes.tolist()
    for own, other in zip(cam.maps, right.maps, strict=True):  # but for the rounding
        assert torch.corrcoef(torch.stack([own.flatten(), other.flatten()]))[0, 1] > 0.9
    for name in ("first", "second"):
        field = trace.field(trace.find_node(name))
        assert field.size == expected.field(expected.find_node(name)).size
    patches = convlens.patches(quantized, images(6), top=1, show=1)
    # The convolution runs in the code of a module that rounds its weights first.
    assert [layer.layer for layer in patches.layers] == ["first/conv2d", "second/conv2d"]
    assert convlens.anatomy(quantized).multiply_adds == convlens.anatomy(plain).multiply_adds


def test_weights_are_the_rounded_ones_that_the_network_convolves_with():
    _, quantized = prepared("fused")
    module = quantized.network.first
    rounded = module.weight_fake_quant(module.weight).detach()
    assert not torch.equal(rounded, module.weight)
    assert torch.equal(convlens.filters(quantized).weights, rounded)
