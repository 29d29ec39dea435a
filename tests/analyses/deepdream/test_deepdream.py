"""DeepDream: its steps against plain loops, the layers that it strengthens, and its result."""

import math

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import convlens
from convlens import ConvlensError, dream, load, wrap
from convlens.analyses.deepdream.objective import activation_objective
from convlens.analyses.deepdream.tiles import plan_tiles
from convlens.tracing import runs
from support.dreamed_networks import photo, pre_activations, small_model, small_network
from support.folders import SHARED

SKY = SHARED / "photos" / "sky.jpg"


def slope(network, image, weights=lambda a: a):
    """The gradient of ½‖a‖² by torch alone."""
    image = image.clone().requires_grad_()
    values = pre_activations(network, image)
    (result,) = torch.autograd.grad(values, image, weights(values.detach()))
    return result


def one_step(images, **options):
    return dream(images, photo(), layer="4", octaves=1, steps=1, jitter=0, **options)


class TestMathematics:
    def test_a_step_goes_along_the_pre_activations(self):
        wrapped = small_model()
        result = one_step(wrapped, step=3)
        expected = slope(wrapped.network, photo())
        expected = photo() + 3 / 255 * expected / expected.abs().mean()
        assert (result.side, result.node_name) == ("pre", "5")
        assert torch.allclose(result.image, expected.clamp(0, 1)[0], atol=1e-6)
        assert not torch.allclose(result.image, result.photo, atol=1e-3)
        half_square = pre_activations(wrapped.network, photo()).detach().double().square().sum() / 2
        assert result.objective[0, 0] == pytest.approx(float(half_square), rel=1e-6)
        assert result.photo_objective == pytest.approx(float(half_square), rel=1e-6)

    def test_the_gradient_against_finite_differences(self):
        network = small_network().double()
        wrapped = wrap(network, mean=0.4, std=0.3, size=32)
        image = photo().double()
        gradient = torch.zeros_like(image)
        result = plan_tiles(wrapped, (40, 48), "5", largest=None)
        result.evaluate(image, activation_objective(), gradient=gradient)
        for index in ((0, 0, 0), (1, 17, 30), (2, 39, 47)):
            worth = []
            for sign in (1, -1):
                moved = image.clone()
                moved[0][index] += sign * 1e-6
                worth.append(float(pre_activations(network, moved).detach().square().sum()) / 2)
            difference = (worth[0] - worth[1]) / 2e-6
            assert gradient[0][index] == pytest.approx(difference, rel=1e-5)

    def test_one_channel(self):
        wrapped = small_model()
        result = one_step(wrapped, channel=7)

        def only(values):
            weights = torch.zeros_like(values)
            weights[:, 7] = values[:, 7]
            return weights

        expected = slope(wrapped.network, photo(), only)
        expected = photo() + 1.5 / 255 * expected / expected.abs().mean()
        assert torch.allclose(result.image, expected.clamp(0, 1)[0], atol=1e-6)
        alone = pre_activations(wrapped.network, photo())[:, 7].detach().double().square().sum() / 2
        assert result.objective[0, 0] == pytest.approx(float(alone), rel=1e-6)

    @pytest.mark.parametrize("at_once", [2**24, 50])
    def test_a_guide_draws_each_position_to_the_feature_most_like_it(self, at_once, monkeypatch):
        monkeypatch.setattr("convlens.analyses.deepdream.objective._PRODUCTS", at_once)
        wrapped = small_model()
        guide = photo(20, 24, seed=1)
        result = one_step(wrapped, guide=guide)
        features = F.relu(pre_activations(wrapped.network, guide)).detach()[0].flatten(1).T

        worth = []

        def nearest(values):
            weights = torch.zeros_like(values)
            for y in range(values.shape[2]):
                for x in range(values.shape[3]):
                    products = [float(feature @ values[0, :, y, x]) for feature in features]
                    worth.append(max(products))
                    weights[0, :, y, x] = features[products.index(worth[-1])]
            return weights

        expected = slope(wrapped.network, photo(), nearest)
        expected = photo() + 1.5 / 255 * expected / expected.abs().mean()
        assert torch.allclose(result.image, expected.clamp(0, 1)[0], atol=1e-6)
        assert result.objective[0, 0] == pytest.approx(sum(worth), rel=1e-5)
        assert torch.equal(result.guide, guide[0])

    def test_octaves_steps_and_jitter_against_a_plain_loop(self):
        wrapped = small_model()
        result = dream(
            wrapped, photo(), layer="4", octaves=3, scale=1.3, steps=2, step=4, jitter=5, seed=3
        )
        draws = torch.Generator().manual_seed(3)
        detail = torch.zeros(1, 3, 1, 1)
        for size in ((24, 28), (31, 37), (40, 48)):
            base = F.interpolate(photo(), size=size, mode="bicubic", antialias=True).clamp(0, 1)
            if size == (40, 48):
                base = photo()
            if detail.shape[2] > 1:
                detail = F.interpolate(detail, size=size, mode="bicubic", antialias=True)
            image = (base + detail).clamp(0, 1)
            for _ in range(2):
                y, x = (int(torch.randint(-5, 6, (1,), generator=draws)) for _ in range(2))
                rolled = torch.roll(image, (y, x), dims=(2, 3))
                gradient = slope(wrapped.network, rolled)
                rolled = (rolled + 4 / 255 * gradient / gradient.abs().mean()).clamp(0, 1)
                image = torch.roll(rolled, (-y, -x), dims=(2, 3))
            detail = image - base
        assert result.sizes == ((24, 28), (31, 37), (40, 48))
        assert torch.allclose(result.image, image[0], atol=1e-4)
        first = F.interpolate(photo(), size=(24, 28), mode="bicubic", antialias=True).clamp(0, 1)
        for start, worth in (
            (first, result.objective[0, 0]),
            (result.image[None], result.objective[2, 2]),
        ):
            half_square = (
                pre_activations(wrapped.network, start).detach().double().square().sum() / 2
            )
            assert float(worth) == pytest.approx(float(half_square), rel=1e-5)
        assert bool((result.objective[:, -1] > result.objective[:, 0]).all())
        assert torch.equal(result.rise, result.objective[:, -1] / result.objective[:, 0])

    def test_other_seeds_shift_otherwise(self):
        first, again, second = (
            dream(small_model(), photo(), layer="4", octaves=1, steps=2, seed=seed)
            for seed in (0, 0, 1)
        )
        assert first == again
        assert not torch.equal(first.image, second.image)

    def test_bounds_are_the_models_own(self):
        wrapped = wrap(small_network(), size=32, bounds=(-1, 3))
        start = photo() * 4 - 1
        result = dream(wrapped, start, layer="4", octaves=1, steps=2, step=40, jitter=0)
        assert float(result.image.min()) == -1 and float(result.image.max()) == 3
        # A step is of 255 levels of the span.
        mild = dream(wrapped, photo() + 0.5, layer="4", octaves=1, steps=1, step=1, jitter=0)
        assert (mild.image - mild.photo).abs().mean() == pytest.approx(4 / 255, rel=1e-3)


class Block(nn.Module):
    """A residual block, and a gate written out."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = F.relu(x + self.second(x))
        x = self.third(x)
        return (x * torch.sigmoid(x)).mean((2, 3))


class TestLayers:
    def test_behind_a_sum_and_before_a_gate(self):
        wrapped = wrap(Block(), size=24)
        result = [dream(wrapped, photo(), layer=name, octaves=1, steps=1).node_name
                 for name in ("first", "second", "third")]  # fmt: skip
        assert result == ["first", "/add", "third"]

    def test_other_sides(self):
        wrapped = small_model()
        post = dream(wrapped, photo(), layer="6", side="post", octaves=1, steps=1)
        assert (post.side, post.node_name) == ("post", "6")
        value = (
            F.relu(pre_activations(wrapped.network, photo())).detach().double().square().sum() / 2
        )
        assert post.photo_objective == pytest.approx(float(value), rel=1e-6)
        assert dream(wrapped, photo(), layer="3", octaves=1, steps=1).side == "output"

    @pytest.mark.slow
    def test_the_last_that_sees_no_more_than_an_image_is_chosen(self):
        result = dream(load(), photo(64, 64), octaves=1, steps=1)
        assert result.layer == "blocks.4.1.conv_pw"  # 211 of 224 pixels; the next sees 275
        assert "see no more than an image of 224 × 224" in result.reason

    def test_what_comes_after_the_layer_need_not_fit(self, monkeypatch):
        """The fully connected stage takes images of 32 x 32 alone."""
        wrapped = small_model()
        with pytest.raises(ConvlensError, match="fully connected"):
            convlens.trace(wrapped, size=(40, 48))
        assert dream(wrapped, photo(), layer="4", octaves=1, steps=1).rise > 1

        real, ran = runs.record, []

        def record(*arguments, fake, **options):
            ran.append(fake)
            return real(*arguments, fake=fake, **options)

        monkeypatch.setattr(runs, "record", record)
        result = convlens.trace(wrapped, size=(400, 480), partly="4")
        assert result.shape(result.find_node("4")) == (1, 12, 198, 238)
        assert ran and all(ran)  # a large image takes no memory to trace
        beyond = convlens.trace(wrapped, size=(400, 480), partly="8")
        assert not all(ran)
        with pytest.raises(ConvlensError, match="ends early: the fully connected stage 8"):
            beyond.find_node("8")


class TestPhotos:
    def test_the_photo_keeps_its_size(self, tmp_path):
        path = tmp_path / "photo.png"
        Image.effect_noise((70, 50), 60).convert("RGB").save(path)
        result = dream(small_model(), path, layer="4", octaves=1, steps=1)
        assert result.image.shape == (3, 50, 70)
        small = dream(small_model(), path, layer="4", octaves=1, steps=1, image_size=35)
        assert small.image.shape[1:] == (25, 35)
        with pytest.raises(ConvlensError, match="does not exist"):
            dream(small_model(), tmp_path / "other.png", layer="4")

    def test_saved_loaded_and_drawn(self, tmp_path):
        result = one_step(small_model())
        result.save(tmp_path / "dream")
        assert convlens.Result.load(tmp_path / "dream") == result
        pictures = result.pictures()
        assert list(pictures) == ["photo", "dream"]
        expected = (result.image * 255).round().to(torch.uint8).permute(1, 2, 0)
        assert torch.equal(pictures["dream"], expected)
        times = float(result.objective[0, -1]) / result.photo_objective
        assert f"is {times:.3g} times that of the photo after 1 octave of 1 step" in (
            result.summary()
        )

    @pytest.mark.slow
    def test_the_default_network_sees_more_in_the_sky(self):
        if not SKY.exists():
            pytest.skip("no shared photos beside the checkout")
        result = dream(load(), SKY, octaves=2, steps=4, image_size=160)
        assert bool((result.rise > 1.1).all())
        assert result.objective[-1, -1] > 1.5 * result.photo_objective
        assert not math.isnan(result.photo_objective)
