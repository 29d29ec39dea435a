"""Anatomy, against module hooks, closed forms and torch's own counter."""

import math
import warnings
from collections import Counter

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convlens import anatomy, wrap


def network_of(name):
    if name == "tf_efficientnet_lite0":
        return timm.create_model(name, pretrained=False)
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    with torch.device("meta"):  # weights are not drawn: no number here depends on them
        network = getattr(torchvision.models, name)(weights=None, **options)
    return network.to_empty(device="cpu")


SIZES = {
    "alexnet": (224, 224),
    "vgg16": (64, 96),
    "googlenet": (97, 96),
    "resnet50": (97, 65),
    "mobilenet_v2": (96, 71),
    "tf_efficientnet_lite0": (97, 64),
}


def layer_of(result, name):
    (layer,) = (layer for layer in result.layers if layer.name == name)
    return layer


@pytest.fixture(scope="module", params=SIZES)
def examined(request):
    """The network, its anatomy, and what plain hooks saw of each layer without children."""
    network = network_of(request.param).eval()
    size = SIZES[request.param]
    runs = []

    def watch(name):
        def hook(module, inputs, output):
            runs.append((name, (module, inputs[0].shape, output.shape)))

        return hook

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.rand(1, 3, *size))
    for handle in handles:
        handle.remove()
    often = Counter(name for name, _ in runs)
    so_far = Counter()
    seen = {}
    for name, run in runs:
        so_far[name] += 1
        seen[name if often[name] == 1 else f"{name}#{so_far[name]}"] = run
    result = anatomy(wrap(network, size=size))
    return request.param, network, result, seen, counter.get_total_flops()


def test_every_layer_that_runs_is_listed_once_in_order(examined):
    _, _, result, seen, _ = examined
    names = [layer.name for layer in result.layers]
    assert len(set(names)) == len(names)
    assert [name for name in names if name in seen] == [name for name in seen if name in names]
    assert set(seen) <= set(names)


def test_output_sizes_and_windows_are_those_of_the_modules(examined):
    name, _, result, seen, _ = examined
    for path, (module, input_shape, output_shape) in seen.items():
        layer = layer_of(result, path)
        assert layer.output == tuple(output_shape)
        assert layer.kind == type(module).__name__
        if not isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            assert layer.kernel is None
            continue
        both = lambda value: value if isinstance(value, tuple) else (value, value)  # noqa: E731
        assert layer.kernel == both(module.kernel_size)
        assert layer.stride == both(module.stride)
        assert layer.groups == getattr(module, "groups", None)
        for axis in (0, 1):
            kernel, stride = layer.kernel[axis], layer.stride[axis]
            dilation, length = layer.dilation[axis], input_shape[2 + axis]
            before, after = layer.padding[2 * axis : 2 * axis + 2]
            if name != "tf_efficientnet_lite0":
                assert before == after == both(module.padding)[axis]
            else:  # TensorFlow's "same": output ceil(n / s), the odd row or column goes last
                expected = max((-(-length // stride) - 1) * stride + kernel - length, 0)
                assert (before, after) == (expected // 2, expected - expected // 2)
            exact = (length + before + after - dilation * (kernel - 1) - 1) / stride + 1
            rounded = math.ceil if getattr(module, "ceil_mode", False) else math.floor
            assert rounded(exact) == layer.output[2 + axis]


def test_parameters_are_counted_once_each(examined):
    _, network, result, seen, _ = examined
    expected = {
        name: sum(p.numel() for p in module.parameters()) for name, (module, *_) in seen.items()
    }
    assert {name: layer_of(result, name).parameters for name in seen} == expected
    everything = sum(parameter.numel() for parameter in network.parameters())
    assert result.parameters == everything
    assert result.unused == ()
    assert sum(layer.parameters for layer in result.layers) == everything


def test_formula_agrees_with_the_tensors(examined):
    _, _, result, seen, _ = examined
    convolutions = 0
    for path, (module, input_shape, output_shape) in seen.items():
        layer = layer_of(result, path)
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            tensors = sum(parameter.numel() for parameter in module.parameters())
            assert layer.by_formula == layer.parameters == tensors
        else:
            assert layer.by_formula is None
        if isinstance(module, nn.Conv2d):
            convolutions += 1
            assert layer.dense_weights == math.prod(input_shape[1:]) * math.prod(output_shape[1:])
        else:
            assert layer.dense_weights is None
    assert convolutions >= 5


def test_multiply_adds_agree_with_closed_forms_and_with_torch(examined):
    _, _, result, seen, flops = examined
    for path, (module, _, output_shape) in seen.items():
        expected = 0
        if isinstance(module, nn.Conv2d):
            expected = math.prod(output_shape) * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            expected = math.prod(output_shape) * module.in_features
        assert layer_of(result, path).multiply_adds == expected
    assert 2 * result.multiply_adds == flops
    assert result.multiply_adds == sum(layer.multiply_adds for layer in result.layers)


# numbers in the literature


def test_vgg16_has_the_parameters_costs_and_fields_of_the_chapter():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = anatomy(wrap(network_of("vgg16")))
    assert result.parameters == 138_357_544
    assert result.multiply_adds == 15_470_264_320
    convolutions = [layer for layer in result.layers if layer.kernel == (3, 3)]
    assert [layer.field_size for layer in convolutions] == [
        (n, n) for n in (3, 5, 10, 14, 24, 32, 40, 60, 76, 92, 132, 164, 196)
    ]
    assert (result.final_post, result.final_pre) == ("features.29", ("features.28",))
    assert result.logits == "classifier.6"


# what modules do besides


class Odd(nn.Module):
    """Operations of its own, a shared layer, a head that is never run, and a bias alone."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.up = nn.ConvTranspose2d(3, 4, 3, stride=2, groups=1, bias=False)
        self.wide = nn.Conv2d(4, 8, 3, dilation=2, groups=2, padding=(1, 2))
        self.linear = nn.Linear(8, 5)
        self.helper = nn.Linear(8, 5)

    def forward(self, x):
        x = self.twice(self.twice(x) * self.scale)
        x = self.wide(self.up(x))
        return self.linear(x.mean((2, 3)))


@pytest.fixture(scope="module")
def odd():
    return anatomy(wrap(Odd(), size=(10, 12)))


def test_shared_layer_costs_twice_and_is_learned_once(odd):
    first, second = (layer_of(odd, f"twice#{run}") for run in (1, 2))
    assert first.multiply_adds == second.multiply_adds == 10 * 12 * 3 * 3 * 9
    assert (first.parameters, second.parameters) == (84, 0)
    assert first.by_formula == second.by_formula == 84


def test_parameter_outside_layers_and_head_that_never_runs(odd):
    assert layer_of(odd, "/mul").parameters == 3
    assert odd.unused == ("helper.weight", "helper.bias")
    assert sum(layer.parameters for layer in odd.layers) + 45 == odd.parameters


def test_transposed_dilated_and_grouped_convolutions(odd):
    up, wide = layer_of(odd, "up"), layer_of(odd, "wide")
    assert up.output == (1, 4, 21, 25)
    assert up.multiply_adds == 10 * 12 * 3 * 4 * 9
    assert up.parameters == up.by_formula == 3 * 4 * 9
    assert wide.output == (1, 8, 19, 25)
    assert (wide.dilation, wide.groups, wide.padding) == ((2, 2), 2, (1, 1, 2, 2))
    assert wide.multiply_adds == 19 * 25 * 8 * 2 * 9
    assert wide.parameters == wide.by_formula == 8 * 2 * 9 + 8


def test_flop_counter_agrees_on_odd_layers(odd):
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        Odd()(torch.rand(1, 3, 10, 12))
    assert 2 * odd.multiply_adds == counter.get_total_flops()


@pytest.mark.parametrize(
    "make",
    [
        lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5),
        lambda: torchvision.models.SwinTransformer(
            [4, 4], 12, [1, 1], [3, 3], [4, 4], num_classes=5
        ),
        lambda: timm.create_model("convnext_atto", pretrained=False),
    ],
)
def test_parameters_that_are_read_are_not_called_unused(make):
    """Whatever has a gradient after a backward pass was read."""
    torch.manual_seed(0)
    network = make().eval()
    network(torch.rand(2, 3, 32, 32)).square().sum().backward()
    with_gradient = {name for name, p in network.named_parameters() if p.grad is not None}
    result = anatomy(wrap(network, size=32))
    assert set(result.unused) & with_gradient == set()
    named = dict(network.named_parameters())
    missing = sum(named[name].numel() for name in result.unused)
    assert sum(layer.parameters for layer in result.layers) + missing == result.parameters


def test_transformer_multiply_adds_in_closed_form():
    network = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    tokens, width, hidden = 17, 16, 32
    attention = tokens * width * 3 * width + 2 * tokens * tokens * width + tokens * width * width
    perceptron = 2 * tokens * width * hidden
    expected = 16 * width * 8 * 8 * 3 + 2 * (attention + perceptron) + width * 5
    assert anatomy(wrap(network, size=32)).multiply_adds == expected
