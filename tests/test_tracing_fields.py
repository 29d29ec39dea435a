"""Receptive fields, against known sizes, gradient support and perturbed pixels."""

import itertools

import pytest
import timm
import torch
import torchvision
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convlens import trace, wrap

# torch says so of even kernels, and copies.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

NETWORKS = {
    "alexnet": lambda: torchvision.models.alexnet(weights=None),
    "vgg16": lambda: nn.Sequential(*torchvision.models.vgg16(weights=None).features),
    "googlenet": lambda: torchvision.models.googlenet(
        weights=None, init_weights=False, aux_logits=False
    ),
    "resnet50": lambda: torchvision.models.resnet50(weights=None),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(weights=None),
    "tf_efficientnet_lite0": lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False),
    "inception_v3": lambda: torchvision.models.inception_v3(weights=None, init_weights=False),
    "densenet121": lambda: torchvision.models.densenet121(weights=None),
    "convnext_tiny": lambda: torchvision.models.convnext_tiny(weights=None),
    "efficientnet_b0": lambda: torchvision.models.efficientnet_b0(weights=None),
    "squeezenet1_0": lambda: torchvision.models.squeezenet1_0(weights=None),
    "fcn_resnet50": lambda: torchvision.models.segmentation.fcn_resnet50(
        weights=None, weights_backbone=None
    ),
    "timm_resnet50": lambda: timm.create_model("resnet50", pretrained=False),
    "regnety_004": lambda: timm.create_model("regnety_004", pretrained=False),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Grouped convolutions in float64 start their threads anew for each group."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Do(nn.Module):
    """A function as a module, so that a plain hook sees what it gives."""

    def __init__(self, function, name=""):
        super().__init__()
        self.function = function
        self.name = name

    def forward(self, x):
        return self.function(x)

    def extra_repr(self):
        return self.name


class Branches(nn.Module):
    """Several modules on one input, and what is made of their outputs."""

    def __init__(self, join, *branches):
        super().__init__()
        self.join = join
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return self.join([branch(x) for branch in self.branches])


def added(*branches):
    return Branches(sum, *branches)


def concatenated(*branches):
    return Branches(lambda parts: torch.cat(parts, 1), *branches)


def conv(given, gave, kernel=3, **options):
    return nn.Conv2d(given, gave, kernel, **options)


def traced(network, size):
    torch.manual_seed(0)
    return trace(wrap(network, size=size))


def field_size(found, name):
    return found.field(found.find(name)).size


# known sizes: computed by hand in the literature


@pytest.mark.parametrize(
    ("network", "sizes"),
    [
        ("alexnet", {"features.10": 163}),
        ("vgg16", {"28": 196}),
        ("googlenet", {"inception3a": 43, "inception4a": 107, "inception5b": 379}),
        ("resnet50", {"layer1": 35, "layer2": 91, "layer3": 267, "layer4": 427}),
    ],
)
@pytest.mark.parametrize("size", [(224, 224), (97, 161)])
def test_sizes_known_from_the_literature(network, sizes, size):
    found = traced(NETWORKS[network](), size)
    assert {name: field_size(found, name) for name in sizes} == {
        name: (one, one) for name, one in sizes.items()
    }


def test_stride_offset_and_centres_follow_the_formula():
    # r = r' + (k-1) j', j = j' s, start = start' - p j' (Dumoulin & Visin 2016; Araujo et al. 2019)
    layers = [(11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1)]
    network = nn.Sequential(*(conv(3, 3, k, stride=s, padding=p) for k, s, p in layers))
    found = traced(network, (127, 99))
    size, jump, start = 1, 1, 0
    for number, (kernel, stride, padding) in enumerate(layers):
        start -= padding * jump
        size += (kernel - 1) * jump
        jump *= stride
        field = found.field(found.find(str(number)))
        assert field.size == (size, size)
        assert field.stride == (jump, jump)
        assert field.offset == (start, start)
        assert not field.beyond
        for axis in (0, 1):
            positions = torch.arange(found.shape(found.find(str(number)))[2 + axis])
            wanted = start + jump * positions + (size - 1) / 2
            torch.testing.assert_close(field.centres[axis], wanted.double(), rtol=0, atol=0)


def test_uneven_fields_have_no_single_size():
    found = traced(nn.Sequential(nn.AdaptiveAvgPool2d((7, 3))), (11, 12))
    field = found.field(found.find("0"))
    low = [i * 11 // 7 for i in range(7)]
    high = [-(-(i + 1) * 11 // 7) - 1 for i in range(7)]
    assert field.low[0].tolist() == low and field.high[0].tolist() == high
    assert field.size == (None, 4) and field.stride == (None, 4)


# gradient support


def smoothed(network):
    """The same windows with positive weights and no gradient that is zero by accident."""
    generator = torch.Generator().manual_seed(1)
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, (nn.ReLU, nn.ReLU6, nn.SiLU)):
                setattr(parent, name, nn.Softplus())
            elif isinstance(module, nn.MaxPool2d):
                mean = nn.AvgPool2d(
                    module.kernel_size, module.stride, module.padding, module.ceil_mode
                )
                setattr(parent, name, mean)
            elif isinstance(module, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            drawn = torch.rand(module.weight.shape, generator=generator, dtype=torch.float64)
            module.weight = nn.Parameter((drawn + 0.5) / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network.double().eval()


class Seen(Exception):
    pass


def captured(network, path, images):
    """What the module at `path` gives first, by a plain hook that goes no further."""

    def stop(module, inputs, output):
        raise Seen(output)

    handle = network.get_submodule(path).register_forward_hook(stop)
    try:
        with torch.set_grad_enabled(images.requires_grad):
            network(images)
    except Seen as seen:
        return seen.args[0]
    finally:
        handle.remove()


def ends_and_middle(height, width):
    """Rows and columns at the ends and in the middle, all pairs of them."""
    return itertools.product(
        *(sorted({0, 1, n // 2, n - 2, n - 1} & set(range(n))) for n in (height, width))
    )


def corners_and_middle(height, width):
    y, x = height - 1, width - 1
    return sorted({(0, 0), (0, x), (y, 0), (y, x), (y // 2, x // 2)})


def span(low, high, length):
    return range(max(low, 0), min(high, length - 1) + 1)


def supports(network, path, size, found):
    """For some positions: rows and columns of nonzero gradient, and those of the field."""
    image = torch.rand(1, 3, *size, dtype=torch.float64, requires_grad=True)
    value = captured(network, path, image)
    field = found.field(found.find(path))
    last_y, last_x = value.shape[2] - 1, value.shape[3] - 1
    middle = (last_y // 2, last_x // 2)
    corners = {(0, 0), (0, last_x), (last_y, 0), (last_y, last_x)}
    for y, x in [middle, *sorted(corners | {(middle[0], 0), (last_y, middle[1])})]:
        (slope,) = torch.autograd.grad(value[0, :, y, x].sum(), image, retain_graph=True)
        box = [
            span(int(field.low[axis][at]), int(field.high[axis][at]), size[axis])
            for axis, at in ((0, y), (1, x))
        ]
        yield (y, x), slope[0].ne(0).any(0), box


# Sizes at which no window leaves out pixels at the far edge: there the field, which goes on into
# padding in even steps, is wider than what is really read.
CHAINS = {
    "alexnet": (NETWORKS["alexnet"], (95, 127), ["features.0", "features.8", "features.10"]),
    "vgg16": (NETWORKS["vgg16"], (64, 80), ["5", "14", "28"]),
    "mobilenet_v2": (NETWORKS["mobilenet_v2"], (65, 49), ["features.2", "features.7"]),
    "resnet50": (NETWORKS["resnet50"], (97, 65), ["layer1.0.conv2", "layer1", "layer2.0"]),
    "googlenet": (NETWORKS["googlenet"], (65, 49), ["conv3", "inception3a", "inception4a"]),
    "mixed": (
        lambda: nn.Sequential(
            conv(3, 4, 5, padding="same"), conv(4, 4, 3, stride=2), nn.ZeroPad2d((1, 0, 1, 1)),
            conv(4, 4, (2, 4), groups=2), nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        ),
        (31, 25), ["0", "1", "3", "4"],
    ),
    "up": (
        lambda: nn.Sequential(
            conv(3, 4, 3), nn.ConvTranspose2d(4, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 4, 2, 1),
            conv(4, 4, 2),
        ),
        (9, 11), ["0", "1", "2", "3"],
    ),
    "adaptive 11 to 7": (
        lambda: nn.Sequential(conv(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(7), conv(4, 4, 3)),
        (11, 13), ["1", "2"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_gradient_support_is_exactly_the_field(name):
    make, size, paths = CHAINS[name]
    network = make()
    found = traced(network, size)
    network = smoothed(network)
    for path in paths:
        for position, seen, (rows, columns) in supports(network, path, size, found):
            wanted = torch.zeros_like(seen)
            wanted[rows.start : rows.stop, columns.start : columns.stop] = True
            assert torch.equal(seen, wanted), (path, position)


@pytest.mark.parametrize("name", ["alexnet", "mixed", "up"])
@pytest.mark.parametrize("size", [(98, 131), (66, 68)])
def test_gradient_support_lies_in_the_field_at_sizes_that_do_not_fit(name, size):
    make, _, paths = CHAINS[name]
    network = make()
    found = traced(network, size)
    network = smoothed(network)
    for path in paths:
        for number, (position, seen, box) in enumerate(supports(network, path, size, found)):
            for axis in (0, 1):
                lines = seen.any(1 - axis).nonzero().flatten().tolist()
                assert set(lines) <= set(box[axis]), (path, position)
                if number == 0 and path == paths[0]:  # the middle of the first
                    assert lines == list(box[axis])


@pytest.mark.parametrize("dilation", [2, 3, (1, 4)])
def test_gradient_support_of_dilation_lies_inside_and_touches_the_ends(dilation):
    network = nn.Sequential(conv(3, 4, 3, padding=2), conv(4, 4, 3, dilation=dilation, padding=3))
    found = traced(network, (21, 24))
    for number, (_, seen, box) in enumerate(supports(smoothed(network), "1", (21, 24), found)):
        for axis in (0, 1):
            lines = seen.any(1 - axis).nonzero().flatten().tolist()
            assert set(lines) <= set(box[axis])
            if number == 0:  # the middle
                assert (lines[0], lines[-1]) == (box[axis][0], box[axis][-1])


# perturbation: nothing outside the field matters, to the last bit


def disturbed(image, rows, columns):
    """The image drawn anew outside a box."""
    generator = torch.Generator().manual_seed(2)
    copy = torch.rand(image.shape, generator=generator, dtype=image.dtype)
    y, x = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    copy[..., y, x] = image[..., y, x]
    return copy


def assert_blind_outside(network, found, size, paths, positions):
    """What modules give at positions is the same to the bit whatever is outside their fields.

    Returns how many fields had an outside.
    """
    network = network.double().eval()
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, *size, generator=generator, dtype=torch.float64)
    looks = 0
    for path in paths:
        value = found.find(path)
        field = found.field(value)
        if field is None or field.beyond or value in found.unknown:
            continue
        dims = found.spatial_dims(value)
        height, width = (found.shape(value)[dim] for dim in dims)
        plain = captured(network, path, image)
        for y, x in positions(height, width):
            rows = span(int(field.low[0][y]), int(field.high[0][y]), size[0])
            columns = span(int(field.low[1][x]), int(field.high[1][x]), size[1])
            if len(rows) * len(columns) == size[0] * size[1]:
                continue
            looks += 1
            # One image at a time: in a batch, sums are not always taken in one order.
            other = captured(network, path, disturbed(image, rows, columns))
            before, after = (one.select(dims[1], x).select(dims[0], y) for one in (plain, other))
            assert torch.equal(before, after), (path, (y, x), rows, columns)
    return looks


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
    found = traced(network, size)
    for path in paths:
        field = found.field(found.find(path))
        assert field is not None and not field.beyond
    looks = assert_blind_outside(network, found, size, paths, corners_and_middle)
    assert looks >= 3 * len(paths)


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


# Each takes and gives four channels; none looks at all positions.
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
@pytest.mark.parametrize("size", [(12, 12), (13, 10)])
def test_local_piece_has_a_field_and_is_blind_outside_it(name, size):
    torch.manual_seed(0)
    network = nn.Sequential(conv(3, 4, 3, padding=1), LOCAL[name](), conv(4, 4, 2))
    found = traced(network, size)
    for path in ("1", "2"):
        field = found.field(found.find(path))
        assert field is not None and not field.beyond
    assert not found.unknown
    assert assert_blind_outside(network, found, size, ["1", "2"], ends_and_middle) > 8


def test_circular_padding_keeps_the_map_and_its_interior_is_local():
    torch.manual_seed(0)
    network = nn.Sequential(conv(3, 4, 3, padding=1, padding_mode="circular"), conv(4, 4, 2))
    found = traced(network, (12, 12))
    field = found.field(found.find("0"))
    assert field is not None
    if not field.beyond:
        assert field.low[0][5].item() == 4 and field.high[0][5].item() == 6
    assert_blind_outside(network, found, (12, 12), ["0", "1"], ends_and_middle)


@pytest.mark.parametrize("name", GLOBAL)
def test_global_piece_keeps_the_local_field_and_is_flagged(name):
    torch.manual_seed(0)
    network = nn.Sequential(conv(3, 4, 3, padding=1), GLOBAL[name](), conv(4, 4, 3, padding=1))
    found = traced(network, (12, 10))
    assert not found.field(found.find("0")).beyond
    for path, size in (("1", 3), ("2", 5)):
        field = found.field(found.find(path))
        assert field.beyond
        assert field.size == (size, size)
    assert not found.unknown


def test_a_window_sees_its_window_alone():
    found = traced(nn.Sequential(Do(windows)), (8, 6))
    field = found.field(found.find("0"))
    assert field.low[0].tolist() == [0, 0, 2, 2, 4, 4, 6, 6]
    assert field.high[1].tolist() == [1, 1, 3, 3, 5, 5]
    assert not field.beyond


def test_write_through_a_view_of_another_rank_stays_local():
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = conv(3, 8, 3, padding=1), conv(8, 4, 3, padding=1)

        def forward(self, x):
            x = self.first(x)
            x.view(-1, 2, 4, *x.shape[2:]).relu_()
            return self.second(x)

    found = traced(Written(), (16, 16))
    assert field_size(found, "second") == (5, 5)


def nothing_first(x):
    return torch.cat([x[:, :, :0], x, x[:, :, 12:]], 2)


def nothing_set(x):
    out = x.clone()
    out[:, :0] = x[:, 4:] * 2
    out[:, :, 12:] = 0
    return out


@pytest.mark.parametrize("function", [nothing_first, nothing_set])
def test_slices_that_are_empty_change_nothing(function):
    found = traced(nn.Sequential(conv(3, 4, 3, padding=1), Do(function)), (12, 12))
    field = found.field(found.find("1"))
    assert field.size == (3, 3) and field.offset == (-1, -1)


def test_global_pooling_leaves_no_map():
    network = nn.Sequential(conv(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    found = traced(network, (12, 10))
    for path in ("1", "2", "3"):
        value = found.find(path)
        assert found.field(value) is None
        assert found.reach(value) == ((0, 11), (0, 9), True)


def test_a_map_whose_fields_cover_the_image_is_still_a_map():
    # Channels that see differently, mixed at each position on its own.
    network = nn.Sequential(
        concatenated(conv(3, 2, 9, padding=4), conv(3, 2, 11, padding=5)),
        Do(lambda x: x.permute(0, 2, 3, 1)), nn.Linear(4, 4),
        Do(lambda x: x.permute(0, 3, 1, 2)), conv(4, 4, 3, padding=1),
    )  # fmt: skip
    found = traced(network, (4, 4))
    for path in ("0", "2", "4"):
        field = found.field(found.find(path))
        assert field is not None
        assert not field.beyond
    assert found.field(found.find("2")).size == (11, 11)


# dependence through other arguments than the first


class FromTheWholeImage(nn.Module):
    """A map, and numbers pooled from it that are used in another way than as a factor."""

    def __init__(self, use):
        super().__init__()
        self.first = conv(3, 4, 3, padding=1)
        self.use = Do(lambda x: use(x, x.mean((2, 3), keepdim=True)))

    def forward(self, x):
        return self.use(self.first(x))


DYNAMIC = {
    "kernel": lambda x, pooled: F.conv2d(x, pooled.view(-1, 4, 1, 1)[:1].expand(4, -1, 3, 3)),
    "bias": lambda x, pooled: F.conv2d(x, torch.ones(4, 4, 3, 3).to(x), pooled[0].flatten()),
    "fill": lambda x, pooled: x + torch.zeros_like(x).fill_(pooled.mean()),
    "norm's weight": lambda x, pooled: F.layer_norm(
        x.permute(0, 2, 3, 1), (4,), pooled[0].flatten()
    ).permute(0, 3, 1, 2),
    "group norm's weight": lambda x, pooled: F.group_norm(x, 4, pooled[0].flatten()),
    "linear's weight": lambda x, pooled: F.linear(
        x.permute(0, 2, 3, 1), pooled[0].view(1, 4).expand(4, 4)
    ).permute(0, 3, 1, 2),
    "linear's bias": lambda x, pooled: F.linear(
        x.permute(0, 2, 3, 1), torch.ones(4, 4).to(x), pooled[0].flatten()
    ).permute(0, 3, 1, 2),
    "batch norm's bias": lambda x, pooled: F.batch_norm(
        x, torch.zeros(4).to(x), torch.ones(4).to(x), None, pooled[0].flatten()
    ),
    "where": lambda x, pooled: torch.where(x > 0, x, pooled),
    "threshold": torch.maximum,
    "attention mask": lambda x, pooled: x + F.scaled_dot_product_attention(
        *[x.permute(0, 2, 3, 1).reshape(-1, 1, 4)] * 3, attn_mask=pooled.mean().view(1, 1)
    ).view(x.shape[0], *x.shape[2:], 4).permute(0, 3, 1, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", DYNAMIC)
def test_what_enters_by_another_argument_is_flagged(name):
    found = traced(FromTheWholeImage(DYNAMIC[name]), (9, 9))
    value = found.find("use")
    field = found.field(value)
    assert value in found.unknown or field is None or field.beyond


# what is not known


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("grid_sampler_2d", lambda x: F.grid_sample(
            x, torch.zeros(x.shape[0], 6, 5, 2).to(x), align_corners=False)),
        ("_fft_r2c", lambda x: torch.fft.rfft2(x).abs()),
        ("cumsum", lambda x: x.cumsum(3)),
        ("sort", lambda x: x.sort(2).values),
        ("im2col", lambda x: F.unfold(x, 3).unsqueeze(1)),
    ],
)  # fmt: skip
def test_unknown_operation_is_flagged_and_sees_everything(name, function):
    network = nn.Sequential(conv(3, 4, 3, padding=1), Do(function))
    found = traced(network, (9, 8))
    value = found.find("1")
    assert name in found.unknown.values()
    assert found.field(value) is None or found.field(value).beyond
    (top, bottom), (left, right), beyond = found.reach(value)
    assert beyond
    assert top <= 0 and bottom >= 8 and left <= 0 and right >= 7


# resampling: torch computes its source positions in float32


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("corners", [None, True])
def test_every_resizing_up_to_60_sees_what_torch_reads(mode, corners):
    if corners and "nearest" in mode:
        pytest.skip("align_corners is of linear and cubic interpolation")
    generator = torch.Generator().manual_seed(4)
    for _ in range(40):
        given, gave = torch.randint(2, 60, (2,), generator=generator).tolist()
        network = nn.Sequential(
            Do(lambda x, gave=gave: F.interpolate(x, (1, gave), mode=mode, align_corners=corners))
        )
        found = traced(network, (1, given))
        field = found.field(found.find("0"))
        if field is None:
            assert gave == 1
            continue
        for dtype in (torch.float32, torch.float64):
            slopes = torch.eye(given, dtype=dtype).view(given, 1, 1, given)
            seen = network(slopes)[:, 0, 0] != 0  # (given, gave)
            for position in range(gave):
                low, high = int(field.low[1][position]), int(field.high[1][position])
                inputs = seen[:, position].nonzero().flatten().tolist()
                assert all(low <= one <= high for one in inputs), (given, gave, position, dtype)


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
    found = traced(network, size)
    paths = [path for path, _ in network.named_children()]
    assert_blind_outside(network, found, size, paths, corners_and_middle)
