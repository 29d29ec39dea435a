"""Objectives and options of maximized images: directions, differences, regularizers, bad input."""

from typing import Any

import pytest
import torch

from convlens import ConvlensError, Direction, maximize, trace, wrap
from convlens.capture.nodes import capture_nodes
from support.maximized_networks import STILL, small


class TestObjectives:
    def test_a_direction_is_a_weighted_sum_of_channels(self):
        model = wrap(small(), size=24)
        axis = [0.0] * 8
        axis[3] = 2.0
        maximum = maximize(model, Direction("4", tuple(axis)), steps=5).maxima[0]
        drawn = maximum.images
        structure = trace(model, drawn, partly=True)
        value = structure.find_node("5")
        maps = capture_nodes(model, structure, drawn, [value])[value]
        inner = maps[0, 3]
        assert float(maximum.reached[0]) in [
            pytest.approx(float(v), rel=1e-5) for v in inner.flatten()
        ]
        with pytest.raises(ConvlensError, match="3 numbers in 4, which has 8 channels"):
            maximize(model, Direction("4", (1.0, 2.0, 3.0)), steps=1)

    def test_a_minus_turns_the_objective(self):
        model = wrap(small(), size=24)
        up, down = maximize(model, ["4:1", "-4:1"], steps=40).maxima
        assert float(up.mean[0]) > 0 > float(down.mean[0])
        assert down.curve[0, -1] > down.curve[0, 0]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("9:1", "no layer '9'"),
            ("4:8", "4 has 8 channels, 0 to 7; given 8"),
            ("4:1@12,0", "4 has units from 0,0 to 11,11 on images of 24 x 24; given 12,0"),
            ("cat", "unknown class 'cat'"),
            ("a - cat", "unknown class 'cat'"),
            ("a - a", "class 0 minus itself"),
        ],
    )
    def test_unknown_objectives(self, text, problem):
        model = wrap(small(), size=24, labels=("a", "b", "c", "d"))
        with pytest.raises(ConvlensError, match=problem):
            maximize(model, ["4:1", text], steps=1)

    def test_bad_numbers(self):
        model = wrap(small(), size=24)
        cases: list[dict[str, Any]] = [{"steps": 0}, {"seeds": 0}, {"batch_size": 0}]
        for options in cases:
            with pytest.raises(ConvlensError, match="at least 1 of each"):
                maximize(model, "4:1", **options)
        with pytest.raises(ConvlensError, match="at least 1 of each"):
            maximize(model, [])
        with pytest.raises(ConvlensError, match="2 images to begin with"):
            maximize(model, "4:1", start=torch.rand(2, 3, 24, 24))
        with pytest.raises(ConvlensError, match="outside the model's bounds"):
            maximize(model, "4:1", start=255 * torch.rand(1, 3, 24, 24))
        with pytest.raises(ConvlensError, match="parameterization 'wavelet'"):
            maximize(model, "4:1", parameterization="wavelet")  # type: ignore[arg-type]
        with pytest.raises(ConvlensError, match="class score 'loss'"):
            maximize(model, "1", class_score="loss")  # type: ignore[arg-type]
        with pytest.raises(ConvlensError, match=r"2 x 2 pixels are too few for 4 .* least 4 x 4"):
            maximize(model, "4:1", image_size=2)


class TestOptions:
    def test_regularizers_lower_total_variation_and_distance(self):
        model = wrap(small(), size=24)
        how: dict[str, Any] = {"steps": 60, "transforms": STILL, "parameterization": "pixels"}
        free = maximize(model, "4:1", **how).maxima[0].images
        smooth = maximize(model, "4:1", total_variation=5.0, **how).maxima[0].images
        gray = maximize(model, "4:1", l2=5.0, **how).maxima[0].images

        def roughness(x):
            return float(x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean())

        assert roughness(smooth) < 0.5 * roughness(free)
        assert float((gray - 0.5).square().mean()) < 0.5 * float((free - 0.5).square().mean())

    def test_an_image_to_begin_with(self):
        model = wrap(small(), size=24)
        photo = 0.1 + 0.8 * torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
        result = maximize(model, ["2", "4:1@5,5"], steps=1, start=photo, learning_rate=1e-6).maxima
        torch.testing.assert_close(result[0].images, photo, atol=1e-4, rtol=0)
        top, left, height, width = result[1].window
        part = photo[..., top : top + height, left : left + width]
        torch.testing.assert_close(result[1].images, part, atol=1e-4, rtol=0)
