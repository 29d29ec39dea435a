"""The chapter's convolution and pooling against plain loops, and the maps of a trained layer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError, wrap
from convlens.analyses.feature_maps.convolution import convolve, pool
from convlens.analyses.feature_maps.feature_maps import feature_maps
from convlens.drawing import enlarge, sequential_colors
from support.drawn import corner, holds


class TestConvolve:
    def test_plain_loops(self):
        image, kernel = torch.rand(1, 2, 5, 6), torch.rand(3, 2, 2, 3)
        maps = convolve(image, kernel, stride=2)
        for f in range(3):
            for j in range(2):
                for k in range(2):
                    expected = sum(
                        image[0, c, 2 * j + l, 2 * k + m] * kernel[f, c, l, m]
                        for c in range(2)
                        for l in range(2)  # noqa: E741 - the chapter's letter
                        for m in range(3)
                    )
                    assert float(maps[0, f, j, k]) == pytest.approx(float(expected), rel=1e-5)

    @given(st.integers(1, 6), st.integers(1, 6), st.sampled_from(["valid", "same"]))
    @settings(max_examples=40, deadline=None)
    def test_scipy(self, height, width, padding):
        image, kernel = torch.rand(1, 1, 9, 11), torch.rand(1, height, width)
        maps = convolve(image, kernel, padding=padding)[0, 0]
        full = correlate2d(image[0, 0], kernel[0], mode="full")
        top, left = height - 1, width - 1
        if padding == "same":  # of the filter's overhang, the odd pixel is below and on the right
            top, left = top - (height - 1) // 2, left - (width - 1) // 2
        expected = full[top : top + maps.shape[0], left : left + maps.shape[1]]
        assert maps.shape == ((9, 11) if padding == "same" else (10 - height, 12 - width))
        assert np.allclose(maps, expected, atol=1e-5)

    def test_what_is_wrong(self):
        with pytest.raises(ConvlensError, match="same C"):
            convolve(torch.rand(1, 3, 8, 8), torch.rand(2, 3, 3))
        with pytest.raises(ConvlensError, match="give at least 9"):
            convolve(torch.rand(1, 1, 8, 8), torch.rand(2, 9, 3))
        with pytest.raises(ConvlensError, match="valid or same"):
            convolve(torch.rand(1, 1, 8, 8), torch.rand(2, 3, 3), padding="full")

    def test_pooling_against_loops(self):
        values = torch.rand(2, 6, 8)
        for kind, reduce in (("max", torch.max), ("average", torch.mean)):
            pooled = pool(values, kind, 2)
            for y in range(3):
                for x in range(4):
                    window = values[1, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
                    assert pooled[1, y, x] == pytest.approx(float(reduce(window)))
        with pytest.raises(ConvlensError, match="no pooling 'mean'"):
            pool(values, "mean")
        with pytest.raises(ConvlensError, match="give at least 7"):
            pool(values, "max", 7)


class TestFeatureMaps:
    def network(self):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 70, 3), nn.Flatten(),
            nn.Linear(70 * 12 * 12, 2),
        )  # fmt: skip

    def test_values_are_the_networks(self):
        net = self.network()
        model, image = wrap(net, size=16), torch.rand(1, 3, 16, 16)
        result = feature_maps(model, image, pooling="max")
        with torch.no_grad():
            expected = F.relu(net[0](image))[0]
        assert torch.equal(result.maps, expected)
        assert torch.equal(result.pooled, F.max_pool2d(expected, 2))
        assert (result.layer, result.post) == ("0", True)
        linear = feature_maps(model, image, layer="2")
        assert not linear.post
        assert len(linear.shown) == 64
        assert list(linear.pictures()) == ["photo", "maps"]

    def test_one_scale_for_all(self):
        result = feature_maps(
            wrap(self.network(), size=16), torch.rand(1, 3, 16, 16), pooling="average"
        )
        pictures = result.pictures()
        tile = 14 * 8
        assert pictures["maps"].shape == pictures["pooled"].shape
        channel, y, x = (int(i) for i in (result.maps == result.scale).nonzero()[0])
        drawn = enlarge(sequential_colors(result.maps[channel], 0, result.scale), 8)
        top, left = corner(pictures["maps"], drawn)
        pixel = pictures["maps"][top + y * 8, left + x * 8]
        assert pixel.tolist() == [253, 231, 36]  # the light end of viridis
        other = corner(pictures["maps"], enlarge(result.colors(result.maps[3]), 8))
        first = corner(pictures["maps"], enlarge(result.colors(result.maps[0]), 8))
        assert min(other[0] - first[0], other[1] - first[1]) > tile  # in two rows of two

    def test_large_maps_are_averaged_in_pictures(self):
        """Maps of 4000 x 4000 would make a picture of 260 million pixels, which Pillow refuses."""
        small = feature_maps(wrap(self.network(), size=16), torch.rand(1, 3, 16, 16), layer="2")
        generator = torch.Generator().manual_seed(0)
        maps = 9.0 * torch.randint(-9, 10, (2, 1536, 768), generator=generator)  # exact means
        result = replace(small, maps=maps, pooled=F.avg_pool2d(maps, 2), pooling="average")
        pictures = result.pictures()
        blocks = maps[1].reshape(512, 3, 256, 3).mean(dim=(1, 3))
        assert holds(pictures["maps"], result.colors(blocks))
        assert max(*pictures["maps"].shape, *pictures["pooled"].shape) < 1200  # two rows of 512

    def test_channels_are_named(self):
        """A picture shows 64 of 70 channels, each with its number."""
        linear = feature_maps(wrap(self.network(), size=16), torch.rand(1, 3, 16, 16), layer="2")
        picture = linear.pictures()["maps"]
        fewer = replace(linear, maps=linear.maps[list(linear.shown)]).pictures()["maps"]
        assert picture.shape == fewer.shape
        tile = enlarge(linear.colors(linear.maps[linear.shown[-1]]), 9)
        assert corner(picture, tile) == corner(fewer, tile)
        top, left = corner(picture, tile)
        caption = slice(top + len(tile) + 2, top + len(tile) + 18)
        assert not torch.equal(picture[caption, left:], fewer[caption, left:])

    def test_most_varying_maps(self):
        result = feature_maps(wrap(self.network(), size=16), torch.rand(1, 3, 16, 16))
        spread = [float(feature_map[1:-1, 1:-1].std(correction=0)) for feature_map in result.maps]
        assert list(result.most_varying(3)) == sorted(range(4), key=lambda k: -spread[k])[:3]
        result.maps[int(np.argmin(spread)), 0] = 1e6  # at the border alone
        assert list(result.most_varying(3)) == sorted(range(4), key=lambda k: -spread[k])[:3]

    def test_several_images_are_refused(self):
        with pytest.raises(ConvlensError, match="2 images; feature maps are those of one"):
            feature_maps(wrap(self.network(), size=16), torch.rand(2, 3, 16, 16))

    def test_unknown_layer(self):
        with pytest.raises(ConvlensError, match="no layer 'conv'"):
            feature_maps(wrap(self.network(), size=16), torch.rand(1, 3, 16, 16), layer="conv")
        with pytest.raises(ConvlensError, match="not maps"):
            feature_maps(wrap(self.network(), size=16), torch.rand(1, 3, 16, 16), layer="4")
