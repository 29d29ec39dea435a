"""Layers whose maps Grad-CAM computes, and where the cells of a map lie on the image."""

import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from torch import nn

from convlens import ConvlensError, gradcam, trace, wrap
from support.gradcam_networks import SIZE, Pooled, assert_same, conv, images

pytest_plugins = "support.gradcam_networks"


# layers


def test_layer_by_name(pooled):
    cam = gradcam(pooled, images(), classes=1, layer="first")
    theirs = LayerGradCam(pooled.network, pooled.network.first).attribute(images(), target=1)
    assert_same(cam.maps, theirs.detach())
    assert cam.nodes == ("first",)
    assert cam.maps.shape == (2, 1, SIZE, SIZE)


def test_layer_that_cannot_be_used(pooled):
    with pytest.raises(ConvlensError, match=r"no layer 'frist'.*nearest: first"):
        gradcam(pooled, images(), layer="frist")
    with pytest.raises(ConvlensError, match=r"linear of Pooled gives \(1, 4\).*not maps"):
        gradcam(pooled, images(), layer="linear")
    with pytest.raises(ConvlensError, match="no side 'both'"):
        gradcam(pooled, images(), side="both")  # type: ignore[arg-type]


def test_network_without_maps_and_output_that_is_no_vector():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 5))
    with pytest.raises(ConvlensError, match="no final convolutional layer"):
        gradcam(wrap(flat, size=SIZE), images())
    maps = nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 5), nn.Flatten(2))
    with pytest.raises(ConvlensError, match="needs one vector of class scores"):
        gradcam(wrap(maps, size=SIZE), images())


def test_layer_that_leads_to_no_logit_has_a_map_of_zeros():
    class Aside(Pooled):
        def __init__(self):
            super().__init__(nn.ReLU())
            self.side = conv(3, 2)

        def forward(self, x):
            self.side(x)
            return super().forward(x)

    for classes in ([1], [0, 1, 2]):
        cam = gradcam(wrap(Aside(), size=SIZE), images(), classes=classes, layer="side")
        assert cam.maps.shape == (2, len(classes), SIZE, SIZE)
        assert not cam.maps.any()


class ChannelsLast(nn.Module):
    """The same values, with the channels of `mixed` last or second."""

    def __init__(self, last):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.mixed, self.linear = conv(3, 6, stride=2), nn.Linear(6, 8), nn.Linear(8, 4)
        self.turned, self.last = nn.Identity(), last

    def forward(self, x):
        x = self.mixed(self.first(x).permute(0, 2, 3, 1))
        x = x if self.last else self.turned(x.permute(0, 3, 1, 2))
        return self.linear(x.square().mean((1, 2) if self.last else (2, 3)))


def test_layer_with_channels_last_gives_the_map_of_the_permuted_one():
    ours, expected = (
        gradcam(wrap(ChannelsLast(last), size=SIZE), images(), classes=[0, 2],
                layer="mixed" if last else "turned")
        for last in (True, False)
    )  # fmt: skip
    assert_same(ours.maps, expected.maps)
    assert_same(ours.alpha, expected.alpha)
    network = ChannelsLast(False)
    theirs = LayerGradCam(network, network.turned).attribute(images(), target=2)
    assert_same(ours.maps[:, 1:], theirs.detach())


def test_swins_norm_has_the_map_of_its_permuted_output():
    torch.manual_seed(0)
    network = torchvision.models.SwinTransformer(
        [4, 4], 12, [1, 1], [3, 3], [4, 4], num_classes=5
    ).eval()
    cam = gradcam(wrap(network, size=SIZE), images(), classes=[1], layer="norm")
    theirs = LayerGradCam(network, network.permute).attribute(images(), target=1)
    assert_same(cam.maps, theirs.detach())
    # Attention sees the whole image, but the cells keep their order on the image.
    for centers in (cam.centers_y, cam.centers_x):
        assert (centers.diff() > 0).all()


# where the maps lie on the image


@pytest.mark.parametrize("pixel", [(20, 36), (41, 9), (30, 30)])
def test_peak_lies_where_the_hot_pixels_field_center_is(pixel):
    """A linear network of positive weights, a black image, one white pixel."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 5, stride=2, padding=2, bias=False),
        nn.Conv2d(2, 3, 3, stride=2, padding=0, bias=False),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2, bias=False),
    )  # fmt: skip
    for module in network:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.ones_(module.weight)
    # A triangle filter: the cell whose center is nearest to the pixel responds most.
    triangle = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0])
    network[0].weight.data[:] = triangle[:, None] * triangle
    image = torch.zeros(1, 1, 51, 55)
    image[0, 0, pixel[0], pixel[1]] = 1
    model = wrap(network, size=(51, 55))
    cam = gradcam(model, image, classes=0, layer="1")
    y, x = divmod(int(cam.maps[0, 0].argmax()), cam.maps.shape[-1])
    field = trace(model).field(trace(model).find_node("1"))
    assert field.low[0][y] <= pixel[0] <= field.high[0][y]
    assert field.low[1][x] <= pixel[1] <= field.high[1][x]
    whole = cam.on_image()[0, 0]
    assert whole.shape == (51, 55)
    peak = (whole == whole.max()).nonzero().double().mean(0)
    # Cells are 4 pixels apart, so the nearest center is at most 2 pixels from the white pixel.
    assert (peak - torch.tensor(pixel).double()).abs().max() <= 2
    assert float(field.centers[0][y]) == 2 * 2 * y - 2 + (field.size[0] - 1) / 2
    torch.testing.assert_close(
        whole[int(cam.centers_y[y]), int(cam.centers_x[x])], cam.maps[0, 0, y, x]
    )


def test_a_cell_of_the_map_is_seen_at_its_center_all_over_the_image():
    network = Pooled(nn.ReLU())
    cam = gradcam(wrap(network, size=SIZE), images(), classes=[0, 1])
    # second: kernel 3, stride 2, padding 1 after a 3 by 3: centers at 0, 2, 4, ...
    assert cam.centers_y.tolist() == list(range(0, SIZE, 2))
    assert torch.equal(cam.on_image()[..., ::2, ::2], cam.maps)
    middle = cam.on_image()[..., 1:-1:2, ::2]
    between = (cam.maps[..., :-1, :] + cam.maps[..., 1:, :]) / 2
    torch.testing.assert_close(middle, between, rtol=1e-5, atol=1e-8)
