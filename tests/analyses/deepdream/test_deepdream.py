"""DeepDream: plain loops as oracles, tiles against the whole image, and errors."""

import math
import signal
from typing import Any

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
from support.folders import SHARED

SKY = SHARED / "photos" / "sky.jpg"


def layers():
    """conv-BN-ReLU twice, with statistics as after training."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.ReLU(inplace=True),
        nn.Flatten(), nn.LazyLinear(5),
    )  # fmt: skip
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 32, 32))
    return network.eval()


def before(network, images):
    """The pre-activations of the second convolution, written out."""
    images = (images - 0.4) / 0.3
    for module in network[:6]:
        images = F.relu(images) if isinstance(module, nn.ReLU) else module(images)
    return images


def model(**options):
    return wrap(layers(), mean=0.4, std=0.3, size=32, **options)


def slope(network, image, weights=lambda a: a):
    """The gradient of ½‖a‖² by torch alone."""
    image = image.clone().requires_grad_()
    values = before(network, image)
    (result,) = torch.autograd.grad(values, image, weights(values.detach()))
    return result


def photo(height=40, width=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, height, width, generator=generator)


def one_step(images, **options):
    return dream(images, photo(), layer="4", octaves=1, steps=1, jitter=0, **options)


class TestMathematics:
    def test_a_step_goes_along_the_pre_activations(self):
        wrapped = model()
        result = one_step(wrapped, step=3)
        expected = slope(wrapped.network, photo())
        expected = photo() + 3 / 255 * expected / expected.abs().mean()
        assert (result.side, result.node_name) == ("pre", "5")
        assert torch.allclose(result.image, expected.clamp(0, 1)[0], atol=1e-6)
        assert not torch.allclose(result.image, result.photo, atol=1e-3)
        whole = before(wrapped.network, photo()).detach().double().square().sum() / 2
        assert result.objective[0, 0] == pytest.approx(float(whole), rel=1e-6)
        assert result.photo_objective == pytest.approx(float(whole), rel=1e-6)

    def test_the_gradient_against_finite_differences(self):
        network = layers().double()
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
                worth.append(float(before(network, moved).detach().square().sum()) / 2)
            difference = (worth[0] - worth[1]) / 2e-6
            assert gradient[0][index] == pytest.approx(difference, rel=1e-5)

    def test_one_channel(self):
        wrapped = model()
        result = one_step(wrapped, channel=7)

        def only(values):
            weights = torch.zeros_like(values)
            weights[:, 7] = values[:, 7]
            return weights

        expected = slope(wrapped.network, photo(), only)
        expected = photo() + 1.5 / 255 * expected / expected.abs().mean()
        assert torch.allclose(result.image, expected.clamp(0, 1)[0], atol=1e-6)
        alone = before(wrapped.network, photo())[:, 7].detach().double().square().sum() / 2
        assert result.objective[0, 0] == pytest.approx(float(alone), rel=1e-6)

    @pytest.mark.parametrize("at_once", [2**24, 50])
    def test_a_guide_draws_each_position_to_the_feature_most_like_it(self, at_once, monkeypatch):
        monkeypatch.setattr("convlens.analyses.deepdream.objective._PRODUCTS", at_once)
        wrapped = model()
        guide = photo(20, 24, seed=1)
        result = one_step(wrapped, guide=guide)
        features = F.relu(before(wrapped.network, guide)).detach()[0].flatten(1).T

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
        wrapped = model()
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
            whole = before(wrapped.network, start).detach().double().square().sum() / 2
            assert float(worth) == pytest.approx(float(whole), rel=1e-5)
        assert bool((result.objective[:, -1] > result.objective[:, 0]).all())
        assert torch.equal(result.rise, result.objective[:, -1] / result.objective[:, 0])

    def test_other_seeds_shift_otherwise(self):
        first, same, second = (
            dream(model(), photo(), layer="4", octaves=1, steps=2, seed=seed) for seed in (0, 0, 1)
        )
        assert first == same
        assert not torch.equal(first.image, second.image)

    def test_bounds_are_the_models_own(self):
        wrapped = wrap(layers(), size=32, bounds=(-1, 3))
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
        wrapped = model()
        post = dream(wrapped, photo(), layer="6", side="post", octaves=1, steps=1)
        assert (post.side, post.node_name) == ("post", "6")
        value = F.relu(before(wrapped.network, photo())).detach().double().square().sum() / 2
        assert post.photo_objective == pytest.approx(float(value), rel=1e-6)
        assert dream(wrapped, photo(), layer="3", octaves=1, steps=1).side == "output"

    @pytest.mark.slow
    def test_the_last_that_sees_no_more_than_an_image_is_chosen(self):
        result = dream(load(), photo(64, 64), octaves=1, steps=1)
        assert result.layer == "blocks.4.1.conv_pw"  # 211 of 224 pixels; the next sees 275
        assert "see no more than an image of 224 x 224" in result.reason

    def test_what_comes_after_the_layer_need_not_fit(self, monkeypatch):
        """The fully connected stage takes images of 32 x 32 alone."""
        wrapped = model()
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


NETWORKS = [
    pytest.param("default", "blocks.2.0.conv_dw", (189, 243), 96, marks=pytest.mark.slow),
    pytest.param("default", "blocks.3.0.conv_pw", (224, 224), 150, marks=pytest.mark.slow),
    pytest.param(
        "torchvision:squeezenet1_0@random", "features.5.expand3x3", (301, 260), 150,
        marks=pytest.mark.slow,
    ),
    ("torchvision:resnet18@random", "layer2.1.conv2", (233, 210), 150),
    ("torchvision:googlenet@random", "inception3a.branch2.1.conv", (230, 280), 150),
]  # fmt: skip


class TestTiles:
    @pytest.mark.parametrize(("spec", "layer", "size", "most"), NETWORKS)
    def test_they_add_up_to_the_gradient_of_the_whole(self, spec, layer, size, most):
        """Dynamic padding, ceil mode, sums and branches; at the borders too."""
        wrapped = load(spec)
        node_name = dream(wrapped, photo(224, 224), layer=layer, octaves=1, steps=1).node_name
        sees = convlens.receptive_field(wrapped, photo(224, 224), layer=layer).size[0]
        image = photo(*size)
        result = []
        for tile in (None, most):
            gradient = torch.zeros_like(image)
            tiles = plan_tiles(wrapped, size, node_name, largest=tile)
            worth = tiles.evaluate(image, activation_objective(), gradient=gradient)
            result.append((len(tiles.tiles), worth, gradient))
        (first, whole, expected), (several, sum_, gradient) = result
        assert first == 1 and several >= 4
        assert sum_ == pytest.approx(whole, rel=1e-6)
        assert (gradient - expected).abs().max() < 1e-4 * expected.abs().mean()
        assert max(max(tile.size) for tile, _ in tiles.tiles) <= max(most, 2 * sees)

    def test_every_unit_is_in_one_tile(self):
        tiles = plan_tiles(model(), (70, 90), "5", largest=30).tiles
        seen = torch.zeros(33, 43, dtype=torch.int64)
        for tile, _ in tiles:
            rows, columns = tile.rows, tile.columns
            seen[rows.first_unit : rows.stop_unit, columns.first_unit : columns.stop_unit] += 1
        assert len(tiles) > 4
        assert bool((seen == 1).all())

    def test_a_dream_in_tiles_is_the_same_dream(self):
        options: dict[str, Any] = {"layer": "4", "octaves": 2, "steps": 2, "jitter": 3}
        messages = []
        whole = dream(model(), photo(60, 70), tile=None, **options)
        tiled = dream(
            model(), photo(60, 70), tile=24, progress=lambda *args: messages.append(args), **options
        )
        smaller = len(plan_tiles(model(), tiled.sizes[0], "5", largest=24).tiles)
        total = 2 * (smaller + tiled.tiles)
        assert messages == [(done, total) for done in range(1, total + 1)]
        assert (whole.tiles, tiled.tiles > 4) == (1, True)
        assert torch.allclose(whole.image, tiled.image, atol=1e-4)
        assert torch.allclose(whole.objective, tiled.objective, rtol=1e-4)

    def test_tiles_share_the_mean_that_is_subtracted(self):
        wrapped = wrap(layers(), size=32, center="image")
        image = photo(60, 70) ** 2
        gradient = torch.zeros_like(image)
        plan_tiles(wrapped, (60, 70), "5", largest=24).evaluate(
            image, activation_objective(), gradient=gradient
        )
        free = image.clone().requires_grad_()
        values = free - free.mean(dim=(2, 3), keepdim=True)
        for module in wrapped.network[:6]:
            values = F.relu(values) if isinstance(module, nn.ReLU) else module(values)
        (expected,) = torch.autograd.grad(values, free, values.detach())
        assert (gradient - expected).abs().max() < 1e-4 * expected.abs().mean()

    def test_a_layer_that_sees_everything_is_not_taken_apart(self):
        class Gate(nn.Module):
            def forward(self, x):
                return x * torch.sigmoid(x.mean((2, 3), keepdim=True))

        torch.manual_seed(0)
        wrapped = wrap(nn.Sequential(nn.Conv2d(3, 4, 3), Gate(), nn.Conv2d(4, 4, 3)), size=24)
        assert len(plan_tiles(wrapped, (60, 60), "0", largest=24).tiles) > 1
        assert len(plan_tiles(wrapped, (60, 60), "2", largest=24).tiles) == 1


class Fragile(nn.Module):
    """Gives NaN as soon as the image is brighter than a limit."""

    def __init__(self, limit):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.limit = limit

    def forward(self, x):
        return torch.where(x.amax() > self.limit, torch.nan, 1.0) * self.conv(x)


class TestEnds:
    def test_an_interrupt_keeps_what_there_is(self):
        def progress(done, total):
            assert total == 9
            if done == 5:
                signal.raise_signal(signal.SIGINT)

        wrapped = model()
        options: dict[str, Any] = {"layer": "4", "octaves": 3, "steps": 3, "scale": 1.2}
        before = signal.getsignal(signal.SIGINT)
        result = dream(wrapped, photo(), progress=progress, **options)
        assert result.interrupted
        assert result.stopped.startswith("interrupted in octave 2 of 3, step 3 of 3")
        assert result.stopped in result.summary()
        assert result.image.shape == (3, 40, 48)
        assert not torch.allclose(result.image, result.photo, atol=1e-3)
        assert result.objective.isfinite().tolist() == [[True] * 4, [True, True] + [False] * 2,
                                                       [False] * 4]  # fmt: skip
        assert signal.getsignal(signal.SIGINT) is before

    def test_nan_ends_with_the_last_good_picture(self):
        image = photo() * 0.8
        wrapped = wrap(Fragile(0.85), size=24)
        result = dream(wrapped, image, layer="/mul", octaves=1, steps=50, step=2, jitter=0)
        assert not result.interrupted
        assert result.stopped.startswith("NaN or infinity in octave 1 of 1, step ")
        done = int(result.objective.isfinite().sum())
        assert 1 < done < 50
        assert f"step {done + 1} of 50" in result.stopped
        assert 0.8 < float(result.image.max()) <= 0.85  # on it the network still gives numbers
        assert not torch.equal(result.image, image[0])

    def test_nan_from_the_first_step_on_is_an_error(self):
        with pytest.raises(ConvlensError, match="NaN or infinity in octave 1 of 2, step 1 of 3"):
            dream(wrap(Fragile(0.0), size=24), photo(), layer="/mul", octaves=2, steps=3)

    def test_a_channel_that_nothing_moves_is_told(self):
        wrapped = model()
        with torch.no_grad():
            wrapped.network[0].weight.zero_()
        with pytest.raises(ConvlensError, match="its gradient is zero"):
            dream(wrapped, photo(), layer="4")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"layer": "44"}, "no layer '44'"),
            ({"layer": "8"}, "not maps"),
            ({"layer": "4", "channel": 12}, "4 has 12 channels, 0 to 11; given 12"),
            ({"steps": 0}, "steps 0; give at least 1"),
            ({"octaves": 0}, "octaves 0"),
            ({"scale": 1.0}, "scale 1 between octaves; give more than 1"),
            ({"step": 0.0}, "step 0"),
            ({"layer": "4", "channel": 1, "guide": photo()}, "do not go together"),
            ({"layer": "4", "octaves": 9}, "give at least 111 pixels on the longer side"),
        ],
    )
    def test_what_is_wrong_is_told_in_one_line(self, options, words):
        with pytest.raises(ConvlensError, match=words) as caught:
            dream(model(), photo(), **options)
        assert "\n" not in str(caught.value)

    def test_the_least_size_will_do(self):
        """8 x 6 pixels give a map of 2 x 1 behind pooling and a filter of 3 x 3."""
        wrapped = model()
        result = dream(wrapped, photo(92, 111), layer="4", octaves=9, steps=1)
        assert result.sizes[0] == (6, 8)
        with pytest.raises(ConvlensError, match="at least 111 pixels on the longer side"):
            dream(wrapped, photo(92, 110), layer="4", octaves=9, steps=1)


class TestPhotos:
    def test_the_photo_keeps_its_size(self, tmp_path):
        path = tmp_path / "photo.png"
        Image.effect_noise((70, 50), 60).convert("RGB").save(path)
        result = dream(model(), path, layer="4", octaves=1, steps=1)
        assert result.image.shape == (3, 50, 70)
        small = dream(model(), path, layer="4", octaves=1, steps=1, image_size=35)
        assert small.image.shape[1:] == (25, 35)
        with pytest.raises(ConvlensError, match="does not exist"):
            dream(model(), tmp_path / "other.png", layer="4")

    def test_saved_loaded_and_drawn(self, tmp_path):
        result = one_step(model())
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


def test_an_interrupt_after_the_last_step_is_told():
    def progress(done, total):
        if done == total:
            signal.raise_signal(signal.SIGINT)

    result = dream(model(), photo(), layer="4", octaves=1, steps=2, progress=progress)
    assert result.interrupted and result.stopped in result.summary()
    assert math.isnan(result.photo_objective)
    assert (result.image - result.photo).abs().mean() > 1 / 255
