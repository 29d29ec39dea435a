"""Maximized images: closed forms, plain loops and finite differences as oracles."""

import math
import os
import signal
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError, Direction, Result, maximize, patches, trace, wrap
from convlens.analyses.maximize.parameterization import Parameterization
from convlens.analyses.maximize.transforms import Transforms
from convlens.capture import capture_nodes
from support.drawn import holds

STILL = Transforms()


def small(seed=0, channels=3):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip


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


class TestGradients:
    @pytest.mark.parametrize("kind", ["pixels", "fourier"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_parameterization(self, kind, channels):
        parameterization = Parameterization(kind, channels, 5, 4, bounds=(-1.0, 2.0))
        parameters = parameterization.random_parameters(
            [torch.Generator().manual_seed(k) for k in range(2)], 9.0
        ).double()
        assert torch.autograd.gradcheck(parameterization.to_images, [parameters.requires_grad_()])

    def test_transforms(self):
        generators = [torch.Generator().manual_seed(k) for k in range(2)]
        transforms = Transforms(shift=1.5, rotation=20, scale=0.3)
        matrices = transforms.sample(generators, (6, 7))
        images = torch.rand(2, 1, 6, 7, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: transforms.apply(x, matrices.double()), [images])

    @pytest.mark.parametrize("kind", ["pixels", "fourier"])
    def test_parameters_of_an_image_give_it_back(self, kind):
        images = 0.05 + 0.9 * torch.rand(2, 3, 9, 8)
        parameterization = Parameterization(kind, 3, 9, 8)
        torch.testing.assert_close(
            parameterization.to_images(parameterization.from_images(images)), images
        )

    def test_random_parameters_are_faint_gray_noise(self):
        for kind in ("pixels", "fourier"):
            drawn = Parameterization(kind, 3, 64, 64).random_parameters(
                [torch.Generator().manual_seed(0)]
            )
            images = Parameterization(kind, 3, 64, 64).to_images(drawn)
            assert abs(float(images.mean()) - 0.5) < 0.02
            assert 0.002 < float(images.std()) < 0.03


class TestTransforms:
    def test_a_shift_by_whole_pixels_is_a_shift(self):
        images = torch.rand(1, 2, 8, 10)
        matrices = torch.tensor([[[1.0, 0, 2 * 3 / 10], [0, 1, 2 * 2 / 8]]])
        moved = STILL.apply(images, matrices)
        torch.testing.assert_close(moved[..., :6, :7], images[..., 2:, 3:])

    def test_a_turn_keeps_right_angles_on_oblong_images(self):
        transforms = Transforms(rotation=90)
        matrices = transforms.sample([torch.Generator().manual_seed(0)], (8, 16))
        matrix = matrices[0, :, :2] * torch.tensor([[1.0, 16 / 8], [8 / 16, 1.0]])
        # In pixels the matrix is a rotation: orthogonal, of determinant one.
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(2))
        assert float(torch.linalg.det(matrix)) == pytest.approx(1)

    def test_each_image_is_moved_by_its_own_draws(self):
        def generators():
            return [torch.Generator().manual_seed(k) for k in (3, 4)]

        transforms = Transforms(2, 10, 0.2)
        both = transforms.sample(generators(), (8, 8))
        alone = transforms.sample(generators()[1:], (8, 8))
        assert torch.equal(both[1:], alone)
        assert not torch.equal(both[0], both[1])


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


class TestProof:
    def test_what_is_reached_is_read_off_the_image_itself(self):
        model = wrap(small(), size=24)
        result = maximize(model, ["4:1", "4:1@5,5", "2"], steps=10, image_size=None).maxima
        network = model.network
        with torch.no_grad():
            maps = network[:6](result[0].images)[0, 1]
            edge = maps.shape[0] // 4
            inner = maps[edge:-edge, edge:-edge]
            assert float(inner.max()) <= float(result[0].reached) <= float(maps.max())
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


class TestOptions:
    def test_regularizers_do_what_they_say(self):
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
        seen = []

        def progress(done, total):
            seen.append((done, total))
            if len(seen) == 7:
                os.kill(os.getpid(), signal.SIGINT)

        before = signal.getsignal(signal.SIGINT)
        result = maximize(model, ["4:1", "0:1"], steps=20, progress=progress)
        assert result.interrupted
        assert result.stopped == "interrupted after 7 of 40 steps"
        assert [maximum.objective for maximum in result.maxima] == ["4:1"]
        assert result.maxima[0].curve.shape == (1, 7)
        assert signal.getsignal(signal.SIGINT) is before
        assert seen[-1] == (7, 40)
