"""The check of crops: units see their receptive field and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import convlens
from convlens import load, patches, trace, wrap
from convlens.analyses.patches.crop_check import UnitActivation, check_crops
from convlens.analyses.patches.crop_check_result import CropCheck
from convlens.analyses.patches.pictures import crop_field, draw_field
from convlens.analyses.patches.windows import field_box
from convlens.capture.nodes import capture_nodes
from convlens.tracing.selection import find_channel_sources
from support.branches import SIZE, by_hand, images, network
from support.drawn import holds


class TestCrops:
    @pytest.mark.parametrize(
        ("spec", "size", "layers"),
        [
            ("torchvision:resnet18@random", 96, ["layer1.0.conv2", "layer2.0.conv2"]),
            ("torchvision:googlenet@random", 96, ["conv3.conv", "inception3a.branch3.1.conv"]),
            ("torchvision:densenet121@random", 96, ["features.denseblock1.denselayer3.conv2"]),
            ("torchvision:squeezenet1_0@random", 97, ["features.0", "features.4.expand3x3"]),
            pytest.param(
                "timm:tf_efficientnet_lite0@random",
                96,
                ["blocks.1.0.conv_dw", "blocks.2.0.conv_dw"],
                marks=pytest.mark.slow,
            ),
            ("timm:tf_efficientnet_lite0@random", 75, ["blocks.1.1.conv_dw"]),
            ("torchvision:convnext_tiny@random", 96, ["features.1.0.block.0"]),
        ],
    )
    def test_units_everywhere_see_their_field_and_nothing_else(self, spec, size, layers):
        """Units in corners, at edges and in the middle pass the check."""
        model = load(spec, size=size)
        batch = images(3, size)
        model_trace = trace(model, batch)
        for channel_source in find_channel_sources(model_trace, layers):
            maps = capture_nodes(model, model_trace, batch, [channel_source.node])[
                channel_source.node
            ]
            if model_trace.spatial_dims(channel_source.node) == (1, 2):
                maps = maps.movedim(-1, 1)
            height, width = maps.shape[2:]
            at = [
                (row, column)
                for row in (0, 1, height // 2, height - 2, height - 1)
                for column in (0, width // 2, width - 1)
            ]
            units = [
                UnitActivation(n % 3, n % 4, *where, float(maps[n % 3, n % 4, where[0], where[1]]))
                for n, where in enumerate(at)
            ]
            crop_check = check_crops(model, model_trace, channel_source.node, batch, units)
            assert crop_check.checked + crop_check.global_units == len(units)
            assert crop_check.checked > len(units) // 2
            assert crop_check.holds, crop_check

    def test_a_wrong_value_or_place_is_noticed(self):
        model = wrap(network(), size=SIZE)
        batch = images(2)
        model_trace = trace(model, batch)
        (channel_source,) = find_channel_sources(model_trace, ["stem"])
        maps = by_hand(model, batch, "stem")
        row, column = divmod(int(maps[1, 2].argmax()), maps.shape[3])
        right = UnitActivation(1, 2, row, column, float(maps[1, 2].max()))
        assert check_crops(model, model_trace, channel_source.node, batch, [right]).holds
        for wrong in (
            UnitActivation(1, 2, row, (column + 1) % maps.shape[3], right.value),
            UnitActivation(0, 2, row, column, right.value),
            UnitActivation(1, 2, row, column, right.value + 1e-3),
        ):
            crop_check = check_crops(model, model_trace, channel_source.node, batch, [wrong])
            assert crop_check.holds is False
            assert "ANOTHER" in crop_check.summary()

    def test_a_field_that_is_too_small_is_noticed(self, monkeypatch):
        model = wrap(network(), size=SIZE)
        batch = images(2)
        model_trace = trace(model, batch)
        (channel_source,) = find_channel_sources(model_trace, ["left"])
        maps = by_hand(model, batch, "left")
        channel = int(maps[0, :, 4, 4].argmax())
        unit = UnitActivation(0, channel, 4, 4, float(maps[0, channel, 4, 4]))
        assert unit.value > 0
        assert check_crops(model, model_trace, channel_source.node, batch, [unit]).holds
        top, bottom, left, right = field_box(model_trace.field(channel_source.node), 4, 4)
        monkeypatch.setattr(
            "convlens.analyses.patches.crop_check.field_box",
            lambda *_: (top, bottom - 1, left, right),
        )
        monkeypatch.setattr(
            "convlens.analyses.patches.crop_check.find_window", lambda *_: (0, 0, SIZE, SIZE)
        )
        assert check_crops(model, model_trace, channel_source.node, batch, [unit]).holds is False

    def test_center_of_each_image(self):
        """The check subtracts the mean of the whole image, not that of the crop."""
        model = wrap(network(), size=SIZE, center="image", std=0.3)
        result = patches(model, images(8), show=6, top=3)
        assert result["stem"].crop_check.holds
        assert result["left"].crop_check.checked > 10
        assert result["left"].crop_check.holds

    @pytest.mark.slow
    def test_global_reach_is_not_proved(self):
        model = load("timm:regnety_004@random", size=64)
        result = patches(model, images(2, 64), layers=["s1.b1.conv3.conv"], show=2)
        (layer,) = result.layers
        assert layer.sees_whole_image
        assert layer.crop_check == CropCheck(
            checked=0, largest_difference=None, global_units=0, sees_whole_image=True
        )
        assert "not checked" in layer.crop_check.summary()

    def test_cut_shows_the_image_and_its_padding(self):
        image = torch.rand(3, 10, 12)
        crop, inside = crop_field(image, (-2, 4, 9, 13))
        assert crop.shape == (3, 7, 5)
        assert torch.equal(crop[:, 2:, :3], image[:, :5, 9:])
        assert int(inside.sum()) == 15
        assert bool(inside[2:, :3].all())
        crop, inside = crop_field(image, (-20, 30, 2, 3))
        assert crop.shape == (3, 10, 2)
        assert bool(inside.all())

    def test_tiles_are_what_the_unit_sees(self):
        """Each tile equals the receptive field, cut from the image by slicing and enlarged."""
        model = wrap(network(), size=SIZE)
        batch = images(5)
        layer = patches(model, batch, layers="stem", top=3, show=6)["stem"]
        for shown in layer.shown:
            for rank in range(3):
                n = layer.images[shown.channel, rank]
                y, x = (
                    int(axis[shown.channel, rank]) * 2 - 1 for axis in (layer.rows, layer.columns)
                )
                if min(y, x) < 0 or max(y, x) + 5 > SIZE:
                    continue
                assert shown.boxes[rank].tolist() == [y, y + 4, x, x + 4]
                pixels = (batch[n, :, y : y + 5, x : x + 5] * 255).round().byte()
                picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
                expected = np.asarray(picture.resize((64, 64), Image.Resampling.NEAREST))
                assert np.array_equal(shown.tiles[rank].numpy(), expected)

    def test_padding_is_striped(self):
        picture = draw_field(torch.zeros(3, 20, 20), (-1, 8, 5, 14), (0, 1))
        assert picture[:5].min() >= 200
        assert picture[10:].max() == 0
        assert len(torch.unique(picture[:5].flatten(0, 1), dim=0)) == 2

    def test_beside_a_field_that_is_not_square_is_neither_black_nor_white(self):
        picture = draw_field(torch.zeros(3, 20, 20), (2, 17, 8, 11), (0, 1))
        assert (picture[:, :20] == 128).all()
        assert (picture[:, 44:] == 128).all()
        assert (picture[:, 24:40] == 0).all()

    def test_many_channels_are_proved_in_parts(self, monkeypatch):
        model, batch = wrap(network(), size=SIZE), images(30)
        whole = patches(model, batch, layers="stem", show=6)["stem"]
        monkeypatch.setattr("convlens.analyses.patches.layer_patches._CHANNELS_AT_ONCE", 2)
        parts = patches(model, batch, layers="stem", show=6)["stem"]
        assert parts.shown == whole.shown
        assert parts.crop_check.holds and whole.crop_check.holds
        assert parts.crop_check.checked >= whole.crop_check.checked

    def test_picture_of_a_layer(self):
        result = patches(wrap(network(), size=SIZE), images(7), layers="stem", top=4, show=3)
        picture = result["stem"].sheet()
        assert list(result.pictures()) == ["stem"]
        for channel in result["stem"].shown:
            assert holds(picture, channel.tiles[0])

    def test_picture_tells_the_channel(self):
        """Another channel number changes the title and nothing else."""
        layer = patches(wrap(network(), size=SIZE), images(7), layers="stem", top=4, show=3)["stem"]
        first = replace(layer.shown[0], channel=1)
        other = replace(first, channel=8)
        sheet, other_sheet = (replace(layer, shown=(shown,)).sheet() for shown in (first, other))
        rows, columns = (sheet != other_sheet).any(dim=2).nonzero().T
        assert len(rows) > 0
        assert int(rows.max() - rows.min()) < 12 and int(columns.max() - columns.min()) < 12

    def test_what_no_photo_fills_is_framed_and_named(self):
        layer = patches(wrap(network(), size=SIZE), images(7), layers="stem", top=4, show=2)["stem"]
        short = replace(layer.shown[0], tiles=layer.shown[0].tiles[:2], values=(1.0, 0.5))
        whole = layer.sheet()
        picture = replace(layer, shown=(short, layer.shown[1])).sheet()
        assert picture.shape == whole.shape
        blank = torch.full((64, 64, 3), 255, dtype=torch.uint8)
        framed = torch.nn.functional.pad(blank, (0, 0, 1, 1, 1, 1), value=1)
        framed[[0, -1]] = framed[:, [0, -1]] = torch.tensor([190, 190, 186], dtype=torch.uint8)
        assert holds(picture, framed)


@pytest.mark.slow
def test_default_network_on_photos(tmp_path):
    """The embedded network, whose padding depends on the size, on the demo photos."""
    from convlens.models.loading.demo_photos import demo_photos

    model = load()
    paths = [photo.path for photo in demo_photos()]
    result = patches(model, paths, layers=["blocks.2.0.conv_dw", "blocks.3.1.conv_dw"], show=4)
    for layer in result.layers:
        assert layer.crop_check.holds
        assert layer.crop_check.checked >= 32
    result.save(tmp_path / "result")
    assert convlens.Result.load(tmp_path / "result") == result
