"""What a model was not given."""

import pytest
import torch
from torch import nn

from convlens import load, missing_settings, wrap

LABELS = ["cat", "dog"]


class Scaled(nn.Module):
    """A network that normalizes its images itself."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std
        self.conv = nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect")

    def forward(self, images):
        return self.conv((images - self.mean) / self.std).mean(dim=(2, 3))


def started(model):
    return {sentence.partition(" is set")[0].partition(" are set")[0].partition(":")[0]
            for sentence in missing_settings(model, weights=False)}  # fmt: skip


@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1), (0, 255)])
def test_no_normalization(bounds):
    network = nn.Conv2d(3, 2, 3, padding=1)
    model = wrap(network, size=8, labels=LABELS, bounds=bounds)
    assert started(model) == {"no normalization"}
    (sentence,) = missing_settings(model, weights=False)
    assert f"pixels of {bounds[0]} to {bounds[1]} as they are" in sentence


@pytest.mark.parametrize(
    "settings", [{"mean": 0.5}, {"std": 0.2}, {"mean": (0.4, 0.4, 0.3)}, {"center": "image"}]
)
def test_a_normalization_of_the_model(settings):
    assert started(wrap(nn.Conv2d(3, 2, 3), size=8, labels=LABELS, **settings)) == set()


@pytest.mark.parametrize(
    "network",
    [
        Scaled(0.5, 0.5),
        Scaled(0, 1 / 255),
        nn.Sequential(nn.BatchNorm2d(3).eval().requires_grad_(False), nn.Conv2d(3, 2, 3)),
    ],
    ids=["mean and std", "scale", "batch normalization"],
)
def test_a_network_that_normalizes_itself(network):
    if isinstance(network, nn.Sequential):
        network[0].running_mean.fill_(0.5)
    assert started(wrap(network, size=8, labels=LABELS)) == set()


def test_padding_before_the_first_convolution_is_no_normalization():
    network = nn.Sequential(nn.ZeroPad2d(2), nn.Conv2d(3, 2, 3))
    assert started(wrap(network, size=8, labels=LABELS)) == {"no normalization"}


def test_no_class_names():
    assert started(wrap(nn.Conv2d(3, 2, 3), size=8, mean=0.5)) == {"no class names"}


def test_untrained_weights():
    torch.manual_seed(0)
    model = wrap(nn.Conv2d(3, 64, 3), size=8, mean=0.5, labels=LABELS)
    (sentence,) = missing_settings(model)
    assert sentence.startswith("the weights look untrained")
    assert missing_settings(model, weights=False) == ()


def test_a_network_without_convolutions():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    assert started(wrap(network, size=8, labels=LABELS)) == {"no normalization"}


def test_a_network_of_a_library_lacks_only_what_random_weights_lack():
    assert len(missing_settings(load("torchvision:squeezenet1_1@random", size=64))) == 2
