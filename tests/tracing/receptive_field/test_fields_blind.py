"""Receptive fields, against perturbed pixels: nothing outside matters, to the last bit."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from support.field_networks import (
    NETWORKS,
    Branches,
    Do,
    captured,
    concatenated,
    conv,
    span,
    traced,
)

# torch says so of even kernels, and copies.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


def ends_and_middle(height, width):
    """Rows and columns at the ends and in the middle, all pairs of them."""
    return itertools.product(
        *(sorted({0, 1, n // 2, n - 2, n - 1} & set(range(n))) for n in (height, width))
    )


def corners_and_middle(height, width):
    y, x = height - 1, width - 1
    return sorted({(0, 0), (0, x), (y, 0), (y, x), (y // 2, x // 2)})


def disturbed(image, rows, columns):
    """The image drawn anew outside a box."""
    generator = torch.Generator().manual_seed(2)
    copy = torch.rand(image.shape, generator=generator, dtype=image.dtype)
    y, x = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    copy[..., y, x] = image[..., y, x]
    return copy


def assert_blind_outside(network, model_trace, size, paths, positions):
    """Assert that the values of modules do not depend, to the bit, on pixels outside their fields.

    Returns how many fields had an outside.
    """
    network = network.double().eval()
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, *size, generator=generator, dtype=torch.float64)
    checked = 0
    for path in paths:
        node = model_trace.find_node(path)
        field = model_trace.field(node)
        if field is None or field.sees_whole_image or node in model_trace.unknown:
            continue
        dims = model_trace.spatial_dims(node)
        height, width = (model_trace.shape(node)[dim] for dim in dims)
        plain = captured(network, path, image)
        for y, x in positions(height, width):
            rows = span(int(field.low[0][y]), int(field.high[0][y]), size[0])
            columns = span(int(field.low[1][x]), int(field.high[1][x]), size[1])
            if len(rows) * len(columns) == size[0] * size[1]:
                continue
            checked += 1
            # One image at a time: in a batch, sums are not always taken in one order.
            other = captured(network, path, disturbed(image, rows, columns))
            before, after = (
                values.select(dims[1], x).select(dims[0], y) for values in (plain, other)
            )
            assert torch.equal(before, after), (path, (y, x), rows, columns)
    return checked


@pytest.mark.parametrize(
    ("name", "size", "paths"),
    [
        ("alexnet", (95, 131), ["features.0", "features.2", "features.5", "features.12"]),
        ("vgg16", (64, 97), ["4", "16", "23"]),
        ("googlenet", (96, 113), ["maxpool1", "inception3a", "inception3b", "inception4a"]),
        ("resnet50", (97, 96), ["maxpool", "layer1", "layer2.0", "layer3.0"]),
        ("mobilenet_v2", (97, 64), ["features.1", "features.4", "features.8"]),
        ("tf_efficientnet_lite0", (96, 71), ["conv_stem", "blocks.1", "blocks.2", "blocks.3.0"]),
        ("inception_v3", (107, 96), ["Conv2d_2b_3x3", "maxpool2", "Mixed_5b"]),
        (
            "densenet121",
            (97, 96),
            ["features.pool0", "features.denseblock1.denselayer3.conv2", "features.transition1"],
        ),
        ("convnext_tiny", (96, 75), ["features.0", "features.1.1", "features.2"]),
        ("efficientnet_b0", (97, 96), ["features.0", "features.1.0.block.0"]),
        ("squeezenet1_0", (97, 75), ["features.2", "features.4", "features.7"]),
        ("fcn_resnet50", (97, 96), ["backbone.maxpool", "backbone.layer1", "backbone.layer2.1"]),
        ("timm_resnet50", (97, 96), ["maxpool", "layer1", "layer2.0"]),
        ("regnety_004", (97, 96), ["stem", "s1.b1.conv2"]),
    ],
)
def test_known_networks_are_blind_outside_their_fields(name, size, paths):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    model_trace = traced(network, size)
    for path in paths:
        field = model_trace.field(model_trace.find_node(path))
        assert field is not None and not field.sees_whole_image
    checked = assert_blind_outside(network, model_trace, size, paths, corners_and_middle)
    assert checked >= 3 * len(paths)


# pieces


def added(*branches):
    return Branches(sum, *branches)


def shifted(x):
    return torch.roll(x, (1, -2), (2, 3))


def shuffled(x):
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def windows(x):
    """Attention-free window mixing as Swin partitions it: mean of each 2 by 2 window."""
    n, c, h, w = x.shape
    parts = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
    parts = parts + parts.mean(1, keepdim=True)
    parts = parts.view(n, h // 2, w // 2, 2, 2, c).permute(0, 5, 1, 3, 2, 4)
    return parts.reshape(n, c, h, w)


class ChannelsLastNorm(nn.Module):
    """As in ConvNeXt: to NHWC, LayerNorm, a linear layer, and back."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(channels, channels)

    def forward(self, x):
        return self.mix(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def resized(**options):
    return Do(lambda x: F.interpolate(x, **options), str(options))


def padding(pad, mode):
    return Do(lambda x: F.pad(x, pad, mode=mode), f"{mode} {pad}")


# Each takes and gives four channels; none checked at all positions.
LOCAL = {
    "conv": lambda: conv(4, 4, 3, padding=1),
    "conv even asymmetric": lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), conv(4, 4, (2, 3))),
    "conv dilated": lambda: conv(4, 4, 3, padding=1, dilation=2),
    "conv strided": lambda: conv(4, 4, 3, stride=2, padding=1),
    "conv same": lambda: conv(4, 4, 4, padding="same"),
    "conv grouped": lambda: conv(4, 4, 3, groups=4),
    "conv reflected": lambda: conv(4, 4, 3, padding=1, padding_mode="reflect"),
    "conv replicated": lambda: conv(4, 4, 3, padding=(2, 1), padding_mode="replicate"),
    "reflection": lambda: padding((2, 1, 0, 2), "reflect"),
    "replication": lambda: padding((0, 3, 2, 1), "replicate"),
    "cropped by padding": lambda: padding((-1, 0, 1, -1), "constant"),
    "max ceil": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "max dilated": lambda: nn.MaxPool2d(2, 1, dilation=2),
    "mean ceil": lambda: nn.AvgPool2d(2, 2, 1, ceil_mode=True),
    "adaptive mean": lambda: nn.AdaptiveAvgPool2d((5, 4)),
    "adaptive max": lambda: nn.AdaptiveMaxPool2d((4, 3)),
    "transposed": lambda: nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=(1, 0)),
    "transposed wide": lambda: nn.ConvTranspose2d(4, 4, 2, 3, output_padding=1, groups=2),
    "transposed dilated": lambda: nn.ConvTranspose2d(4, 4, 2, 1, dilation=2),
    "nearest 2": lambda: resized(scale_factor=2, mode="nearest"),
    "nearest odd": lambda: resized(size=(11, 7), mode="nearest"),
    "nearest exact": lambda: resized(scale_factor=1.7, mode="nearest-exact"),
    "nearest factor": lambda: resized(scale_factor=(1.3, 0.7), mode="nearest"),
    "bilinear": lambda: resized(scale_factor=1.5, mode="bilinear", align_corners=False),
    "bilinear corners": lambda: resized(size=(9, 14), mode="bilinear", align_corners=True),
    "bilinear smaller": lambda: resized(size=(5, 4), mode="bilinear"),
    "bilinear antialias": lambda: resized(size=(5, 9), mode="bilinear", antialias=True),
    "bicubic": lambda: resized(scale_factor=2, mode="bicubic"),
    "bicubic corners": lambda: resized(size=(8, 6), mode="bicubic", align_corners=True),
    "bicubic antialias": lambda: resized(size=(6, 5), mode="bicubic", antialias=True),
    "pixel shuffle": lambda: nn.Sequential(conv(4, 16, 1), nn.PixelShuffle(2)),
    "pixel unshuffle": lambda: nn.Sequential(
        nn.AdaptiveAvgPool2d((8, 6)), nn.PixelUnshuffle(2), conv(16, 4, 1)
    ),
    "concatenation": lambda: concatenated(
        conv(4, 2, 1), conv(4, 1, 5, padding=2), nn.Sequential(conv(4, 1, 3, padding=1), nn.ReLU())
    ),
    "grouped after concatenation": lambda: nn.Sequential(
        concatenated(conv(4, 2, 1), conv(4, 2, 5, padding=2)), conv(4, 4, 3, groups=2)
    ),
    "shuffled after concatenation": lambda: nn.Sequential(
        concatenated(conv(4, 2, 1), conv(4, 2, 5, padding=2)), Do(shuffled), nn.ChannelShuffle(2)
    ),
    "crops side by side": lambda: Do(lambda x: torch.cat([x[:, :, 1:3], x[:, :, :2]], 2)),
    "residual": lambda: added(nn.Identity(), conv(4, 4, 3, padding=1)),
    "sliced": lambda: Do(lambda x: x[:, :, 1:, ::2]),
    "cropped": lambda: Do(lambda x: x[..., 1:-1, :-1]),
    "turned": lambda: Do(lambda x: x.flip(3)),
    "transposed axes": lambda: Do(lambda x: x.transpose(2, 3).contiguous().transpose(2, 3)),
    "roll": lambda: Do(shifted),
    "windows": lambda: nn.Sequential(nn.AdaptiveAvgPool2d((6, 4)), Do(windows)),
    "NHWC norm": lambda: ChannelsLastNorm(4),
    "batch norm": lambda: nn.BatchNorm2d(4),
    "local response": lambda: nn.LocalResponseNorm(2),
    "prelu": lambda: nn.PReLU(4),
    "in place": lambda: nn.ReLU(inplace=True),
    "gated": lambda: nn.Sequential(conv(4, 8, 3), nn.GLU(1)),
    "gated between fields": lambda: nn.Sequential(
        concatenated(conv(4, 4, 1), conv(4, 4, 3, padding=1)), nn.GLU(1)
    ),
    "through a view": lambda: Do(lambda x: written_through(x.clone())),
    "written flat": lambda: Do(lambda x: written(x, lambda y: y.view(len(y), -1).relu_())),
    "written by rows": lambda: Do(lambda x: written(x, lambda y: y[:, :, 1::2].mul_(2))),
    "written turned": lambda: Do(
        lambda x: written(x, lambda y: y.transpose(2, 3).copy_(x.roll(1, 3).transpose(2, 3)))
    ),
    "set into zeros": lambda: Do(set_into_zeros),
}  # fmt: skip

# These look at everything besides, or instead.
GLOBAL = {
    "squeeze and excite": lambda: Branches(
        lambda parts: parts[0] * parts[1],
        nn.Identity(),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(4, 4, 1), nn.Sigmoid()),
    ),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "instance norm": lambda: nn.InstanceNorm2d(4),
    "attention": lambda: Do(attention),
}


def written(x, write):
    x = x.clone()
    write(x)
    return x


def set_into_zeros(x):
    framed = x.new_zeros(*x.shape[:2], x.shape[2] + 3, x.shape[3] + 2)
    framed[:, :, 1:-2, 2:] = x
    return framed


def written_through(x):
    x[:, :2].relu_()
    return x


def attention(x):
    tokens = x.flatten(2).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
    return x + mixed.transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("size", [pytest.param((12, 12), marks=pytest.mark.slow), (13, 10)])
def test_local_piece_has_a_field_and_is_blind_outside_it(name, size):
    torch.manual_seed(0)
    network = nn.Sequential(conv(3, 4, 3, padding=1), LOCAL[name](), conv(4, 4, 2))
    model_trace = traced(network, size)
    for path in ("1", "2"):
        field = model_trace.field(model_trace.find_node(path))
        assert field is not None and not field.sees_whole_image
    assert not model_trace.unknown
    assert assert_blind_outside(network, model_trace, size, ["1", "2"], ends_and_middle) > 8


def test_circular_padding_keeps_the_map_and_its_interior_is_local():
    torch.manual_seed(0)
    network = nn.Sequential(conv(3, 4, 3, padding=1, padding_mode="circular"), conv(4, 4, 2))
    model_trace = traced(network, (12, 12))
    field = model_trace.field(model_trace.find_node("0"))
    assert field is not None
    if not field.sees_whole_image:
        assert field.low[0][5].item() == 4 and field.high[0][5].item() == 6
    assert_blind_outside(network, model_trace, (12, 12), ["0", "1"], ends_and_middle)


@pytest.mark.parametrize("name", GLOBAL)
def test_global_piece_keeps_the_local_field_and_is_flagged(name):
    torch.manual_seed(0)
    network = nn.Sequential(conv(3, 4, 3, padding=1), GLOBAL[name](), conv(4, 4, 3, padding=1))
    model_trace = traced(network, (12, 10))
    assert not model_trace.field(model_trace.find_node("0")).sees_whole_image
    for path, size in (("1", 3), ("2", 5)):
        field = model_trace.field(model_trace.find_node(path))
        assert field.sees_whole_image
        assert field.size == (size, size)
    assert not model_trace.unknown


def test_a_window_sees_its_window_alone():
    model_trace = traced(nn.Sequential(Do(windows)), (8, 6))
    field = model_trace.field(model_trace.find_node("0"))
    assert field.low[0].tolist() == [0, 0, 2, 2, 4, 4, 6, 6]
    assert field.high[1].tolist() == [1, 1, 3, 3, 5, 5]
    assert not field.sees_whole_image


# random networks of these pieces


@st.composite
def networks(draw):
    names = draw(st.lists(st.sampled_from([*LOCAL, *GLOBAL]), min_size=1, max_size=4))
    pieces = [conv(3, 4, draw(st.integers(1, 3)), stride=draw(st.integers(1, 2)), padding=1)]
    pieces += [{**LOCAL, **GLOBAL}[name]() for name in names]
    if draw(st.booleans()):
        pieces = [pieces[0], added(nn.Sequential(*pieces[1:]), nn.Sequential(*pieces[1:2]))]
    size = draw(st.integers(9, 19)), draw(st.integers(9, 19))
    return nn.Sequential(*pieces), size, names


@pytest.mark.slow
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(networks())
def test_random_networks_are_blind_outside_their_fields(drawn):
    network, size, _ = drawn
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.reset_parameters()
    try:
        with torch.no_grad():
            value = torch.rand(1, 3, *size)
            for module in network.eval():
                value = module(value)
                assume(value.numel() > 0)
    except RuntimeError:
        reject()  # pieces that do not fit each other
    model_trace = traced(network, size)
    paths = [path for path, _ in network.named_children()]
    assert_blind_outside(network, model_trace, size, paths, corners_and_middle)
