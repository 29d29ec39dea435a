"""Results that depend on the other images of a batch are reported."""

import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensWarning
from support.public_functions import SIZE, images


def network_with(*middle):
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), *middle, nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    ).eval()  # fmt: skip


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


DEPENDENT = {
    "batch norm without statistics": nn.BatchNorm2d(4, track_running_stats=False),
    "minus the mean of the batch": Function(lambda x: x - x.mean(0, keepdim=True)),
    "divided by the largest": Function(lambda x: x / x.abs().max()),
    "standard deviation of all": Function(lambda x: x / x.std()),
    "mean of channels in front": Function(
        lambda x: x - x.permute(1, 0, 2, 3).flatten(1).mean(1)[None, :, None, None]
    ),
    "mean of images behind": Function(lambda x: x - x.movedim(0, 3).mean(3)[None]),
    "Fourier transform over images": Function(lambda x: torch.fft.fft(x, dim=0).real),
    "distances to other images": Function(
        lambda x: x * torch.cdist(x.flatten(1), x.flatten(1)).mean(1).view(-1, 1, 1, 1)
    ),
}
INDEPENDENT = {
    "batch norm": nn.BatchNorm2d(4),
    "instance norm": nn.InstanceNorm2d(4),
    "group norm": nn.GroupNorm(2, 4),
    "mean of each image": Function(lambda x: x - x.mean((1, 2, 3), keepdim=True)),
    "layer norm": Function(lambda x: nn.functional.layer_norm(x, x.shape[1:])),
    "norm of every channel": Function(
        lambda x: nn.functional.layer_norm(x.flatten(0, 1), x.shape[2:]).view_as(x)
    ),
    "Fourier transform over rows": Function(lambda x: x + torch.fft.fft(x, dim=2).real),
    "mean of each image behind": Function(
        lambda x: (x.movedim(0, 3) - x.movedim(0, 3).mean((0, 1, 2))).movedim(3, 0)
    ),
}


def differs_beside_another(network):
    pair = torch.cat([0.2 * images(1), images(2)[1:]])
    with torch.no_grad():
        return not torch.allclose(network(pair)[:1], network(pair[:1]), rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*(which runs later|may be the non-linearity)")
@pytest.mark.parametrize("name", DEPENDENT)
def test_dependence_is_reported_by_every_analysis_and_in_results(name):
    network = network_with(DEPENDENT[name])
    assert differs_beside_another(network)
    model = convlens.wrap(network, size=SIZE)
    for function in (convlens.predict, convlens.gradcam, convlens.patches):
        with pytest.warns(ConvlensWarning, match="other images of its batch"):
            function(model, images())
    with pytest.warns(ConvlensWarning):
        attack = convlens.fgsm(model, images())
    assert "results depend on the batch" in {entry.name for entry in attack.diagnostics}
    with pytest.warns(ConvlensWarning):
        assert "other images" in convlens.anatomy(model).valid_for


@pytest.mark.parametrize("name", INDEPENDENT)
def test_networks_that_treat_images_alone_are_not_accused(name):
    network = network_with(INDEPENDENT[name])
    assert not differs_beside_another(network)
    trace = convlens.trace(convlens.wrap(network, size=SIZE))
    assert not trace.depends_on_batch and trace.warnings == ()
