"""What a maximized image reaches, by the network itself and beside photos; stopped runs."""

import math
import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError, Result, maximize, patches, wrap
from support.drawn import holds
from support.maximized_networks import STILL, small


class TestNetworks:
    @pytest.mark.parametrize("channels", [1, 5])
    def test_other_than_three_channels(self, channels):
        model = wrap(small(channels=channels), size=24, bounds=(-1.0, 1.0))
        result = maximize(model, ["4:1", "2"], steps=20)
        for maximum in result.maxima:
            assert maximum.images.shape[1] == channels
            assert -1 <= float(maximum.images.min()) < float(maximum.images.max()) <= 1
            assert maximum.curve[0, -1] > maximum.curve[0, 0]
        drawn, tiles = result.pictures()["maximized"], result.tiles()
        assert all(holds(drawn, row[0]) for row in tiles)
        renamed = replace(
            result, maxima=(replace(result.maxima[0], objective="4:7"), result.maxima[1])
        )
        changed = (renamed.pictures()["maximized"] != drawn).any(dim=2)
        assert 0 < int(changed.sum()) < 60

    def test_double_precision(self):
        model = wrap(small().double(), size=24)
        assert maximize(model, "4:1", steps=3).maxima[0].images.dtype == torch.float32


class TestReachedActivations:
    def test_reached_activations_are_those_of_the_images(self):
        model = wrap(small(), size=24)
        result = maximize(model, ["4:1", "4:1@5,5", "2"], steps=10, image_size=None).maxima
        network = model.network
        with torch.no_grad():
            maps = network[:6](result[0].images)[0, 1]
            edge = maps.shape[0] // 4
            inner = maps[edge:-edge, edge:-edge]
            # The copy with folded batch normalizations, which is measured, rounds in another way.
            low, high = float(inner.max()) * (1 - 1e-6), float(maps.max()) * (1 + 1e-6)
            assert low <= float(result[0].reached) <= high
            scores = network(result[2].images)[0]
        assert float(result[2].reached) == pytest.approx(float(scores[2]), rel=1e-5)
        assert float(result[2].probability) == pytest.approx(float(scores.softmax(0)[2]), rel=1e-5)
        assert int(result[2].rank) == int((scores > scores[2]).sum()) + 1

    def test_comparison_with_a_data_set(self):
        model = wrap(small(), size=24)
        photos = torch.rand(40, 3, 24, 24, generator=torch.Generator().manual_seed(0))
        known = patches(model, photos, layers=["4"])
        result = maximize(model, ["4:1", "4:1@5,5", "2"], steps=60, patches=known).maxima
        with torch.no_grad():
            most = model.network[:6](photos)[:, 1].amax((1, 2))
        assert result[0].dataset_photos == 40
        assert result[0].dataset_best == pytest.approx(float(most.max()), rel=1e-5)
        assert result[1].percentile == 1.0
        assert float(result[1].reached[0]) > result[1].dataset_best == result[0].dataset_best
        assert "times the greatest of 40 photos" in result[1].summary()
        assert result[2].dataset_photos == 0
        faint = maximize(model, "4:1", steps=1, learning_rate=1e-6, patches=known).maxima[0]
        share = float((most < faint.reached[0]).double().mean())
        assert faint.percentile == pytest.approx(share, abs=0.35)
        assert faint.percentile < 1

    def test_seeds_agree_more_than_other_objectives(self):
        model = wrap(small(), size=24)
        result = maximize(model, ["4:1", "4:3", "4:6"], steps=60, seeds=3).maxima
        changes = []
        for maximum in result:
            with torch.no_grad():
                gray = model.network[:5](torch.full_like(maximum.images[:1], 0.5)).mean((2, 3))
                changes.append(model.network[:5](maximum.images).mean((2, 3)) - gray)
        pairs = [
            float(F.cosine_similarity(changes[0][a], changes[0][b], dim=0))
            for a, b in ((0, 1), (0, 2), (1, 2))
        ]
        assert result[0].agreement == pytest.approx(sum(pairs) / 3, abs=1e-4)
        assert all(maximum.agreement > maximum.other_agreement for maximum in result)

    def test_saved_and_loaded(self, tmp_path):
        result = maximize(wrap(small(), size=24), ["4:1", "4:1@3,3"], steps=3, seeds=2)
        result.save(tmp_path / "out")
        assert Result.load(tmp_path / "out") == result
        assert (tmp_path / "out" / "maximized.png").is_file()


class TestEnds:
    def test_nan_on_the_way_keeps_the_last_good_picture(self):
        class Fails(nn.Module):
            def __init__(self):
                super().__init__()
                self.runs = 0

            def forward(self, x):
                self.runs += 1
                return x * (math.nan if self.runs == 6 else 1.0)

        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), Fails(), nn.ReLU())
        model = wrap(network, size=16)
        result = maximize(model, "2:1", steps=20, transforms=STILL)
        assert not result.interrupted
        assert result.stopped == "step 6 gave NaN or infinity at 1"
        assert result.maxima[0].curve.shape == (1, 5)
        four = maximize(model, "2:1", steps=4, transforms=STILL)
        torch.testing.assert_close(result.maxima[0].images, four.maxima[0].images)

    def test_nan_from_the_first_step_on(self):
        network = small()
        network[0].weight.data[2] = math.nan
        with pytest.raises(ConvlensError, match="step 1 gave NaN or infinity at 4; there is noth"):
            maximize(wrap(network, size=24), "4:1", steps=5)

    def test_an_interrupt_keeps_what_there_is(self):
        model = wrap(small(), size=24)
        calls = []

        def progress(done, total):
            calls.append((done, total))
            if len(calls) == 7:
                os.kill(os.getpid(), signal.SIGINT)

        before = signal.getsignal(signal.SIGINT)
        result = maximize(model, ["4:1", "0:1"], steps=20, progress=progress)
        assert result.interrupted
        assert result.stopped == "interrupted after 7 of 40 steps"
        assert [maximum.objective for maximum in result.maxima] == ["4:1"]
        assert result.maxima[0].curve.shape == (1, 7)
        assert signal.getsignal(signal.SIGINT) is before
        assert calls[-1] == (7, 40)
