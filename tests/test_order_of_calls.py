"""No result depends on what was called before, in either memory format."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.tracing.selection import Side
from support import public_functions
from support.public_functions import NAMES, SIZE, WRITING, call

CHECKED = [name for name in NAMES if name not in WRITING]


class Reshaping(nn.Module):
    """Flattens maps by `reshape`, which copies those in channels-last, and has no pooling."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.add_module("1", nn.Conv2d(3, 4, 3, stride=2))
        self.add_module("7", nn.Conv2d(4, 6, 3, stride=2))
        self.linear = nn.Linear(6 * 5 * 5, 5)

    def forward(self, x):
        for name in ("1", "7"):
            x = F.relu(self.get_submodule(name)(x))
        return self.linear(x.reshape(-1, 150))


def model():
    return convlens.wrap(Reshaping().eval(), size=SIZE, name="reshaping")


def equal(name, result, expected):
    if name != "trace":
        return result == expected
    return result.recording.shapes == expected.recording.shapes


@pytest.mark.parametrize(
    "memory_format",
    [
        torch.contiguous_format,
        pytest.param(torch.channels_last, marks=pytest.mark.slow),
    ],
)
def test_every_function_gives_the_same_after_all_others(memory_format, tmp_path, monkeypatch):
    contiguous = public_functions.images
    monkeypatch.setattr(
        public_functions, "images",
        lambda count=2: contiguous(count).contiguous(memory_format=memory_format),
    )  # fmt: skip
    used = model()
    for name in CHECKED:
        call(name, used, tmp_path)
    changed = [
        name for name in CHECKED
        if not equal(name, call(name, used, tmp_path), call(name, model(), tmp_path))
    ]  # fmt: skip
    assert not changed


@pytest.mark.parametrize("other", [torch.contiguous_format, torch.channels_last])
def test_a_trace_does_not_depend_on_the_format_of_earlier_images(other):
    reshaping = model()
    images = torch.rand(2, 3, SIZE, SIZE)
    convlens.gradcam(reshaping, images.contiguous(memory_format=other))
    names = [layer.layer for layer in convlens.patches(reshaping, images, top=1, show=1).layers]
    assert names == ["1", "7"]
    assert convlens.trace(reshaping).recording.shapes == convlens.trace(model()).recording.shapes


class Switched(nn.Module):
    """What it computes depends on attributes, hooks and shapes that may change."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.doubled = False
        self.steps = [1]

    def forward(self, x):
        y = self.conv(x)
        for _ in self.steps:
            y = F.relu(y)
        return self.fc((2 * y if self.doubled else y).mean((2, 3)))


def set_attribute(network):
    network.doubled = True


def append_to_list(network):
    network.steps.append(2)


def add_hook(network):
    network.conv.register_forward_hook(lambda module, inputs, output: output * 2)


def replace_parameter(network):
    network.fc = nn.Linear(4, 7)


def resize_parameters(network):
    network.fc.weight, network.fc.bias = (
        nn.Parameter(torch.rand(7, 4)),
        nn.Parameter(torch.rand(7)),
    )


def replace_function(network):
    network.forward = lambda x: network.fc(network.conv(x).amax((2, 3)))


@pytest.mark.parametrize(
    "change",
    [
        set_attribute,
        append_to_list,
        add_hook,
        replace_parameter,
        resize_parameters,
        replace_function,
    ],
)
def test_a_network_that_has_changed_is_traced_again(change):
    network = Switched().eval()
    switched = convlens.wrap(network, size=8)
    before = convlens.trace(switched)
    assert convlens.trace(switched) is before
    change(network)
    after = convlens.trace(switched)
    names = [operation.name for operation in after.recording.operations]
    fresh = convlens.trace(convlens.wrap(network, size=8))
    assert names == [operation.name for operation in fresh.recording.operations]
    assert after is not before
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(convlens.predict(switched, images).logits, network(images).detach())


def test_the_last_map_is_one_that_can_be_captured():
    """A permuted map is copied inside `reshape`, where nothing can be captured."""

    class Permuted(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 5)

        def forward(self, x):
            return self.fc(F.relu(self.conv(x)).transpose(2, 3).reshape(len(x), -1))

    network = Permuted().eval()
    permuted = convlens.wrap(network, size=8)
    trace = convlens.trace(permuted)
    assert trace.capture_point(trace.final_layer.post) is not None
    images = torch.rand(2, 3, 8, 8)
    pre = network.conv(images).detach().requires_grad_()
    post = F.relu(pre)
    logits = network.fc(post.transpose(2, 3).reshape(2, -1))
    gradients = torch.autograd.grad(logits[:, 1].sum(), (pre, post))
    sides: tuple[Side, ...] = ("pre", "post")
    for side, maps, gradient in zip(sides, (pre, post), gradients, strict=True):
        result = convlens.gradcam(permuted, images, classes=[1], side=side)
        expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).detach()
        torch.testing.assert_close(result.maps[:, 0], expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_write_that_reaches_a_map_in_one_format_alone_changes_no_map(memory_format):
    """`contiguous` copies the permuted map in one format; in the other, `relu_` writes into it."""

    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3)
            self.fc = nn.Linear(4, 5)

        def forward(self, x):
            y = self.second(F.relu(self.first(x))).permute(0, 2, 3, 1).contiguous().relu_()
            return self.fc(y.mean((1, 2)))

    writing = convlens.wrap(Writing().eval(), size=16)
    images = torch.rand(2, 3, 16, 16).contiguous(memory_format=memory_format)
    layers = ["first", "second"]
    strip = convlens.gradcam_layers(writing, images, layers=layers, classes=1, side="output")
    single = convlens.gradcam(
        writing, images.contiguous(), layer="second", classes=1, side="output"
    )
    torch.testing.assert_close(strip["second"].maps, single.maps)
