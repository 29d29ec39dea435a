"""Gabor functions, banks of them, and the cortex: closed forms, loops, libraries."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import convlens
from convlens import ConvlensError
from convlens.analyses.cortex.cortex import cortex
from convlens.analyses.feature_maps.convolution import convolve
from convlens.analyses.gabor.bank import gabor_bank
from convlens.analyses.gabor.function import bar_orientation, gabor, wave_direction
from convlens.drawing import diverging_colors, enlarge
from support.drawn import holds


def grating(degrees, wavelength=8.0, phase=0.0, size=64):
    """Bars of an orientation, counter-clockwise from horizontal as one looks at the picture."""
    rows, columns = np.mgrid[:size, :size]
    up = -rows  # on the picture rows grow downwards
    # Along the bars nothing changes: the wave runs across them.
    across = -columns * math.sin(math.radians(degrees)) + up * math.cos(math.radians(degrees))
    wave = 0.5 + 0.4 * np.cos(2 * np.pi * across / wavelength + phase)
    return torch.from_numpy(wave).float()[None]


class TestFunction:
    def test_formula_at_points(self):
        values = (2.5, 0.1, 0.03, 0.9, 0.4, 1.5, -2.0, 0.7)  # A, α, β, ω, φ, x0, y0, θ
        for x, y in ((0.0, 0.0), (3.0, -1.0), (-4.5, 2.25)):
            a = (x - 1.5) * math.cos(0.7) + (y + 2.0) * math.sin(0.7)
            b = -(x - 1.5) * math.sin(0.7) + (y + 2.0) * math.cos(0.7)
            expected = 2.5 * math.exp(-0.1 * a * a - 0.03 * b * b) * math.sin(0.9 * a + 0.4)
            result = gabor(torch.tensor(x), torch.tensor(y), *values)
            assert float(result) == pytest.approx(expected, rel=1e-5)

    def test_scikit_images_kernel_where_the_definitions_meet(self):
        """Its real part is a cosine under a bell of area one, turned alike."""
        from skimage.filters import gabor_kernel

        for frequency, theta, sigma_x, sigma_y, offset in (
            (0.2, 0.3, 2.0, 3.0, 0.0), (0.1, 1.2, 4.0, 2.5, 0.8),
        ):  # fmt: skip
            theirs = gabor_kernel(
                frequency, theta, sigma_x=sigma_x, sigma_y=sigma_y, offset=offset
            ).real
            height, width = theirs.shape
            y, x = torch.meshgrid(
                torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij"
            )
            ours = gabor(
                x.double(), y.double(), 1 / (2 * math.pi * sigma_x * sigma_y),
                1 / (2 * sigma_x**2), 1 / (2 * sigma_y**2), 2 * math.pi * frequency,
                offset + math.pi / 2, 0.0, 0.0, theta,
            )  # fmt: skip
            assert np.allclose(ours.numpy(), theirs, atol=1e-12)

    @pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135, 170])
    def test_orientation_is_that_of_the_bars(self, degrees):
        theta = wave_direction(degrees)
        assert bar_orientation(theta) == pytest.approx(degrees)
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        wave = gabor(x, y, 1.0, 0.0, 0.0, 2 * math.pi / 8, math.pi / 2, 0.0, 0.0, theta)
        bars = grating(degrees)[0]
        again = (bars - 0.5) / 0.4
        correlation = np.corrcoef(wave.numpy().ravel(), again.numpy().ravel())[0, 1]
        assert correlation == pytest.approx(1, abs=1e-4)


class TestBank:
    def test_filters_are_balanced_and_of_norm_one(self):
        bank = gabor_bank(orientations=6, wavelengths=(10, 4), phases=(0, 45, 90))
        assert bank.filters.shape[0] == 6 * 2 * 3
        assert bank.filters.sum((1, 2)).abs().max() < 1e-5
        assert torch.allclose(bank.filters.flatten(1).norm(dim=1), torch.ones(36))

    def test_each_answers_most_to_its_own_orientation_and_frequency(self):
        bank = gabor_bank(orientations=6, wavelengths=(12.5, 5))
        for degrees in bank.orientations[:6]:
            for frequency in (0.08, 0.2):
                wave = grating(degrees, 1 / frequency, size=96)[None]
                answers = convolve(wave, bank.filters).square().mean((0, 2, 3))
                best = int(answers.argmax())
                assert bank.orientations[best] == degrees
                assert bank.frequencies[best] == frequency

    def test_bandwidth_is_what_was_asked_for(self):
        """Half height of the tuning curve, an octave apart."""
        bank = gabor_bank(orientations=1, wavelengths=(8,), phases=(90,), bandwidth=1.0)
        side = 512
        spectrum = torch.fft.rfft2(
            F.pad(
                bank.filters[0], (0, side - bank.filters.shape[1], 0, side - bank.filters.shape[0])
            )
        )
        curve = spectrum.abs()[: side // 2, 0]  # horizontal bars: the wave runs down
        above = (curve > curve.max() / 2).nonzero().flatten()
        assert math.log2(float(above[-1] / above[0])) == pytest.approx(1.0, abs=0.05)

    def test_what_is_wrong(self):
        for options in ({"orientations": 0}, {"wavelengths": ()}, {"bandwidth": 0.0}):
            with pytest.raises(ConvlensError, match="at least one of each"):
                gabor_bank(**options)
        with pytest.raises(ConvlensError, match=r"wavelength of 1\.9"):
            gabor_bank(wavelengths=(1.9,))

    def test_picture(self):
        bank = gabor_bank(orientations=5, wavelengths=(4,))
        times = max(1, 44 // bank.filters.shape[-1])
        picture = bank.pictures()["bank"]
        for gabor_filter in bank.filters:
            assert holds(
                picture,
                enlarge(diverging_colors(gabor_filter, float(bank.filters.abs().max())), times),
            )


class TestCortex:
    def test_cells_prefer_the_orientation_of_the_bars(self):
        for degrees in (0.0, 45.0, 90.0, 157.5):
            result = cortex(grating(degrees))
            middle = result.complex[:, 24:40, 24:40].mean((1, 2))
            assert result.orientations[int(middle.argmax())] == degrees

    def test_complex_cells_do_not_mind_the_phase_and_simple_cells_do(self):
        answers = [cortex(grating(90.0, phase=phase)) for phase in np.linspace(0, 2 * np.pi, 9)]
        at = answers[0].orientations.index(90.0)
        complex_ = torch.stack([answer.complex[at, 32, 32] for answer in answers])
        simple = torch.stack([answer.simple[at, 0, 32, 32] for answer in answers])
        assert complex_.std() < 0.02 * complex_.mean()
        assert simple.min() == 0
        assert simple.std() > 0.3 * simple.mean()

    def test_nothing_is_seen_in_plain_brightness(self):
        result = cortex(torch.full((3, 40, 40), 0.7))
        assert result.complex.max() < 1e-5

    def test_the_border_of_the_photo_is_no_edge(self):
        """A dark photo is not framed in gray: cells at the border see it go on."""
        dark = torch.full((1, 40, 40), 0.1)
        dark[:, 15:25, 15:25] = 0.9
        result = cortex(dark, wavelength=4)
        assert result.complex[:, :, 0].max() < 0.01 * result.complex.max()
        # The same photo larger, as it goes on: everything inside is equal.
        wider = F.pad(dark[None], (30,) * 4, value=0.1)[0]
        inside = cortex(wider, wavelength=4).complex[:, 30:70, 30:70]
        assert torch.allclose(result.complex, inside, atol=1e-5)

    def test_pictures_of_a_large_photo_are_reduced(self):
        """Two orientations of 1200 rows beside one another, in four phases."""
        pictures = cortex(torch.rand(1, 1200, 600), orientations=2).pictures()
        for name, rows in (("simple", 4), ("complex", 1), ("pooled", 1)):
            assert rows * 512 < len(pictures[name]) < rows * 600
            assert 2 * 256 < pictures[name].shape[1] < 700

    def test_only_reduced_maps_are_called_reduced(self, monkeypatch):
        """Means over 8 × 8 pixels of 600 × 600 are 75 × 75 and are enlarged."""
        notes = {}
        monkeypatch.setattr(
            "convlens.analyses.cortex.cortex.add_title",
            lambda picture, title, note: notes.setdefault(title.split(",")[0], []).append(note),
        )
        cortex(torch.rand(1, 600, 600), orientations=2).pictures()
        assert "reduced to 512 × 512" in notes["Simple cells"][0]
        assert ["reduced" in note for note in notes["Complex cells"]] == [True, False]

    def test_parts_fit_together(self):
        image = torch.rand(3, 50, 60)
        result = cortex(image, orientations=3, wavelength=5)
        gray = (image * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)
        assert torch.allclose(result.image[0], gray)
        odd, even = (
            result.simple[:, 0] - result.simple[:, 2],
            result.simple[:, 1] - result.simple[:, 3],
        )
        assert torch.allclose(result.complex, (odd**2 + even**2).sqrt(), atol=1e-6)
        assert result.pooled.shape == (3, 10, 12)
        assert result.pooled[1, 2, 3] == pytest.approx(
            float(result.complex[1, 10:15, 15:20].mean()), rel=1e-5
        )
        assert list(result.pictures()) == ["photo", "bank", "simple", "complex", "pooled"]

    def test_saved_and_loaded(self, tmp_path):
        result = cortex(torch.rand(1, 20, 20), wavelength=4)
        result.save(tmp_path / "cortex")
        assert convlens.Result.load(tmp_path / "cortex") == result

    def test_what_is_wrong(self):
        with pytest.raises(ConvlensError, match="C of 1 or 3"):
            cortex(torch.rand(4, 20, 20))
        with pytest.raises(ConvlensError, match="give 2 to 20"):
            cortex(torch.rand(1, 20, 30), wavelength=25)
