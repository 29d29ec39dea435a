"""RepeatedGradCam: the maps of `gradcam` for one class after the other, and one forward pass."""

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.gradcam.repeated import RepeatedGradCam


class Network(nn.Module):
    """Two convolutions, a mean over positions and a linear layer."""

    def __init__(self, *, in_place=False):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.head = nn.Linear(5, 6)
        self.relu = nn.ReLU(inplace=in_place)

    def forward(self, images):
        maps = self.relu(self.second(self.relu(self.first(images))))
        return self.head(maps.mean((2, 3)))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("options", [{}, {"layer": "first"}, {"side": "post"}])
def test_maps_are_those_of_gradcam_in_any_order(options, in_place):
    network = Network(in_place=in_place)
    model, images = convlens.wrap(network, size=10), torch.rand(2, 3, 10, 10)
    explain = RepeatedGradCam(model, images, **options)
    for classes in ([3], [0, 5], [3], None, 1):
        assert explain(classes) == convlens.gradcam(model, images, classes=classes, **options)


def test_the_network_runs_once_and_is_left_untouched():
    network = Network().train()
    ran = []
    network.first.register_forward_hook(lambda *_: ran.append(True))
    model, image = convlens.wrap(network, size=10), torch.rand(1, 3, 10, 10)
    convlens.trace(model)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    del ran[:]
    explain = RepeatedGradCam(model, image)
    for target in range(6):
        explain([target])
    assert len(ran) == 1
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())


def test_unknown_classes_and_layers_are_refused():
    model, image = convlens.wrap(Network(), size=10), torch.rand(1, 3, 10, 10)
    with pytest.raises(convlens.ConvlensError, match="class 6 of 6"):
        RepeatedGradCam(model, image)([6])
    with pytest.raises(convlens.ConvlensError, match="nearest: first"):
        RepeatedGradCam(model, image, layer="firs")
