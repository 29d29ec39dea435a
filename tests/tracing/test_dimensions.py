"""Rows and columns follow from how a node depends on the image, in any order of dimensions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.tracing.interval import PixelInterval


class Do(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def trace_of(*modules, size=(12, 10), channels=2):
    network = nn.Sequential(*(m if isinstance(m, nn.Module) else Do(m) for m in modules))
    return network, convlens.trace(convlens.wrap(network, size=size, channels=channels))


def check_fields_by_gradient(network, trace, name, channels=2):
    """Each row and column of a map sees no pixel outside its field, and sees both of its ends."""
    node = trace.find_node(name)
    field = trace.field(node)
    image = torch.rand(1, channels, *trace.image_size, requires_grad=True)
    maps = trace.channels_first(node, network[: int(name) + 1](image))
    assert maps.shape[2:] == (len(field.low[0]), len(field.low[1]))
    for row in range(maps.shape[2]):
        for column in range(maps.shape[3]):
            (gradient,) = torch.autograd.grad(
                maps[0, :, row, column].sum(), image, retain_graph=True
            )
            seen = gradient[0].abs().sum(0).nonzero()
            for axis, position in ((0, row), (1, column)):
                low, high = (int(bound[axis][position]) for bound in (field.low, field.high))
                side = image.shape[2 + axis]
                assert int(seen[:, axis].min()) == max(low, 0)
                assert int(seen[:, axis].max()) == min(high, side - 1)


LAYOUTS = {
    "channels last": (lambda x: x.permute(0, 2, 3, 1), (1, 2)),
    "rows and columns swapped": (lambda x: x.transpose(2, 3), (3, 2)),
    "swapped, channels last": (lambda x: x.permute(0, 3, 2, 1), (2, 1)),
    "channels between rows and columns": (lambda x: x.permute(0, 2, 1, 3), (1, 3)),
    "channels between columns and rows": (lambda x: x.permute(0, 3, 1, 2), (3, 1)),
    "reshaped twice": (lambda x: x.flatten(2).transpose(1, 2).reshape(1, 12, 10, 4), (1, 2)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_and_columns_are_followed_through_any_order_of_dimensions(layout):
    move, dims = LAYOUTS[layout]
    network, trace = trace_of(nn.Conv2d(2, 4, 3, padding=1), move, nn.ReLU())
    assert trace.spatial_dims(trace.find_node("1")) == dims
    assert trace.spatial_dims(trace.find_node("2")) == dims
    check_fields_by_gradient(network, trace, "1")


def test_a_convolution_after_a_swap_has_the_same_field_at_every_position():
    network, trace = trace_of(
        nn.Conv2d(2, 3, (3, 5), padding=(1, 2)), lambda x: x.transpose(2, 3),
        nn.Conv2d(3, 4, (3, 5), padding=(1, 2)),
    )  # fmt: skip
    field = trace.field(trace.find_node("2"))
    # The second kernel has 3 columns and 5 rows of the image.
    assert field.size == (7, 7)
    assert field.stride == (1, 1)
    assert field.offset == (-3, -3)
    check_fields_by_gradient(network, trace, "2")


def test_gradcam_and_patches_read_channels_after_a_swap():
    torch.manual_seed(0)
    first, second, fc = (
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Linear(6, 3),
    )
    network = nn.Sequential(
        first, nn.ReLU(), Do(lambda x: x.transpose(2, 3)), second, nn.ReLU(),
        Do(lambda x: x.mean((2, 3))), fc,
    )  # fmt: skip
    model = convlens.wrap(network, size=(12, 10), channels=3)
    images = torch.rand(3, 3, 12, 10)
    result = convlens.gradcam(model, images, classes=[1], side="post")
    maps = second(first(images).relu().transpose(2, 3)).relu().detach()
    weights = fc.weight[1] / maps[0, 0].numel()
    expected = (maps.transpose(2, 3) * weights[:, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(result.maps, expected.detach())
    layer = convlens.patches(model, images, layers=["3"], top=2, show=1)["3"]
    assert (layer.channels, layer.map_size) == (6, (12, 10))


def test_channels_that_hold_moved_pixels_are_channels():
    """Pixels that `pixel_unshuffle` moves to channels lie closer than rows and columns do."""
    _, trace = trace_of(nn.PixelUnshuffle(2), nn.ReLU())
    assert trace.spatial_dims(trace.find_node("0")) == (2, 3)


NO_MAPS = {
    "positions in one dimension": lambda x: x.reshape(1, 2, 2, 120),
    "attention heads": lambda x: x.flatten(2).reshape(1, 2, 1, 120).permute(0, 2, 3, 1),
    "one position": lambda x: x.mean((2, 3), keepdim=True),
    "one position, expanded": lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 4),
}


@pytest.mark.parametrize("name", NO_MAPS)
def test_what_has_no_rows_and_columns_is_not_a_map(name):
    convolution = nn.Conv2d(2, 4 if "dimension" in name else 2, 3, padding=1)
    _, trace = trace_of(convolution, NO_MAPS[name])
    assert trace.spatial_dims(trace.find_node("1")) is None


def test_a_map_whose_positions_all_see_the_whole_image_is_still_a_map():
    """Attention in windows that together cover the image, as in a late stage of Swin."""

    class Windows(nn.Module):
        def forward(self, x):
            n, h, w, c = x.shape
            rolled = torch.roll(x, (1, 1), (1, 2))
            for y in (x, rolled):
                tokens = y.reshape(n, 2, h // 2, 2, w // 2, c).permute(0, 1, 3, 2, 4, 5)
                tokens = tokens.reshape(n * 4, -1, c)
                tokens = F.scaled_dot_product_attention(tokens, tokens, tokens)
                tokens = tokens.reshape(n, 2, 2, h // 2, w // 2, c).permute(0, 1, 3, 2, 4, 5)
                x = x + torch.roll(tokens.reshape(n, h, w, c), (1, 1), (1, 2))
            return x

    _, trace = trace_of(
        nn.Conv2d(2, 6, 2, 2), lambda x: x.permute(0, 2, 3, 1), Windows(), Windows(), size=(8, 8)
    )
    node = trace.find_node("3")
    assert trace.spatial_dims(node) == (1, 2)
    assert trace.field(node).size == (8, 8)


def test_an_interval_that_is_the_same_everywhere_does_not_vary():
    low, high = torch.arange(4).view(1, 1, 4, 1), torch.arange(4).view(1, 1, 4, 1) + 2
    interval = PixelInterval(low, high, spacing=1.0, length=6, everywhere=True)
    assert (interval.low.tolist(), interval.high.tolist()) == ([[[[0]]]], [[[[5]]]])


def test_a_class_token_joins_tokens_that_all_see_the_whole_image():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.mix = nn.Conv2d(2, 4, 19, padding=9), nn.Linear(4, 4)
            self.token = nn.Parameter(torch.zeros(1, 1, 4))

        def forward(self, x):
            tokens = self.convolution(x).flatten(2).transpose(1, 2)
            token = self.token.expand(len(x), -1, -1)
            before = torch.cat([token, self.mix(tokens)], 1)
            return (before + self.mix(torch.cat([token, tokens], 1))).mean(1)

    model = convlens.wrap(Tokens(), size=8, channels=2)
    assert convlens.gradcam(model, torch.rand(2, 2, 8, 8)).maps.shape == (2, 1, 8, 8)
