"""The field of one unit on an image, against perturbed pixels and gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError, patches, receptive_field, wrap
from support.branches import SIZE, by_hand, images, network


class TestField:
    def test_pixels_outside_change_nothing_and_the_corners_do(self):
        model = wrap(network(), size=SIZE)
        batch = images(1)
        result = receptive_field(model, batch, layer="left", at=(3, 5))
        top, bottom, left, right = result.box

        def value(x):
            return by_hand(model, x, "left")[0, :, 3, 5]

        outside = torch.rand_like(batch)
        outside[..., top : bottom + 1, left : right + 1] = batch[
            ..., top : bottom + 1, left : right + 1
        ]
        assert torch.allclose(value(outside), value(batch), atol=1e-6)
        batch.requires_grad_()
        net = model.network
        pooled = net.pool(F.relu(net.stem(batch)))
        summed = net.norm(net.left(pooled)) + net.right(pooled)
        touched = torch.autograd.grad(summed[0, :, 3, 5].sum(), batch)[0][0].abs().sum(0) > 0
        rows, columns = touched.any(1).nonzero(), touched.any(0).nonzero()
        assert top <= rows.min() and rows.max() <= bottom
        assert left <= columns.min() and columns.max() <= right

    def test_a_field_that_is_all_padding(self):
        model = wrap(nn.Sequential(nn.Conv2d(3, 2, 1, padding=1), nn.ReLU()), size=16)
        for at in ((0, 5), (17, 5), (5, 17), (0, 0)):
            result = receptive_field(model, images(1, 16), layer="0", at=at)
            red = (result.pictures()["field"] == torch.tensor([214, 39, 40])).all(2)
            assert not red.any()
        layer = patches(model, images(2, 16) * 0, layers="0", show=2)["0"]
        assert layer.crop_check.holds

    def test_drawn_frame(self):
        model = wrap(network(), size=SIZE)
        result = receptive_field(model, images(1), layer="stem", at=(4, 6))
        assert result.box == (7, 11, 11, 15)
        picture = result.pictures()["field"]
        red = (picture == torch.tensor([214, 39, 40])).all(2)
        assert red[7, 11:16].all() and red[11, 11:16].all() and red[7:12, 15].all()
        assert int(red.sum()) == 16
        assert "rows 7 to 11 and columns 11 to 15" in result.summary()
        corner = receptive_field(model, images(1), layer="stem", at=(0, 0))
        assert "up to 1 lie in the padding" in corner.summary()

    def test_what_is_wrong(self):
        model = wrap(network(), size=SIZE)
        with pytest.raises(ConvlensError, match="20 x 20 positions"):
            receptive_field(model, images(1), layer="stem", at=(20, 0))
        with pytest.raises(ConvlensError, match=r"no layer 'stm' .* nearest: stem"):
            receptive_field(model, images(1), layer="stm")
        with pytest.raises(ConvlensError, match="not maps"):
            receptive_field(model, images(1), layer="head")
