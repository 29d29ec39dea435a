"""Receptive fields, against sizes known from the literature and gradient support."""

import pytest
import torch
from torch import nn

from support.field_networks import NETWORKS, captured, conv, field_size, span, traced

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
    model_trace = traced(NETWORKS[network](), size)
    assert {name: field_size(model_trace, name) for name in sizes} == {
        name: (size, size) for name, size in sizes.items()
    }


def test_stride_offset_and_centers_follow_the_formula():
    # r = r' + (k-1) j', j = j' s, start = start' - p j' (Dumoulin & Visin 2016; Araujo et al. 2019)
    layers = [(11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1)]
    network = nn.Sequential(*(conv(3, 3, k, stride=s, padding=p) for k, s, p in layers))
    model_trace = traced(network, (127, 99))
    size, jump, start = 1, 1, 0
    for number, (kernel, stride, padding) in enumerate(layers):
        start -= padding * jump
        size += (kernel - 1) * jump
        jump *= stride
        field = model_trace.field(model_trace.find_node(str(number)))
        assert field.size == (size, size)
        assert field.stride == (jump, jump)
        assert field.offset == (start, start)
        assert not field.sees_whole_image
        for axis in (0, 1):
            positions = torch.arange(
                model_trace.shape(model_trace.find_node(str(number)))[2 + axis]
            )
            expected = start + jump * positions + (size - 1) / 2
            torch.testing.assert_close(field.centers[axis], expected.double(), rtol=0, atol=0)


def test_uneven_fields_have_no_single_size():
    model_trace = traced(nn.Sequential(nn.AdaptiveAvgPool2d((7, 3))), (11, 12))
    field = model_trace.field(model_trace.find_node("0"))
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


def supports(network, path, size, model_trace):
    """For some positions: rows and columns of nonzero gradient, and those of the field."""
    image = torch.rand(1, 3, *size, dtype=torch.float64, requires_grad=True)
    value = captured(network, path, image)
    field = model_trace.field(model_trace.find_node(path))
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
    model_trace = traced(network, size)
    network = smoothed(network)
    for path in paths:
        for position, seen, (rows, columns) in supports(network, path, size, model_trace):
            expected = torch.zeros_like(seen)
            expected[rows.start : rows.stop, columns.start : columns.stop] = True
            assert torch.equal(seen, expected), (path, position)


@pytest.mark.parametrize("name", ["alexnet", "mixed", "up"])
@pytest.mark.parametrize("size", [(98, 131), (66, 68)])
def test_gradient_support_lies_in_the_field_at_sizes_that_do_not_fit(name, size):
    make, _, paths = CHAINS[name]
    network = make()
    model_trace = traced(network, size)
    network = smoothed(network)
    for path in paths:
        for number, (position, seen, box) in enumerate(supports(network, path, size, model_trace)):
            for axis in (0, 1):
                lines = seen.any(1 - axis).nonzero().flatten().tolist()
                assert set(lines) <= set(box[axis]), (path, position)
                if number == 0 and path == paths[0]:  # the middle of the first
                    assert lines == list(box[axis])


@pytest.mark.parametrize("dilation", [2, 3, (1, 4)])
def test_gradient_support_of_dilation_lies_inside_and_touches_the_ends(dilation):
    network = nn.Sequential(conv(3, 4, 3, padding=2), conv(4, 4, 3, dilation=dilation, padding=3))
    model_trace = traced(network, (21, 24))
    for number, (_, seen, box) in enumerate(
        supports(smoothed(network), "1", (21, 24), model_trace)
    ):
        for axis in (0, 1):
            lines = seen.any(1 - axis).nonzero().flatten().tolist()
            assert set(lines) <= set(box[axis])
            if number == 0:  # the middle
                assert (lines[0], lines[-1]) == (box[axis][0], box[axis][-1])
