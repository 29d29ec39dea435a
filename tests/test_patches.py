"""Patches: the tables against all activations kept and sorted, crops run again, sweeps killed."""

import os
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.nn import functional as F

import convlens
from convlens import ConvlensError, load, patches, receptive_field, trace, wrap
from convlens.probe import observe
from convlens.sweep import Images, Photos, sweep
from convlens.views.patches import firing, toplist
from convlens.views.patches.crops import Proof, Unit, cut, prove
from convlens.views.patches.excitation import Excitation, watched
from convlens.views.patches.peaks import peaks
from convlens.views.patches.results import sheet, tile
from convlens.views.patches.selectivity import area
from convlens.views.patches.windows import box

SIZE = 41


class Branches(nn.Module):
    """Branches, strides, dilation, ceil-mode pooling, a residual sum, a linear convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 5, stride=2, padding=1)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.left = nn.Conv2d(6, 4, 3, padding=2, dilation=2)
        self.norm = nn.BatchNorm2d(4)
        self.right = nn.Conv2d(6, 4, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(4, 5, 3, stride=2)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x = self.pool(self.relu(self.stem(x)))
        x = self.relu(self.norm(self.left(x)) + self.right(x))
        return self.head(self.last(x).mean((2, 3)))


def network(seed=0):
    torch.manual_seed(seed)
    made = Branches()
    with torch.no_grad():
        made.norm.running_mean.uniform_(-1, 1)
        made.norm.weight.uniform_(0.5, 2)
    return made.eval()


def images(count=20, size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=generator)


def by_hand(model, given, layer):
    """All activations of a layer of `Branches`, computed without hooks."""
    net = model.network
    with torch.no_grad():
        stem = F.relu(net.stem(given))
        pooled = net.pool(stem)
        summed = F.relu(net.norm(net.left(pooled)) + net.right(pooled))
        return {"stem": stem, "left": summed, "last": net.last(summed)}[layer]


class TestTables:
    def test_against_everything_kept_and_sorted(self):
        model = wrap(network(), size=SIZE)
        given = images()
        found = patches(model, given, top=5, batch=7, show=0)
        assert [one.layer for one in found.layers] == ["stem", "left", "last"]
        assert [one.post for one in found.layers] == [True, True, False]
        for one in found.layers:
            maps = by_hand(model, given, one.layer)
            width = maps.shape[3]
            for channel in range(maps.shape[1]):
                every = sorted(
                    (-float(maps[n, channel].max()), n, int(maps[n, channel].argmax()))
                    for n in range(len(given))
                )[:5]
                expected = torch.tensor([-value for value, _, _ in every])
                torch.testing.assert_close(one.values[channel], expected)
                assert one.images[channel].tolist() == [n for _, n, _ in every]
                where = one.rows[channel] * width + one.columns[channel]
                assert where.tolist() == [position for _, _, position in every]

    def test_several_of_one_image(self):
        model = wrap(network(), size=SIZE)
        given = images(6)
        one = patches(model, given, layers="last", top=7, each=3, show=0)["last"]
        maps = by_hand(model, given, "last")
        for channel in range(5):
            kept = []
            for n in range(6):
                flat = maps[n, channel].flatten().tolist()
                ranked = sorted(range(len(flat)), key=lambda at, flat=flat: (-flat[at], at))[:3]
                kept += [(-flat[at], n, at) for at in ranked]
            kept.sort()
            expected = torch.tensor([-value for value, _, _ in kept[:7]])
            torch.testing.assert_close(one.values[channel], expected)
            assert one.images[channel].tolist() == [n for _, n, _ in kept[:7]]

    def test_statistics_against_loops(self):
        model = wrap(network(), size=SIZE)
        given = images(30)
        found = patches(model, given, show=0, batch=4)
        for one in found.layers:
            maps = by_hand(model, given, one.layer)
            greatest = maps.amax((2, 3))
            assert torch.equal(one.images_fired, (greatest > 0).sum(0))
            assert torch.equal(one.positions_fired, (maps > 0).sum((0, 2, 3)))
            assert torch.equal(one.histogram.sum(1), torch.full((maps.shape[1],), 30))
            for channel in range(maps.shape[1]):
                for share, value in zip(
                    (0.5, 0.9), one.quantiles(torch.tensor([0.5, 0.9]))[channel], strict=True
                ):
                    exact = greatest[:, channel].sort().values[int(np.ceil(share * 30)) - 1]
                    if exact > 2**-12:
                        assert abs(torch.log2(value / exact)) <= 0.25 + 1e-6
                    else:
                        assert value == 0
                level = float(greatest[:, channel].median())
                lower = max((edge for edge in firing.EDGES.tolist() if edge < level), default=-1e9)
                share = float((greatest[:, channel] <= lower).double().mean())
                assert one.percentile(channel, level) == pytest.approx(share)

    def test_samples_lie_in_their_octaves_and_are_spread(self):
        model = wrap(network(), size=SIZE)
        given = images(60)
        one = patches(model, given, layers="stem", show=0)["stem"]
        greatest = by_hand(model, given, "stem").amax((2, 3))
        there = one.band_images >= 0
        for channel, band in there.nonzero().tolist():
            value, image = one.band_values[channel, band], one.band_images[channel, band]
            assert value == greatest[image, channel]
            assert 2.0 ** (band - 12) <= value < 2.0 ** (band - 11)
        octaves = torch.log2(greatest).floor()
        for channel in range(6):
            assert int(there[channel].sum()) == len(torch.unique(octaves[:, channel]))
        drawn = {
            int(
                patches(model, given, layers="stem", show=0, seed=seed)["stem"].band_images[0].max()
            )
            for seed in range(8)
        }
        assert len(drawn) > 3

    def test_two_names_of_one_value(self):
        """A block's last convolution and its shortcut have the same sum after them."""
        found = patches(
            wrap(network(), size=SIZE), images(4), layers=["left", "right"],
            show={"left": [1], "right": [3, 1]},
        )  # fmt: skip
        (one,) = found.layers
        assert (one.layer, one.also) == ("left", ("right",))
        assert [shown.channel for shown in one.shown] == [1, 3]
        assert found["right"] is one

    def test_dead_channels(self):
        net = network()
        with torch.no_grad():
            net.stem.bias[2] = -100
        found = patches(wrap(net, size=SIZE), images(4), layers="stem", show=8)["stem"]
        assert found.dead == (2,)
        assert [one.channel for one in found.shown] == [0, 1, 3, 4, 5]

    def test_ties_go_to_the_lower_image_and_the_first_position(self):
        same = torch.rand(1, 1, 8, 8).tile(1, 1, 1, 2).expand(6, -1, -1, -1)
        net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
        with torch.no_grad():
            net[0].bias.fill_(5)
        one = patches(wrap(net, channels=1, size=8), same, layers="0", top=3, batch=2, show=0)["0"]
        assert one.images.tolist() == [[0, 1, 2], [0, 1, 2]]
        assert int(one.columns.max()) < 8

    @given(
        st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=12),
        st.randoms(use_true_random=False),
        st.integers(1, 4),
    )
    @settings(max_examples=150, deadline=None)
    def test_any_split_and_order_gives_the_same_table(self, values, dice, top):
        """Integers as activations, so that there are ties; pieces, merged in any order."""
        activations = torch.tensor(values, dtype=torch.float32)
        count = len(values)

        def table(chosen):
            part = toplist.empty(3, top)
            ids = torch.tensor(chosen)
            toplist.insert(part, activations[ids], ids, ids[:, None].expand(-1, 3) * 7)
            return part

        cuts = sorted(dice.choices(range(count + 1), k=3))
        numbers = list(range(count))
        dice.shuffle(numbers)
        pieces = [numbers[a:b] for a, b in zip([0, *cuts], [*cuts, count], strict=True)]
        tables = [table(piece) for piece in pieces if piece]
        dice.shuffle(tables)
        merged = tables[0]
        for one in tables[1:]:
            merged = toplist.merge(merged, one)
        for channel in range(3):
            expected = sorted((-values[n][channel], n) for n in range(count))[:top]
            assert merged["images"][channel, : len(expected)].tolist() == [n for _, n in expected]
            found = merged["values"][channel, : len(expected)].tolist()
            assert found == [-value for value, _ in expected]
            assert merged["positions"][channel, : len(expected)].tolist() == [
                7 * n for _, n in expected
            ]

    @pytest.mark.parametrize("seed", range(4))
    def test_states_of_parts_merge_to_the_state_of_the_whole(self, seed):
        model = wrap(network(), size=SIZE)
        given = images(12)
        found = trace(model, given)
        reducer = Excitation(watched(found, None), top=3)
        maps = {v: observe(model, found, given, [v])[v] for v in reducer.values}
        order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))

        def state(ids):
            part = reducer.start()
            for value in reducer.values:
                reducer.update(part, value, maps[value][ids], ids)
            return part

        whole = state(torch.arange(12))
        a, b, c = (state(ids) for ids in (order[:5], order[5:6], order[6:]))
        for merged in (
            reducer.merge(reducer.merge(a, b), c), reducer.merge(c, reducer.merge(b, a)),
        ):  # fmt: skip
            assert merged.keys() == whole.keys()
            for name, tensor in whole.items():
                assert torch.equal(merged[name], tensor), name

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_peaks_in_either_layout(self, layout):
        maps = torch.randint(0, 4, (3, 5, 6, 7)).float().contiguous(memory_format=layout)
        greatest, positions = peaks(maps)
        assert torch.equal(greatest, maps.flatten(2).max(2).values)
        entries, channels = torch.cartesian_prod(torch.arange(3), torch.arange(5)).T
        expected = [maps[n, c].flatten().tolist().index(maps[n, c].max())
                    for n, c in zip(entries, channels, strict=True)]  # fmt: skip
        assert positions(entries, channels).tolist() == expected

    def test_not_a_number(self):
        net = network()
        with torch.no_grad():
            net.left.weight[0] = torch.nan
        with pytest.raises(ConvlensError, match="NaN or infinity for image 0"):
            patches(wrap(net, size=SIZE), images(3))


class TestSelectivity:
    def test_area_against_all_pairs(self):
        inside, outside = torch.randint(0, 5, (2, 4, firing.BINS))
        found = area(inside, outside)
        for channel in range(4):
            won = sum(
                int(inside[channel, a] * outside[channel, b]) * ((a > b) + 0.5 * (a == b))
                for a in range(firing.BINS)
                for b in range(firing.BINS)
            )
            total = int(inside[channel].sum() * outside[channel].sum())
            assert float(found[channel]) == pytest.approx(won / total, abs=1e-6)

    def test_a_channel_for_a_class(self):
        """Red images are class 7; a channel that measures red tells them, one that does not no."""
        net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU())
        with torch.no_grad():
            net[0].weight[:] = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]).view(2, 3, 1, 1)
        given = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5
        labels = [(7,) if n % 2 else (3,) for n in range(39)] + [None]
        given[1:39:2, 0] += 0.5
        given[39] = 1
        one = patches(wrap(net, size=8), given, layers="0", labels=labels, show=0)["0"]
        assert one.preferred[0] == 7
        assert one.selectivity[0] == 1
        assert 0.3 < one.selectivity[1] < 0.8

    def test_classes_with_few_photos_do_not_count(self):
        with pytest.raises(ConvlensError, match="at least 5 labelled photos"):
            patches(wrap(network(), size=SIZE), images(6), labels=[(n,) for n in range(6)])
        with pytest.raises(ConvlensError, match="5 labels for 6 photos"):
            patches(wrap(network(), size=SIZE), images(6), labels=[(1,)] * 5)


class TestCrops:
    @pytest.mark.parametrize(
        ("spec", "size", "layers"),
        [
            ("torchvision:resnet18@random", 96, ["layer1.0.conv2", "layer2.0.conv2"]),
            ("torchvision:googlenet@random", 96, ["conv3.conv", "inception3a.branch3.1.conv"]),
            ("torchvision:densenet121@random", 96, ["features.denseblock1.denselayer3.conv2"]),
            ("torchvision:squeezenet1_0@random", 97, ["features.0", "features.4.expand3x3"]),
            ("timm:tf_efficientnet_lite0@random", 96, ["blocks.1.0.conv_dw", "blocks.2.0.conv_dw"]),
            ("timm:tf_efficientnet_lite0@random", 75, ["blocks.1.1.conv_dw"]),
            ("torchvision:convnext_tiny@random", 96, ["features.1.0.block.0"]),
        ],
    )
    def test_units_everywhere_see_their_field_and_nothing_else(self, spec, size, layers):
        """Corners, edges and the middle; and what is outside matters where the field is cut."""
        model = load(spec, size=size)
        given = images(3, size)
        found = trace(model, given)
        for place in watched(found, layers):
            maps = observe(model, found, given, [place.value])[place.value]
            if found.spatial_dims(place.value) == (1, 2):
                maps = maps.movedim(-1, 1)
            height, width = maps.shape[2:]
            at = [
                (row, column)
                for row in (0, 1, height // 2, height - 2, height - 1)
                for column in (0, width // 2, width - 1)
            ]
            units = [
                Unit(n % 3, n % 4, *where, float(maps[n % 3, n % 4, where[0], where[1]]))
                for n, where in enumerate(at)
            ]
            proof = prove(model, found, place.value, given, units)
            assert proof.checked + proof.whole == len(units)
            assert proof.checked > len(units) // 2
            assert proof.holds, proof

    def test_a_wrong_value_or_place_is_noticed(self):
        model = wrap(network(), size=SIZE)
        given = images(2)
        found = trace(model, given)
        (place,) = watched(found, ["stem"])
        maps = by_hand(model, given, "stem")
        row, column = divmod(int(maps[1, 2].argmax()), maps.shape[3])
        right = Unit(1, 2, row, column, float(maps[1, 2].max()))
        assert prove(model, found, place.value, given, [right]).holds
        for wrong in (
            Unit(1, 2, row, (column + 1) % maps.shape[3], right.value),
            Unit(0, 2, row, column, right.value),
            Unit(1, 2, row, column, right.value + 1e-3),
        ):
            proof = prove(model, found, place.value, given, [wrong])
            assert proof.holds is False
            assert "ANOTHER" in proof.sentence()

    def test_a_field_that_is_too_small_is_noticed(self, monkeypatch):
        model = wrap(network(), size=SIZE)
        given = images(2)
        found = trace(model, given)
        (place,) = watched(found, ["left"])
        maps = by_hand(model, given, "left")
        channel = int(maps[0, :, 4, 4].argmax())
        unit = Unit(0, channel, 4, 4, float(maps[0, channel, 4, 4]))
        assert unit.value > 0
        assert prove(model, found, place.value, given, [unit]).holds
        top, bottom, left, right = box(found.field(place.value), 4, 4)
        monkeypatch.setattr(
            "convlens.views.patches.crops.box", lambda *_: (top, bottom - 1, left, right)
        )
        monkeypatch.setattr("convlens.views.patches.crops.window", lambda *_: (0, 0, SIZE, SIZE))
        assert prove(model, found, place.value, given, [unit]).holds is False

    def test_center_of_each_image(self):
        """The mean that is subtracted is the whole image's, not the crop's."""
        model = wrap(network(), size=SIZE, center="image", std=0.3)
        found = patches(model, images(8), show=6, top=3)
        assert found["stem"].proof.holds
        assert found["left"].proof.checked > 10
        assert found["left"].proof.holds

    def test_global_reach_is_not_proved(self):
        model = load("timm:regnety_004@random", size=64)
        found = patches(model, images(2, 64), layers=["s1.b1.conv3.conv"], show=2)
        (one,) = found.layers
        assert one.beyond
        assert one.proof == Proof(checked=0, worst=None, whole=0, beyond=True)
        assert "not proved" in one.proof.sentence()

    def test_cut_shows_the_image_and_its_padding(self):
        image = torch.rand(3, 10, 12)
        crop, inside = cut(image, (-2, 4, 9, 13))
        assert crop.shape == (3, 7, 5)
        assert torch.equal(crop[:, 2:, :3], image[:, :5, 9:])
        assert int(inside.sum()) == 15
        assert bool(inside[2:, :3].all())
        crop, inside = cut(image, (-20, 30, 2, 3))
        assert crop.shape == (3, 10, 2)
        assert bool(inside.all())

    def test_tiles_are_what_the_unit_sees(self):
        """Each tile is its receptive field, cut from the image by slicing and enlarged."""
        model = wrap(network(), size=SIZE)
        given = images(5)
        one = patches(model, given, layers="stem", top=3, show=6)["stem"]
        for shown in one.shown:
            for rank in range(3):
                n = one.images[shown.channel, rank]
                y, x = (int(axis[shown.channel, rank]) * 2 - 1 for axis in (one.rows, one.columns))
                if min(y, x) < 0 or max(y, x) + 5 > SIZE:
                    continue
                assert shown.boxes[rank].tolist() == [y, y + 4, x, x + 4]
                pixels = (given[n, :, y : y + 5, x : x + 5] * 255).round().byte()
                picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
                expected = np.asarray(picture.resize((64, 64), Image.Resampling.NEAREST))
                assert np.array_equal(shown.tiles[rank].numpy(), expected)

    def test_padding_is_striped(self):
        picture = tile(torch.zeros(3, 20, 20), (-1, 8, 5, 14), (0, 1))
        assert picture[:5].min() >= 200
        assert picture[10:].max() == 0
        assert len(torch.unique(picture[:5].flatten(0, 1), dim=0)) == 2

    def test_many_channels_are_proved_in_parts(self, monkeypatch):
        model, given = wrap(network(), size=SIZE), images(30)
        whole = patches(model, given, layers="stem", show=6)["stem"]
        monkeypatch.setattr("convlens.sweep.patches._AT_ONCE", 2)
        parts = patches(model, given, layers="stem", show=6)["stem"]
        assert parts.shown == whole.shown
        assert parts.proof.holds and whole.proof.holds
        assert parts.proof.checked >= whole.proof.checked

    def test_picture_of_a_layer(self):
        found = patches(wrap(network(), size=SIZE), images(7), layers="stem", top=4, show=3)
        picture = sheet(found["stem"])
        assert picture.shape[0] == 2 * 64 + 14
        assert list(found.pictures()) == ["stem"]
        assert torch.equal(picture[:64, :64], found["stem"].shown[0].tiles[0])


class TestField:
    def test_pixels_outside_change_nothing_and_the_corners_do(self):
        model = wrap(network(), size=SIZE)
        given = images(1)
        found = receptive_field(model, given, layer="left", at=(3, 5))
        top, bottom, left, right = found.box

        def value(x):
            return by_hand(model, x, "left")[0, :, 3, 5]

        outside = torch.rand_like(given)
        outside[..., top : bottom + 1, left : right + 1] = given[
            ..., top : bottom + 1, left : right + 1
        ]
        assert torch.allclose(value(outside), value(given), atol=1e-6)
        given.requires_grad_()
        net = model.network
        pooled = net.pool(F.relu(net.stem(given)))
        summed = net.norm(net.left(pooled)) + net.right(pooled)
        touched = torch.autograd.grad(summed[0, :, 3, 5].sum(), given)[0][0].abs().sum(0) > 0
        rows, columns = touched.any(1).nonzero(), touched.any(0).nonzero()
        assert top <= rows.min() and rows.max() <= bottom
        assert left <= columns.min() and columns.max() <= right

    def test_a_field_that_is_all_padding(self):
        model = wrap(nn.Sequential(nn.Conv2d(3, 2, 1, padding=1), nn.ReLU()), size=16)
        for at in ((0, 5), (17, 5), (5, 17), (0, 0)):
            found = receptive_field(model, images(1, 16), layer="0", at=at)
            red = (found.pictures()["field"] == torch.tensor([214, 39, 40])).all(2)
            assert not red.any()
        one = patches(model, images(2, 16) * 0, layers="0", show=2)["0"]
        assert one.proof.holds

    def test_drawn_frame(self):
        model = wrap(network(), size=SIZE)
        found = receptive_field(model, images(1), layer="stem", at=(4, 6))
        assert found.box == (7, 11, 11, 15)
        picture = found.pictures()["field"]
        red = (picture == torch.tensor([214, 39, 40])).all(2)
        assert red[7, 11:16].all() and red[11, 11:16].all() and red[7:12, 15].all()
        assert int(red.sum()) == 16
        assert "rows 7 to 11 and columns 11 to 15" in found.sentence()
        corner = receptive_field(model, images(1), layer="stem", at=(0, 0))
        assert "up to 1 lie in the padding" in corner.sentence()

    def test_what_is_wrong(self):
        model = wrap(network(), size=SIZE)
        with pytest.raises(ConvlensError, match="20 x 20 positions"):
            receptive_field(model, images(1), layer="stem", at=(20, 0))
        with pytest.raises(ConvlensError, match=r"no layer 'stm' .* nearest: stem"):
            receptive_field(model, images(1), layer="stm")
        with pytest.raises(ConvlensError, match="not maps"):
            receptive_field(model, images(1), layer="head")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(24):
        pixels = rng.integers(0, 256, (30, 34, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(where / f"{number:02d}.png")
    return where


class TestSweep:
    def model(self):
        return wrap(network(), size=SIZE, resize=SIZE)

    def test_photos_and_their_images_give_the_same(self, folder):
        paths = sorted(folder.glob("*.png"))
        model = self.model()
        one = patches(model, paths, show=2, batch=5)
        other = patches(model, model.prepare(paths), show=2, batch=5)
        for a, b in zip(one.layers, other.layers, strict=True):
            for name in ("values", "images", "rows", "columns", "histogram", "band_images"):
                assert torch.equal(getattr(a, name), getattr(b, name))
            for c, d in zip(a.shown, b.shown, strict=True):
                assert torch.equal(c.tiles, d.tiles)
        shuffled = random.Random(1).sample(paths, len(paths))
        assert patches(model, shuffled, show=2, batch=5) == one

    def test_damaged_photos_are_left_out_and_named(self, folder, tmp_path):
        paths = sorted(folder.glob("*.png"))[:6]
        bad = tmp_path / "bad.png"
        bad.write_bytes(b"\x89PNG")
        found = patches(self.model(), [*paths, bad], show=1, top=2)
        assert found.seen == 6
        assert "bad.png" in found.skipped[0]
        with pytest.raises(ConvlensError, match=r"bad\.png"):
            patches(self.model(), [*paths, bad], strict=True)
        with pytest.raises(ConvlensError, match="none of 1 photos can be read"):
            patches(self.model(), [bad])

    def test_progress_counts_photos(self, folder):
        told = []
        patches(self.model(), sorted(folder.glob("*.png")), show=1, batch=10,
                progress=lambda *one: told.append(one))  # fmt: skip
        assert [one for one in told if one[0] == "photos"] == [
            ("photos", done, 24) for done in (0, 10, 20, 24)
        ]

    def test_resumed_sweeps_are_whole(self, folder, tmp_path):
        """Stopped after some batches, each image is taken in once."""
        paths = sorted(folder.glob("*.png"))
        model = self.model()
        found = trace(model)
        reducer = Excitation(watched(found, None), top=3)
        expected = sweep(model, found, reducer, Photos(model, paths), batch=4)

        def stop(done, total):
            if done in (8, 16):
                os.kill(os.getpid(), signal.SIGINT)

        for _ in range(2):
            with pytest.raises(ConvlensError, match="interrupted after"):
                sweep(model, found, reducer, Photos(model, paths), batch=4,
                      folder=tmp_path / "kept", progress=stop)  # fmt: skip
        swept = sweep(model, found, reducer, Photos(model, paths), batch=4,
                      folder=tmp_path / "kept")  # fmt: skip
        assert swept.seen == 24
        for name, tensor in expected.state.items():
            assert torch.equal(swept.state[name], tensor), name

    def test_another_sweep_is_refused(self, folder, tmp_path):
        paths = sorted(folder.glob("*.png"))[:8]
        model, kept = self.model(), tmp_path / "kept"
        patches(model, paths, show=0, folder=kept)
        with pytest.raises(ConvlensError, match=r"another top \(9, now 4\)"):
            patches(model, paths, show=0, folder=kept, top=4)
        with pytest.raises(ConvlensError, match="another layers"):
            patches(model, paths, show=0, folder=kept, layers="stem")
        with pytest.raises(ConvlensError, match="8 images then, 7 now"):
            patches(model, paths[1:], show=0, folder=kept)
        other = wrap(network(seed=1), size=SIZE, resize=SIZE)
        with pytest.raises(ConvlensError, match="another model"):
            patches(other, paths, show=0, folder=kept)
        with pytest.raises(ConvlensError, match="another model"):
            patches(wrap(network(), size=SIZE, resize=SIZE, mean=0.5), paths, show=0, folder=kept)
        os.utime(paths[3], (1, 1))
        with pytest.raises(ConvlensError, match=rf"{paths[3].name} is another file now"):
            patches(model, paths, show=0, folder=kept)
        manifest = kept / "manifest.json"
        manifest.write_text(manifest.read_text()[:-20])
        with pytest.raises(ConvlensError, match="is damaged"):
            patches(model, paths, show=0, folder=kept)

    def test_images_in_memory(self):
        model = self.model()
        found = trace(model)
        reducer = Excitation(watched(found, ["stem"]), top=2, statistics=False)
        swept = sweep(model, found, reducer, Images(images(9)), batch=4)
        assert swept.seen == 9
        assert {name.partition("/")[2] for name in swept.state} == set(toplist.COLUMNS)


KILLED = """
    import os, signal, sys
    import torch
    torch.set_num_threads(1)
    from pathlib import Path
    import convlens.sweep.progress as progress
    sys.path.insert(0, sys.argv[1])
    from test_patches import network, SIZE
    from convlens import patches, wrap

    moment, count = sys.argv[4], int(sys.argv[5])
    seen = 0

    def die_at(name, attribute, half=None):
        original = getattr(progress, attribute)
        def deadly(*arguments):
            global seen
            if moment == name:
                seen += 1
                if seen == count:
                    if half:
                        half(*arguments)
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)
        setattr(progress, attribute, deadly)

    die_at("half a state", "write_tensors", lambda path, _: path.write_bytes(b"half"))
    die_at("before a file", "whole")
    model = wrap(network(), size=SIZE, resize=SIZE)
    paths = sorted(Path(sys.argv[2]).glob("*.png"))
    patches(model, paths, show=0, batch=4, folder=Path(sys.argv[3]), save_every=1e-9)
"""


@pytest.mark.parametrize(
    ("moment", "count"),
    [("half a state", 3), ("before a file", 1), ("before a file", 6), ("before a file", 7)],
)
def test_killed_while_saving(folder, tmp_path, moment, count):
    kept = tmp_path / "kept"
    words = [sys.executable, "-c", textwrap.dedent(KILLED), os.path.dirname(__file__),  # noqa: PTH120
             str(folder), str(kept), moment, str(count)]  # fmt: skip
    killed = subprocess.run(words, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    model = wrap(network(), size=SIZE, resize=SIZE)
    paths = sorted(folder.glob("*.png"))
    whole = patches(model, paths, show=0, batch=4)
    assert patches(model, paths, show=0, batch=4, folder=kept) == whole


def test_default_network_on_photos(tmp_path):
    """The embedded network, whose padding depends on the size, on the photos that pip brings."""
    from convlens.loading import demo_photos

    model = load()
    paths = [photo.path for photo in demo_photos()]
    found = patches(model, paths, layers=["blocks.2.0.conv_dw", "blocks.3.1.conv_dw"], show=4)
    for one in found.layers:
        assert one.proof.holds
        assert one.proof.checked >= 32
    found.save(tmp_path / "result")
    assert convlens.Result.load(tmp_path / "result") == found


def test_layers_that_cannot_be_watched():
    model = wrap(network(), size=SIZE)
    for layers, words in (
        (["stm"], "no layer 'stm' .* nearest: stem"),
        (["head"], "not maps"),
    ):
        with pytest.raises(ConvlensError, match=words):
            patches(model, images(2), layers=layers)
    with pytest.raises(ConvlensError, match="top 0"):
        patches(model, images(2), top=0)
    with pytest.raises(ConvlensError, match="has 6 channels, 0 to 5; given 6"):
        patches(model, images(2), layers="stem", show={"stem": [6]})
    with pytest.raises(ConvlensError, match="no convolution that gives maps"):
        patches(wrap(nn.Flatten(), size=8), images(2, 8))
