"""Maximized images against closed forms; independence of other images; least work; dead units."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from convlens import ConvlensError, maximize, trace, wrap
from convlens.capture.nodes import capture_nodes
from support.maximized_networks import STILL, small


class Scores(nn.Module):
    """Class scores that are a function of the image, beside a convolution that is not used."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        self.function = function

    def forward(self, x):
        return self.function(x) + 0 * self.conv(x).mean()


class TestClosedForms:
    def test_the_best_image_of_a_linear_unit_is_its_filter(self):
        """Of w·x less the squared distance from gray, weighed by l2: x - 1/2 = w n / (8 l2)."""
        torch.manual_seed(0)
        conv = nn.Conv2d(3, 2, 7, bias=False)
        model = wrap(nn.Sequential(conv, nn.ReLU()), size=16)
        n, weight = 3 * 49, 300.0
        result = maximize(
            model, "0:1@4,4", steps=600, transforms=STILL, l2=weight, parameterization="pixels"
        ).maxima[0]
        top, left, height, width = result.window
        assert (height, width) == (
            8,
            8,
        )  # its field, and one to spare
        change = result.images[0, :, 4 - top : 11 - top, 4 - left : 11 - left] - 0.5
        area = 3 * height * width
        expected = conv.weight[1].detach() * area / (8 * weight)
        assert n < area
        assert float(expected.abs().max()) < 0.1
        torch.testing.assert_close(change, expected, atol=1e-3, rtol=0)
        outside = result.images[0] - 0.5
        outside[:, 4 - top : 11 - top, 4 - left : 11 - left] = 0
        assert float(outside.abs().max()) < 1e-3

    @pytest.mark.parametrize("kind", ["pixels", "fourier"])
    def test_the_top_of_a_paraboloid_is_found(self, kind):
        generator = torch.Generator().manual_seed(1)
        top = 0.3 + 0.4 * torch.rand(3, 8, 8, generator=generator)

        def scores(x):
            height = -(x - top).square().sum((1, 2, 3))
            return torch.stack([height, 0 * height], dim=1)

        model = wrap(Scores(scores), size=8)
        result = maximize(model, "0", steps=600, transforms=STILL, parameterization=kind).maxima[0]
        assert float((result.images[0] - top).abs().max()) < 5e-3
        assert float(result.reached[0]) == pytest.approx(0, abs=1e-2)
        assert float(result.curve[0, -1]) > float(result.curve[0, 0]) + 0.5

    def test_a_class_and_its_opposite_and_a_difference(self):
        def scores(x):
            red, green, blue = x.mean((2, 3)).unbind(1)
            return 10 * torch.stack([red, green, blue], dim=1)

        model = wrap(Scores(scores), size=8, labels=("red", "green - yellow", "blue"))
        result = maximize(
            model, ["red", "-red", "red - green - yellow"], steps=150, transforms=STILL,
            parameterization="pixels",
        ).maxima  # fmt: skip
        red, dark, difference = (maximum.images[0].mean((1, 2)) for maximum in result)
        assert red[0] > 0.95
        assert red[1:].sub(0.5).abs().max() < 0.05
        assert dark[0] < 0.05
        assert difference[0] > 0.95
        assert difference[1] < 0.05
        assert abs(float(difference[2]) - 0.5) < 0.05
        assert [maximum.objective for maximum in result] == ["red", "-red", "red - green - yellow"]
        assert (int(result[0].rank), int(result[1].rank)) == (1, 3)
        assert float(result[2].reached) == pytest.approx(
            float(10 * (difference[0] - difference[1])), rel=1e-3
        )

    def test_the_probability_lowers_the_other_classes_too(self):
        def scores(x):
            red, green, _ = x.mean((2, 3)).unbind(1)
            return 10 * torch.stack([red + green, green], dim=1)

        model = wrap(Scores(scores), size=8)
        how: dict[str, Any] = {"steps": 150, "transforms": STILL, "parameterization": "pixels"}
        logit = maximize(model, "0", **how).maxima[0]
        probability = maximize(model, "0", class_score="probability", **how).maxima[0]
        assert float(logit.images[0, 1].mean()) > 0.95  # green helps the logit
        assert abs(float(probability.images[0, 1].mean()) - 0.5) < 0.05  # and not the probability
        assert float(probability.probability[0]) == pytest.approx(
            1 / (1 + math.exp(-10 * float(probability.images[0, 0].mean()))), rel=1e-4
        )


class TestIndependence:
    OBJECTIVES = ("4:1", "4:5", "4:2@3,3", "4:0@0,1", "0:2")

    def test_a_picture_is_the_same_whatever_else_is_made(self):
        model = wrap(small(), size=24)
        together = maximize(model, self.OBJECTIVES, steps=12, seeds=2).maxima
        for number, text in enumerate(self.OBJECTIVES):
            alone = maximize(model, text, steps=12, seeds=2).maxima[0]
            torch.testing.assert_close(together[number].images, alone.images, atol=1e-5, rtol=0)
            assert together[number].objective == text
        assert torch.equal(
            maximize(model, "4:1", steps=5).maxima[0].images,
            maximize(model, "4:1", steps=5).maxima[0].images,
        )

    def test_seeds_and_batches_do_not_matter_to_one_another(self):
        model = wrap(small(), size=24)
        three = maximize(model, "4:1", steps=6, seeds=3, seed=5).maxima[0]
        second = maximize(model, "4:1", steps=6, seed=6).maxima[0]
        torch.testing.assert_close(three.images[1:2], second.images, atol=1e-5, rtol=0)
        single = maximize(model, "4:1", steps=6, seeds=3, seed=5, batch_size=1).maxima[0]
        torch.testing.assert_close(three.images, single.images, atol=1e-5, rtol=0)
        assert float((three.images[0] - three.images[1]).abs().max()) > 1e-3


class TestLeastWork:
    def test_nothing_after_the_objective_runs_and_no_parameter_gets_a_gradient(self):
        network = small()
        ran = []
        network[6].register_forward_hook(lambda *_: ran.append(1))
        network[0].weight.grad = torch.ones_like(network[0].weight)
        maximize(wrap(network, size=24), ["4:1", "4:1@2,2"], steps=3)
        assert not ran
        assert torch.equal(network[0].weight.grad, torch.ones_like(network[0].weight))
        assert network[4].weight.grad is None

    @pytest.mark.parametrize("at", [(3, 4), (0, 0), (0, 11), (11, 5)])
    def test_a_unit_sees_its_picture_as_it_would_in_a_whole_image(self, at):
        model = wrap(small(), size=24)
        result = maximize(model, f"4:1@{at[0]},{at[1]}", steps=20).maxima[0]
        top, left, height, width = result.window
        assert (height, width) < (24, 24)
        whole = torch.rand(1, 3, 24, 24)
        whole[..., top : top + height, left : left + width] = result.images
        structure = trace(model)
        value = structure.find_node("5")
        unit = capture_nodes(model, structure, whole, [value])[value][0, 1, at[0], at[1]]
        assert float(unit) == pytest.approx(float(result.reached[0]), abs=1e-5)
        assert float(unit) > 0

    def test_a_fully_connected_stage_does_not_limit_the_size(self):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 32 * 32, 3)
        )
        model = wrap(network, size=32)
        assert maximize(model, "0:1", steps=2, image_size=20).maxima[0].images.shape[-2:] == (
            20,
            20,
        )
        assert maximize(model, "0:1@9,9", steps=2).maxima[0].images.shape[-2:] == (4, 4)
        with pytest.raises(ConvlensError, match="does not run on an image of 3 x 20 x 20"):
            maximize(model, "1", steps=2, image_size=20)


class ClosedRectifier(nn.Module):
    """A rectifier with a threshold between two convolutions."""

    def __init__(self, threshold):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1, groups=3)
        self.second = nn.Conv2d(3, 1, 1)
        nn.init.ones_(self.first.weight)
        nn.init.constant_(self.first.bias, -0.5 - threshold)
        nn.init.ones_(self.second.weight)

    def forward(self, x):
        return self.second(self.first(x).relu())


class TestDeadUnits:
    def test_an_image_without_gradient_is_drawn_again(self):
        model = wrap(ClosedRectifier(0.1), size=16)  # the faint start stays below the threshold
        result = maximize(model, "second:0", steps=40, parameterization="pixels").maxima[0]
        assert result.had_gradient == (True,)
        assert float(result.curve[0, 0]) == pytest.approx(float(result.curve[0].min()))
        assert float(result.mean) > float(result.curve[0, 0]) + 0.01

    def test_drawing_one_image_again_does_not_change_others(self):
        model = wrap(ClosedRectifier(0.1), size=16)
        how: dict[str, Any] = {"steps": 20, "parameterization": "pixels"}
        two = maximize(model, "second:0", seeds=2, **how).maxima[0]
        single = maximize(model, "second:0", seed=1, **how).maxima[0]
        torch.testing.assert_close(two.images[1:], single.images, atol=1e-6, rtol=0)

    def test_an_image_that_stays_without_gradient_is_reported(self):
        result = maximize(wrap(ClosedRectifier(10.0), size=16), "second:0", steps=20).maxima[0]
        assert result.had_gradient == (False,)
        assert "shows nothing" in result.summary()

    def test_a_closed_rectifier_at_the_objective_is_optimized_before_it(self):
        network = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU())
        nn.init.constant_(network.get_parameter("0.bias"), -1.0)
        result = maximize(wrap(network, size=16), "1:0", steps=60).maxima[0]
        assert result.node_name == "1"
        assert result.optimized_node_name == "0"
        assert float(result.mean[0]) > float(result.curve[0, 0]) + 0.1
