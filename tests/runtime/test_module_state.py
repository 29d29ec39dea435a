"""Running a network changes nothing that its modules hold, nor the images that it is given."""

import dataclasses
import random
from collections import Counter, OrderedDict, defaultdict, deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import convlens
from convlens.runtime.guard import preserve_network
from support.public_functions import CALLS, SIZE, call, images


class Cache:
    """An object of a user's class, such as a cache of keys and values."""

    def __init__(self):
        self.hits = 0
        self.keys = {"last": torch.zeros(2)}


@dataclasses.dataclass
class Totals:
    runs: int = 0


class Diary(nn.Module):
    """Writes into everything that it holds each time it runs."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self.last = None
        self.memory = torch.zeros(3)
        self.names = ["first"]
        self.nested: dict[str, Any] = {"maps": [torch.ones(2)], "sizes": {1, 2}}
        self.pair: Any = ([1], {"two": 2})
        self.seen = set()
        self.recent = deque([0], maxlen=3)
        self.tally = Counter(a=1)
        self.groups = defaultdict(list, a=[1])
        self.order = OrderedDict(b=1, a=2)
        self.array = np.zeros(3)
        self.raw = bytearray(b"abc")
        self.cache = Cache()
        self.totals = Totals()
        self.space = SimpleNamespace(runs=[0])
        self.torch_random = torch.Generator().manual_seed(1)
        self.python_random = random.Random(1)
        self.numpy_random = np.random.default_rng(1)
        self.old_numpy_random = np.random.RandomState(1)
        self.hidden = [nn.BatchNorm2d(3)]  # not registered, as a list of modules is not

    def forward(self, x):
        self.count += 1
        self.last = x.detach()
        self.memory += 1
        self.names.append("next")
        self.nested["maps"][0].mul_(3)
        self.nested["maps"].append(x.detach())
        self.nested["sizes"].add(self.count)
        self.pair[0][0] += 1
        self.pair[1]["three"] = 3
        self.seen.add(self.count)
        self.recent.append(self.count)
        self.tally["a"] += 1
        self.groups["b"].append(2)
        self.order.move_to_end("b")
        self.array += 1
        self.raw[0] = 7
        self.cache.hits += 1
        self.cache.keys["last"] += 1
        self.totals.runs += 1
        self.space.runs[0] += 1
        torch.rand(1, generator=self.torch_random)
        self.python_random.random()
        self.numpy_random.random()
        self.old_numpy_random.rand()
        self.hidden[0](x.detach())
        self.added = self.count
        return x


def network_with_diary():
    torch.manual_seed(0)
    return nn.Sequential(
        Diary(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Identity(), nn.Identity(), nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Identity(), nn.Linear(6, 5),
    )  # fmt: skip


SPELLED_OUT: dict[Any, Any] = {
    (torch.Tensor, np.ndarray): lambda value: value.tolist(),
    torch.Generator: lambda value: value.get_state().tolist(),
    random.Random: lambda value: value.getstate(),
    np.random.Generator: lambda value: str(value.bit_generator.state),
    np.random.RandomState: lambda value: str(value.get_state()),
    dict: lambda value: [(key, plain(item)) for key, item in value.items()],
    (list, tuple, deque): lambda value: [plain(item) for item in value],
    set: sorted,
    bytearray: bytes,
    (Cache, Totals, SimpleNamespace): lambda value: plain(vars(value)),
    nn.Module: lambda value: plain(value.state_dict()),
}


def plain(value):
    """A copy of a value in which tensors, arrays, generators and objects are spelled out."""
    for classes, spell_out in SPELLED_OUT.items():
        if isinstance(value, classes):
            return spell_out(value)
    return value


def content(diary):
    attributes = {name: value for name, value in vars(diary).items() if not name.startswith("_")}
    return {name: id(value) for name, value in attributes.items()}, plain(attributes)


@pytest.mark.parametrize("name", ["predict", "gradcam", "fgsm", "patches", "maximize", "trace"])
def test_what_modules_hold_stays(name, tmp_path):
    network = network_with_diary()
    diary = network[0]
    model = convlens.wrap(network, size=SIZE)
    before = content(diary)
    call(name, model, tmp_path)
    assert content(diary) == before


def test_the_diary_does_change_without_the_guard():
    network = network_with_diary()
    before = content(network[0])
    network(images())
    after = content(network[0])
    unchanged = [key for key, value in before[1] if (key, value) in after[1]]
    assert unchanged == ["training"]


def test_attributes_stay_after_an_exception():
    network = network_with_diary()
    before = content(network[0])
    with pytest.raises(KeyError), preserve_network(network):
        network(images())
        del network[0].names
        network[0].order = None
        raise KeyError
    assert content(network[0]) == before


def test_submodules_that_a_run_adds_or_replaces_are_taken_back():
    network = network_with_diary()
    children, last = list(network), network[13]
    with preserve_network(network):
        network[13] = nn.Linear(6, 2)
        network.append(nn.ReLU())
    assert list(network) == children and network[13] is last


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "dress",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        lambda convolution: prune.random_unstructured(convolution, "weight", 0.5),
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
    ],
)
def test_weights_that_are_computed_before_each_run_stay(dress):
    torch.manual_seed(0)
    convolution = dress(nn.Conv2d(3, 4, 3))
    network = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    with torch.no_grad():
        network(images())
        for parameter in network.parameters():
            parameter.mul_(2)  # .weight is now that of before
    held = dict(vars(convolution))
    value = vars(convolution).get("weight")
    value = None if value is None else value.clone()
    for name in ("gradcam", "fgsm"):
        CALLS[name](convlens.wrap(network, size=SIZE))
        assert list(vars(convolution)) == list(held)
        assert all(vars(convolution)[key] is held[key] for key in held)
        assert value is None or torch.equal(vars(convolution)["weight"], value)


class RenormalizedConv2d(nn.Conv2d):
    """Bounds the norm of its filters in each run, by giving its weights other memory."""

    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.1)
        return super().forward(x)


def test_parameters_that_get_other_memory_in_a_run_have_their_own_again():
    network = nn.Sequential(RenormalizedConv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    with torch.no_grad():
        network(images())
    weight = network.get_parameter("0.weight")
    nn.init.normal_(weight)
    before, address = weight.detach().clone(), weight.data_ptr()
    for name in ("predict", "gradcam"):
        CALLS[name](convlens.wrap(network, size=SIZE))
    assert torch.equal(weight, before) and weight.data_ptr() == address


class WritesIntoInput(nn.Module):
    """Normalizes its input in place, in one of the ways that networks do."""

    def __init__(self, write, classes=5):
        super().__init__()
        self.write = write
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        self.write(x)
        return self.head(self.body(x).mean((2, 3)))


def subtract(x):
    x.sub_(0.5).div_(0.25)


def write_rows(x):
    x[:, :, :2] = 0


def write_data(x):
    x.data.mul_(0.5)


def write_view(x):
    x.permute(0, 2, 3, 1)[..., 0].zero_()


@pytest.mark.parametrize("write", [subtract, write_rows, write_data, write_view])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_images_of_the_caller_stay(write, memory_format):
    torch.manual_seed(0)
    network = WritesIntoInput(write).eval()
    model = convlens.wrap(network, size=SIZE)
    batch = images().to(memory_format=memory_format)
    calls = {
        "model": lambda: model(batch),
        "predict": lambda: convlens.predict(model, batch),
        "gradcam": lambda: convlens.gradcam(model, batch),
        "first layer": lambda: convlens.gradcam(model, batch, layer="body.0"),
        "feature maps": lambda: convlens.feature_maps(model, batch[:1]),
        "patches": lambda: convlens.patches(model, batch, top=2, show=1),
        "fgsm": lambda: convlens.fgsm(model, batch),
        "dream": lambda: convlens.dream(model, batch[:1], layer="body.0", octaves=1, steps=1),
    }
    for name, function in calls.items():
        function()
        assert torch.equal(batch, images()), name


def test_gradients_through_a_write_into_the_input():
    torch.manual_seed(0)
    network = WritesIntoInput(subtract).eval()
    batch = images().requires_grad_()
    logits = network(batch.clone())
    loss = nn.functional.cross_entropy(logits, logits.argmax(1), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, batch)
    attack = convlens.fgsm(convlens.wrap(network, size=SIZE), images())
    assert torch.equal(attack.signs, gradient.sign().to(attack.signs))


class KeyedByTensors(nn.Module):
    """A network that keeps its last image as the key of a dictionary."""

    def __init__(self):
        super().__init__()
        self.seen = {torch.zeros(2): "before"}

    def forward(self, batch):
        self.seen.clear()
        self.seen[batch] = "before"
        return batch


def test_keys_that_are_tensors_are_compared_by_identity():
    network = KeyedByTensors()
    (key,) = network.seen
    with preserve_network(network):
        network(torch.ones(2))
    assert [*network.seen] == [key] and network.seen[key] == "before"
