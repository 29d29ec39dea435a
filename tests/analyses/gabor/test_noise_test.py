"""Gabor fits: known parameters are recovered, and noise is not called Gabor-like."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensError, fit_gabor, load, wrap
from convlens.analyses.gabor.function import bar_orientation, gabor
from convlens.analyses.gabor.least_squares import (
    fit_gabor_parameters,
    gabor_basis,
    uniform_responses,
)
from convlens.analyses.gabor.noise_test import find_discoveries
from convlens.analyses.gabor.verdicts import BLOB, GABOR, OTHER, UNDECIDED
from support.drawn import holds
from support.folders import SHARED

WEIGHTS = SHARED / "weights" / "squeezenet1_0.safetensors"


def synthetic(count, side, channels=3, noise=0.0, seed=0):
    """Gabor filters with known parameters, and noise of a share of their deviation."""
    rng = np.random.default_rng(seed)

    def draw(low, high, *shape):
        return torch.from_numpy(rng.uniform(low, high, (count, *shape)))

    set_to = {
        "frequency": draw(0.14, 0.35), "theta": draw(-math.pi / 2, math.pi / 2),
        "along": draw(0.18, 0.35) * side, "across": draw(0.18, 0.35) * side,
        "x0": draw(-0.5, 0.5), "y0": draw(-0.5, 0.5),
        "amplitude": draw(0.3, 1.0, channels), "phase": draw(-math.pi, math.pi, channels),
    }  # fmt: skip
    axis = torch.arange(side).double() - (side - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def each(name):
        return set_to[name].view(count, -1, 1, 1)

    weights = gabor(
        x, y, each("amplitude"), 1 / (2 * each("along") ** 2), 1 / (2 * each("across") ** 2),
        2 * math.pi * each("frequency"), each("phase"), each("x0"), each("y0"), each("theta"),
    )  # fmt: skip
    spread = weights.std((1, 2, 3), keepdim=True)
    return weights + noise * spread * torch.from_numpy(rng.normal(size=weights.shape)), set_to


def turn(a, b, period):
    return (torch.remainder(a - b + period / 2, period) - period / 2).abs()


class TestFit:
    @pytest.mark.parametrize(("side", "channels"), [(7, 3), (11, 1), (7, 4)])
    def test_parameters_come_back(self, side, channels):
        weights, set_to = synthetic(60, side, channels)
        fit = fit_gabor_parameters(weights)
        assert (fit.r2 > 1 - 1e-5).float().mean() > 0.95
        good = fit.r2 > 1 - 1e-5
        for name, result in (
            ("frequency", fit.frequency), ("x0", fit.x0), ("y0", fit.y0),
            ("along", fit.sigma_along), ("across", fit.sigma_across),
            ("amplitude", fit.amplitude),
        ):  # fmt: skip
            assert torch.allclose(
                result[good].double(), set_to[name][good], rtol=1e-2, atol=1e-3
            ), name
        assert turn(fit.theta, set_to["theta"], math.pi)[good].max() < 1e-2
        # A direction near ±90 degrees may come back as the other one, the phase mirrored with it.
        same = good & ((fit.theta - set_to["theta"]).abs() < 0.1)
        assert turn(fit.phase, set_to["phase"], 2 * math.pi)[same].max() < 0.05
        assert float(fit.theta.abs().max()) <= math.pi / 2 + 1e-6
        assert fit.amplitude.min() >= 0

    def test_the_parameters_make_the_fitted_function(self):
        weights, _ = synthetic(20, 7, noise=0.3)
        fit = fit_gabor_parameters(weights)
        axis = torch.arange(7.0) - 3
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        for n in range(20):
            for c in range(3):
                again = gabor(
                    x, y, fit.amplitude[n, c], 0.5 / fit.sigma_along[n] ** 2,
                    0.5 / fit.sigma_across[n] ** 2, 2 * math.pi * fit.frequency[n],
                    fit.phase[n, c], fit.x0[n], fit.y0[n], fit.theta[n],
                )  # fmt: skip
                assert torch.allclose(again, fit.fitted[n, c], atol=1e-3)
            share = 1 - (weights[n] - fit.fitted[n]).square().sum() / weights[n].square().sum()
            assert float(share) == pytest.approx(float(fit.r2[n]), abs=1e-4)
            assert float(fit.orientations[n]) == pytest.approx(bar_orientation(float(fit.theta[n])))

    @pytest.mark.slow
    @pytest.mark.parametrize("side", [7, 11])
    def test_error_under_noise_is_near_the_cramer_rao_bound(self, side):
        """No unbiased estimate does better than the bound, here by numerical slopes."""
        weights, set_to = synthetic(150, side, noise=0.3)
        clean, _ = synthetic(150, side)
        fit = fit_gabor_parameters(weights)
        errors = {
            "frequency": fit.frequency - set_to["frequency"],
            "theta": turn(fit.theta, set_to["theta"], math.pi),
        }
        bounds = {"frequency": [], "theta": []}
        for n in range(150):
            deviation = 0.3 * float(clean[n].std())
            information = slopes_of(n, side, set_to)
            covariance = np.linalg.inv(information.T @ information) * deviation**2
            bounds["theta"].append(covariance[2, 2])
            bounds["frequency"].append(covariance[3, 3] / (2 * math.pi) ** 2)
        for name, error in errors.items():
            relative = error.double().square() / torch.tensor(bounds[name])
            assert relative.median().sqrt() < 1.25 * 0.6745  # the median of |normal| is 0.6745

    def test_slopes_of_the_basis_against_differences(self):
        parameters = torch.tensor([[0.3, -0.4, 0.7, 1.2, -2.0, -2.5]], dtype=torch.float64)
        _, slopes = gabor_basis(parameters, torch.Size((7, 7)))
        for k in range(6):
            step = torch.zeros(1, 6, dtype=torch.float64)
            step[0, k] = 1e-6
            ahead, _ = gabor_basis(parameters + step, torch.Size((7, 7)))
            behind, _ = gabor_basis(parameters - step, torch.Size((7, 7)))
            assert torch.allclose(slopes[:, :, k], (ahead - behind) / 2e-6, atol=1e-7)

    def test_published_medians_of_noise(self):
        """White noise of one channel: median R² 0.30 at 7 x 7, 0.15 at 11 x 11."""
        generator = torch.Generator().manual_seed(0)
        for side, expected in ((7, 0.30), (11, 0.15)):
            noise = torch.randn(300, 1, side, side, generator=generator)
            assert float(fit_gabor_parameters(noise).r2.median()) == pytest.approx(
                expected, abs=0.03
            )

    def test_what_is_wrong(self):
        with pytest.raises(ConvlensError, match="at least 5"):
            fit_gabor_parameters(torch.rand(4, 3, 3, 3))


def slopes_of(n, side, set_to):
    """Jacobian of one filter by its six shared numbers and each channel's two, by differences."""
    axis = torch.arange(side).double() - (side - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    names = ("x0", "y0", "theta", "frequency", "along", "across")
    start = [float(set_to[name][n]) for name in names]
    start[3] *= 2 * math.pi
    sine = set_to["amplitude"][n] * torch.cos(set_to["phase"][n])
    cosine = set_to["amplitude"][n] * torch.sin(set_to["phase"][n])
    start += [*sine.tolist(), *cosine.tolist()]

    def function(values):
        x0, y0, theta, omega, along, across = values[:6]
        count = (len(values) - 6) // 2
        parts = []
        for c in range(count):
            for weight, phase in ((values[6 + c], 0.0), (values[6 + count + c], math.pi / 2)):
                parts.append(
                    gabor(
                        x, y, weight, 0.5 / along**2, 0.5 / across**2, omega, phase, x0, y0, theta
                    )
                )
        return (
            torch.stack([parts[2 * c] + parts[2 * c + 1] for c in range(count)]).flatten().numpy()
        )

    columns = []
    for k in range(len(start)):
        ahead, behind = list(start), list(start)
        ahead[k] += 1e-5
        behind[k] -= 1e-5
        columns.append((function(ahead) - function(behind)) / 2e-5)
    return np.stack(columns, axis=1)


def network(weights):
    layer = nn.Conv2d(weights.shape[1], len(weights), weights.shape[2])
    with torch.no_grad():
        layer.weight.copy_(weights)
    return wrap(nn.Sequential(layer), size=32, channels=weights.shape[1])


class TestFitGabor:
    @pytest.mark.slow
    @pytest.mark.parametrize("smooth", [0.0, 0.9])
    def test_noise_is_rarely_called_more_than_noise(self, smooth):
        """White and smooth: p below 0.05 in about 5 % of the filters, no discoveries."""
        generator = torch.Generator().manual_seed(3)
        noise = torch.randn(300, 3, 15, 15, generator=generator)
        if smooth:
            bell = torch.exp(-(torch.arange(-4, 5.0) ** 2) / (2 * smooth**2))
            noise = (noise.unfold(3, 9, 1) @ bell).unfold(2, 9, 1) @ bell
        result = fit_gabor(network(noise[:, :, :7, :7].contiguous()), null_size=1000)
        assert 0.02 < float((result.p < 0.05).float().mean()) < 0.095
        assert result.count(OTHER) >= 297

    @pytest.mark.slow
    def test_gabor_functions_among_noise_are_found(self):
        weights, _ = synthetic(20, 7, noise=0.2)
        noise = torch.randn(20, 3, 7, 7, generator=torch.Generator().manual_seed(0))
        both = torch.cat([weights, noise * weights.std()])
        result = fit_gabor(network(both.float()), null_size=1000)
        assert result.verdicts[:20].count(GABOR) >= 19
        assert result.verdicts[20:].count(OTHER) >= 18
        assert result.p[:20].max() < result.p[20:].median()

    def test_blobs_are_not_called_gabor_functions(self):
        axis = torch.arange(7.0) - 3
        bell = torch.exp(-(axis[:, None] ** 2 + axis**2) / 4)
        colors = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
        noise = torch.randn(12, 3, 7, 7, generator=torch.Generator().manual_seed(1))
        result = fit_gabor(network(colors[:, :, None, None] * bell + 0.02 * noise), null_size=300)
        assert result.count(BLOB) >= 11

    @pytest.mark.slow
    def test_a_wave_needs_a_share_of_its_cycle(self):
        """Edges from side to side and odd blobs have two signs, but no wave in 7 pixels."""
        axis = torch.arange(7.0) - 3
        rise = axis.expand(7, 7)
        colors = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
        noise = torch.randn(12, 3, 7, 7, generator=torch.Generator().manual_seed(1))
        slopes = fit_gabor(network(colors[:, :, None, None] * rise + 0.05 * noise), null_size=1000)
        assert slopes.count(BLOB) >= 11
        for cycles, kind in ((0.4, BLOB), (1.0, GABOR)):
            wave = torch.sin(2 * math.pi * cycles / 7 * rise + 0.5)
            result = fit_gabor(
                network(colors[:, :, None, None] * wave + 0.05 * noise), null_size=1000
            )
            assert result.count(kind) >= 11, cycles

    def test_answer_to_a_uniform_image(self):
        """Plain loops over a sine and a cosine filter, and the closed form of a whole envelope."""
        weights, _ = synthetic(8, 9, noise=0.2)
        fit = fit_gabor_parameters(weights)
        means = uniform_responses(fit)
        for n in range(8):
            pair, own = [0.0, 0.0], 0.0
            for row in range(9):
                for column in range(9):
                    x, y, theta = column - 4.0, row - 4.0, float(fit.theta[n])
                    at = (0.5 / float(fit.sigma_along[n]) ** 2,
                          0.5 / float(fit.sigma_across[n]) ** 2,
                          2 * math.pi * float(fit.frequency[n]))  # fmt: skip
                    place = (float(fit.x0[n]), float(fit.y0[n]), theta)
                    point = torch.tensor([x]), torch.tensor([y])
                    for k, phase in enumerate((0.0, math.pi / 2)):
                        pair[k] += float(gabor(*point, 1.0, *at, phase, *place))
                    own += float(gabor(*point, 1.0, at[0], at[1], 0.0, math.pi / 2, *place))
            assert float(means[n]) == pytest.approx(math.hypot(*pair) / own, abs=1e-4)
        axis = torch.arange(31.0) - 15
        bell = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 2.0**2))
        fit = fit_gabor_parameters((bell * torch.cos(2 * math.pi * 0.12 * axis))[None, None])
        expected = math.exp(-((2 * math.pi * 2.0 * 0.12) ** 2) / 2)
        assert float(uniform_responses(fit)[0]) == pytest.approx(expected, abs=1e-3)

    def test_values_at_a_bound_are_named(self):
        axis = torch.arange(7.0) - 3
        bell = torch.exp(-(axis[:, None] ** 2 + axis**2) / 4)
        endless = torch.sin(2 * math.pi * axis / 5).expand(7, 7)
        weights, _ = synthetic(4, 7, channels=1)
        fit = fit_gabor_parameters(torch.cat([torch.stack([bell, endless])[:, None], weights]))
        assert "frequency" in fit.at_bound[0] and fit.frequency[0] == pytest.approx(0.01)
        assert {"sigma_along", "sigma_across"} <= set(fit.at_bound[1])
        assert fit.at_bound[2:] == ((),) * 4
        result = fit_gabor(network(torch.stack([bell, endless])[:, None]), null_size=200)
        assert result.at_bound == fit.at_bound[:2]
        assert result.format_value("frequency", 0, ".3f") == "≤0.010"
        assert result.format_value("frequency", 1, ".1f") == "0.2"
        assert result.format_value("sigma_along", 1, ".1f") == "≥10.5"
        assert result.waves == (1,)

    def test_small_filters_cannot_be_judged(self):
        result = fit_gabor(network(torch.randn(8, 3, 3, 3)))
        assert result.verdicts == (UNDECIDED,) * 8
        assert "3 x 3 weights are too few to judge" in result.summary()
        assert list(result.pictures()) == ["filters"]

    def test_sorted_by_kind_then_orientation_and_frequency(self):
        weights, _ = synthetic(12, 9)
        network = nn.Conv2d(3, 24, 9)
        torch.manual_seed(1)
        with torch.no_grad():
            network.weight.copy_(torch.cat([torch.randn(12, 3, 9, 9), weights.float()]))
        result = fit_gabor(wrap(network, size=16), null_size=300)
        ordered = result.sort_filters(own_scale=True)
        assert sorted(ordered.channels) == list(range(24))
        kinds = [result.verdicts[number] for number in ordered.channels]
        assert (
            list(ordered.kinds) == kinds == sorted(kinds, key=(GABOR, BLOB, OTHER, UNDECIDED).index)
        )
        assert torch.equal(ordered.weights, result.filters.weights[list(ordered.channels)])
        gabors = [number for number in ordered.channels if result.verdicts[number] == GABOR]
        assert len(gabors) >= 10
        directions = [round(float(result.orientation[number]) / 22.5) % 8 for number in gabors]
        assert directions == sorted(directions)
        for first, second in itertools.pairwise(gabors):
            if directions[gabors.index(first)] == directions[gabors.index(second)]:
                assert result.frequency[first] <= result.frequency[second]

    def test_a_scale_of_its_own_fills_every_filter(self):
        torch.manual_seed(0)
        network = nn.Conv2d(3, 3, 5)
        with torch.no_grad():
            network.weight[1] *= 0.01
            network.weight[2] *= 1e-9  # next to nothing: noise must not be blown up
        model = wrap(network, size=16)
        plain, own = convlens.filters(model), convlens.filters(model, own_scale=True)
        spans = [int(tile.max()) - int(tile.min()) for tile in plain.tiles()]
        assert spans[1] < 5 and max(spans) > 200
        for number, tile in enumerate(own.tiles()[:2]):
            peak = network.weight[number].abs().max()
            assert own.scales[number] == peak
            assert max(abs(int(v) - 127.5) for v in tile.flatten()) >= 127
        assert set(own.tiles()[2].flatten().tolist()) == {128}
        assert own.scales[2] == own.scale

    def test_discoveries_against_the_definition(self):
        p = torch.rand(200, generator=torch.Generator().manual_seed(0)) ** 3
        ordered = sorted(p.tolist())
        passed = [k for k in range(200) if ordered[k] <= 0.05 * (k + 1) / 200]
        limit = ordered[max(passed)]
        assert find_discoveries(p).tolist() == [value <= limit for value in p.tolist()]

    def test_saved_loaded_and_drawn(self, tmp_path):
        weights, _ = synthetic(5, 7, noise=0.1)
        result = fit_gabor(network(weights.float()), null_size=200)
        result.save(tmp_path / "fits")
        assert convlens.Result.load(tmp_path / "fits") == result
        assert list(result.pictures()) == ["fits", "filters and fits", "orientations"]
        share = sum(verdict == GABOR for verdict in result.verdicts) / 5
        assert f"{100 * share:.0f} % are Gabor-like" in result.summarize_r2()
        assert f"R² {sorted(result.r2.tolist())[2]:.2f} in the median" in result.summarize_r2()
        picture = result.pictures()["fits"]
        for _, block in result.triples():
            assert holds(picture, block)
        # Its number and its verdict stand at each filter, which itself stays as it is.
        renumbered = replace(result, filters=replace(result.filters, channels=(0, 1, 2, 3, 7)))
        others = renumbered.pictures()
        for name, at_once in (("fits", 1), ("filters and fits", 2)):
            changed = (result.pictures()[name] != others[name]).any(dim=2)
            assert 0 < int(changed.sum()) < 60 * at_once
        assert holds(others["fits"], result.triples()[0][1])
        again = fit_gabor(network(weights.float()), null_size=200)
        assert again == result
        assert fit_gabor(network(weights.float()), null_size=200, seed=1) != result

    def test_what_is_wrong(self):
        with pytest.raises(ConvlensError, match="at least 100"):
            fit_gabor(network(torch.randn(8, 3, 7, 7)), null_size=10)
        with pytest.raises(ConvlensError, match="no convolution"):
            fit_gabor(wrap(nn.Flatten(), size=8))

    @pytest.mark.slow
    @pytest.mark.skipif(not WEIGHTS.is_file(), reason="no weights in ../shared/weights")
    def test_trained_filters_are_mostly_gabor_functions(self):
        result = fit_gabor(load(f"file:{WEIGHTS}@torchvision:squeezenet1_0"), null_size=1000)
        assert len(result.verdicts) == 96
        assert result.count(GABOR) > 48
        assert float(result.r2.median()) > 0.8 > 2 * float(result.null_r2.median())
