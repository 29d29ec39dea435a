"""The randomization check against scipy and a plain loop over layers."""

import copy

import pytest
import torch
import torchvision
from scipy.stats import spearmanr
from torch import nn

import convlens
from convlens import ConvlensError, gradcam, randomization, wrap
from convlens.analyses.gradcam.randomization import randomization_stages, rank_correlation
from convlens.models.loading.demo_photos import demo_photos
from convlens.results import Result
from convlens.tracing.tracer import trace

SIZE = 48


def images(count=3, seed=0):
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip


def drawn(parameter, generator):
    """A new tensor with the mean and deviation of the old one."""
    fresh = torch.empty_like(parameter).normal_(generator=generator)
    return fresh * parameter.std() + parameter.mean()


def test_cascade_equals_a_plain_one():
    plain = network()
    check = randomization(wrap(plain, size=SIZE), images(), classes=[1, 2], draws=2, seed=5)
    assert check.stages == ("7", "3", "1", "0")
    true = gradcam(wrap(plain, size=SIZE), images(), classes=[1, 2]).maps
    generator = torch.Generator().manual_seed(5)
    for draw in range(2):
        random_network = copy.deepcopy(plain)
        for stage, layer in enumerate((7, 3, 1, 0)):
            with torch.no_grad():
                for parameter in (random_network[layer].weight, random_network[layer].bias):
                    parameter.copy_(drawn(parameter, generator))
            maps = gradcam(wrap(random_network, size=SIZE), images(), classes=[1, 2]).maps
            for image in range(3):
                for rank in range(2):
                    pair = (maps[image, rank].flatten(), true[image, rank].flatten())
                    flat = bool((pair[0] == pair[0][0]).all())
                    expected = 0.0 if flat else spearmanr(*pair).statistic
                    correlation = float(check.correlations[stage, draw, image, rank])
                    assert correlation == pytest.approx(expected, abs=2e-3)
    pair = true[0, 1].flatten(), true[2, 1].flatten()
    assert float(check.between_images[1, 1]) == pytest.approx(spearmanr(*pair).statistic, abs=1e-5)
    assert check.means[3] == pytest.approx(float(check.correlations[3].mean()), abs=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_is_spearmans(ties):
    generator = torch.Generator().manual_seed(0)
    values, other_values = torch.rand(2, 7, 7, generator=generator)
    if ties:
        values, other_values = (values * 4).round(), other_values.clamp(min=0.6)
    assert rank_correlation(values, other_values) == pytest.approx(
        spearmanr(values.flatten(), other_values.flatten()).statistic, abs=1e-12
    )
    assert rank_correlation(values, 3 * values + 1) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert rank_correlation(values, torch.ones(7, 7)) == 0


@pytest.mark.slow
def test_maps_of_the_default_network_become_uncorrelated():
    model = convlens.load()
    photos = model.prepare([photo.path for photo in demo_photos()[:4]])
    check = randomization(model, photos, stages=2)
    assert abs(check.means[0]) < 0.4 and abs(check.means[-1]) < 0.2
    assert check.maps_change
    assert check.stages[0] == "classifier"
    assert f"{len(photos)} photos and 3 draws" in check.summary()


def test_a_map_of_the_image_alone_does_not_change():
    """Every channel is the gray image, and parameters of one element are not randomized."""

    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain, self.head = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
            self.wide = nn.Linear(2, 2, bias=False)
            nn.init.eye_(self.wide.weight)

        def forward(self, x):
            x = nn.functional.avg_pool2d(x.mean(1, keepdim=True), 4) * self.gain
            x = torch.cat([x, x], 1).relu()
            return x.mean((2, 3)) * self.head + self.wide(x.mean((2, 3))) * 1e-6

    check = randomization(wrap(Same(), size=SIZE), images(), classes=0)
    assert check.means[-1] > 0.99 and not check.maps_change
    assert check.mean_magnitudes[-1] > 0.99


def test_stages_are_blocks_from_the_top_and_hold_every_parameter():
    model = wrap(torchvision.models.resnet18(weights=None), size=64)
    parts = randomization_stages(trace(model), model.network, 100)
    assert [part[0].split(".")[0] for part in parts] == [
        "fc", "layer4", "layer4", "layer3", "layer3", "layer2", "layer2", "layer1", "layer1",
        "bn1", "conv1",
    ]  # fmt: skip
    own = {
        path
        for path, module in model.network.named_modules()
        if any(True for _ in module.parameters(False))
    }
    for most in (1, 2, 4, 100):
        fewer = randomization_stages(trace(model), model.network, most)
        assert len(fewer) == min(most, len(parts))
        assert sorted(path for part in fewer for path in part) == sorted(own)
        if most > 1:
            assert fewer[0] == ["fc"]


def test_one_copy_shares_what_is_not_yet_random():
    plain = network()
    weights = {name: parameter.data_ptr() for name, parameter in plain.named_parameters()}
    before = copy.deepcopy(plain.state_dict())
    calls = []

    def keep(done, total):
        calls.append((done, total))

    randomization(wrap(plain, size=SIZE), images(), stages=3, draws=2, progress=keep)
    assert calls == [(at, 6) for at in range(7)]
    for name, parameter in plain.named_parameters():
        assert parameter.data_ptr() == weights[name]
        assert torch.equal(parameter, before[name])


def test_seed_and_saving(tmp_path):
    model = wrap(network(), size=SIZE)
    check, same, other_seed = (randomization(model, images(), seed=seed) for seed in (0, 0, 1))
    assert check == same and check != other_seed
    check.save(tmp_path / "r")
    assert Result.load(tmp_path / "r") == check
    assert (tmp_path / "r" / "randomization.png").is_file()


def test_what_cannot_be_checked():
    with pytest.raises(ConvlensError, match="0 stages"):
        randomization(wrap(network(), size=SIZE), images(), stages=0)
    bare = nn.Sequential(nn.ReLU(), nn.AvgPool2d(24), nn.Flatten())
    with pytest.raises(ConvlensError, match="no parameters"):
        randomization(wrap(bare, size=SIZE), images())
    dense = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    with pytest.raises(ConvlensError, match="one vector of class scores"):
        randomization(wrap(dense, size=SIZE), images())
