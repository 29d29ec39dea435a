"""Tuning: units whose orientation, frequency and kind are known by how they were made."""

import math

import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensError, orientation_tuning, wrap
from convlens.analyses.gabor.bank import gabor_bank
from convlens.drawing import enlarge, sequential_colors
from support.drawn import corner

FREQUENCIES = (0.0625, 0.08838835, 0.125, 0.1767767, 0.25)


class Energy(nn.Module):
    """Squares of a quadrature pair, summed, and a rectifier: a complex cell."""

    def __init__(self, bank):
        super().__init__()
        count = len(bank) // 2
        self.filters = nn.Conv2d(1, len(bank), bank.shape[-1], bias=False)
        self.sum = nn.Conv2d(len(bank), count, 1, bias=False)
        with torch.no_grad():
            self.filters.weight.copy_(bank[:, None])
            self.sum.weight.copy_(torch.cat([torch.eye(count)] * 2, 1)[:, :, None, None])
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.sum(self.filters(x) ** 2))


def simple_cells(bank, inplace=True):
    layer = nn.Conv2d(1, len(bank), bank.shape[-1], bias=False)
    with torch.no_grad():
        layer.weight.copy_(bank[:, None])
    return nn.Sequential(layer, nn.ReLU(inplace=inplace))


@pytest.fixture(scope="module")
def bank():
    """Odd filters of six orientations at two frequencies, then the even ones."""
    odd = gabor_bank(orientations=6, wavelengths=(1 / 0.08838835, 1 / 0.1767767), phases=(0,))
    even = gabor_bank(orientations=6, wavelengths=(1 / 0.08838835, 1 / 0.1767767), phases=(90,))
    return odd, even


def test_a_rectified_gabor_unit_is_simple(bank):
    odd, _ = bank
    model = wrap(simple_cells(odd.filters), size=96, channels=1)
    result = orientation_tuning(model, orientations=12, frequencies=FREQUENCIES, phases=32)
    assert result.preferred_orientation.tolist() == list(odd.orientations)
    assert torch.allclose(result.preferred_frequency, torch.tensor(odd.frequencies))
    # Half a wave: F1 = A/2 and F0 = A/π.
    assert torch.allclose(result.modulation, torch.full((12,), math.pi / 2), atol=0.02)
    assert result.counts() == (12, 0, 0)
    assert result.selectivity.min() > 0.6


@pytest.mark.slow
def test_a_quadrature_energy_pair_is_complex(bank):
    odd, even = bank
    both = torch.cat([odd.filters, even.filters])
    model = wrap(Energy(both), size=96, channels=1)
    result = orientation_tuning(model, layer="sum", orientations=12, frequencies=FREQUENCIES)
    assert result.preferred_orientation.tolist() == list(odd.orientations)
    assert torch.allclose(result.preferred_frequency, torch.tensor(odd.frequencies))
    assert result.modulation.max() < 0.1
    assert result.counts() == (0, 12, 0)


def test_responses_are_the_units_own(bank):
    """One grating, computed here, against the table."""
    odd, _ = bank
    model = wrap(simple_cells(odd.filters, inplace=False), size=96, channels=1)
    result = orientation_tuning(
        model, orientations=4, frequencies=(0.1, 0.2), phases=5, contrast=0.5
    )
    height, width = result.size
    side = odd.filters.shape[-1]
    row, column = (height - side + 1) // 2, (width - side + 1) // 2
    center_y, center_x = row + (side - 1) / 2, column + (side - 1) / 2
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angle = math.radians(45)
    across = (x - center_x) * math.sin(angle) + (y - center_y) * math.cos(angle)
    wave = 0.5 + 0.25 * torch.cos(2 * math.pi * 0.2 * across - 2 * math.pi * 3 / 5)
    patch = wave[row : row + side, column : column + side]
    expected = (patch * odd.filters).sum((1, 2)).clamp(min=0)
    assert torch.allclose(result.responses[:, 1, 1, 3], expected, atol=1e-4)


def test_bandwidth_of_the_filter_is_that_of_the_curve():
    """An octave at half height, the bank's own; in frequency steps of a quarter octave."""
    even = gabor_bank(orientations=1, wavelengths=(8,), phases=(90,), bandwidth=1.0)
    model = wrap(simple_cells(even.filters), size=128, channels=1)
    steps = [0.125 * 2 ** (n / 4) for n in range(-6, 7)]
    result = orientation_tuning(model, orientations=18, frequencies=steps)
    assert float(result.frequency_bandwidth) == pytest.approx(1.0, abs=0.12)
    assert 5 < float(result.orientation_bandwidth) < 45


def test_the_stage_is_no_larger_than_it_needs_to_be():
    network = nn.Sequential(nn.Conv2d(3, 4, 7), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    result = orientation_tuning(wrap(network, size=224), orientations=4)
    assert result.size == (16, 16)
    assert result.field == (7, 7)
    deep = orientation_tuning(wrap(network, size=224), layer="2", orientations=4)
    assert deep.field == (9, 9)
    assert float(deep.frequencies[-1]) == pytest.approx(0.4)


def test_silent_channels_have_no_preference():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 5), nn.ReLU())
    with torch.no_grad():
        network[0].bias[1] = -100
    result = orientation_tuning(wrap(network, size=32), orientations=4)
    assert result.silent.tolist() == [False, True]
    for values in (
        result.preferred_orientation, result.preferred_frequency, result.modulation,
        result.selectivity, result.orientation_bandwidth,
    ):  # fmt: skip
        assert bool(values[1].isnan())
    assert result.counts()[2] == 1


def test_saved_loaded_and_drawn(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 5), nn.ReLU())
    result = orientation_tuning(wrap(network, size=32), orientations=6)
    result.save(tmp_path / "tuning")
    assert convlens.Result.load(tmp_path / "tuning") == result
    picture = result.pictures()["tuning"]
    # The tile of the first channel, inside the margins for its words.
    strength = result.strength[0]
    brightest, darkest = (int(at) for at in (strength.argmax(), strength.argmin()))
    colors = sequential_colors(strength, 0.0, float(strength.max()))
    top, left = corner(picture, enlarge(colors, 6))
    tile = picture[top : top + 36 : 6, left : left + 48 : 6].reshape(-1, 3)
    assert tile[brightest].tolist() == [253, 231, 36]
    assert tile[darkest].sum() < tile[brightest].sum()


@pytest.mark.parametrize(
    "rectifier",
    [nn.ReLU6(), nn.ReLU6(inplace=True), nn.Hardtanh(0, 3), nn.Threshold(0, 0), nn.ReLU(),
     type("Clamp", (nn.Module,), {"forward": lambda self, x: x.clamp(min=0)})()],
)  # fmt: skip
def test_all_rectifiers_will_do(rectifier):
    result = orientation_tuning(
        wrap(nn.Sequential(nn.Conv2d(3, 2, 5), rectifier), size=32), orientations=2
    )
    assert result.responses.min() >= 0


@pytest.mark.filterwarnings("ignore:.*limits its outputs by tanh")
def test_what_is_not_rectified_is_refused():
    for activation in (nn.Hardtanh(-1, 3), nn.LeakyReLU(), nn.Tanh(), nn.SiLU()):
        model = wrap(nn.Sequential(nn.Conv2d(3, 2, 5), activation), size=32)
        with pytest.raises(ConvlensError, match="no rectifier gave it"):
            orientation_tuning(model)


def test_what_is_wrong():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten())
    model = wrap(network, size=16)
    with pytest.raises(ConvlensError, match="no rectifier gave it: tuning is undefined"):
        orientation_tuning(model, layer="2")
    with pytest.raises(ConvlensError, match="not maps"):
        orientation_tuning(model, layer="3")
    with pytest.raises(ConvlensError, match="at least 4"):
        orientation_tuning(model, phases=2)
    with pytest.raises(ConvlensError, match=r"at most 0\.5"):
        orientation_tuning(model, frequencies=(0.1, 0.7))
    with pytest.raises(ConvlensError, match="not evenly spaced"):
        orientation_tuning(model, frequencies=(0.1, 0.2, 0.3))
