"""What is read from the disk cache equals what is computed; after any change nothing is read."""

import copy
import signal
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
import torchvision
from torch import Tensor, nn

import convlens
from convlens.analyses.gabor import fit as gabor_fit
from convlens.analyses.maximize import stored_ascent
from convlens.cache.entries import list_entries
from convlens.tracing import tracer
from convlens.tracing.caching import known_code
from convlens.tracing.caching.known_code import describe_known_model, keep_descriptions
from convlens.tracing.recording.recording import Operation


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a cache that is in use."""
    monkeypatch.setenv("CONVLENS_CACHE", str(tmp_path / "cache"))
    with convlens.disk_cache():
        yield tmp_path / "cache"


@pytest.fixture
def traced(monkeypatch):
    """The sizes of the images of the traces that were made and not read."""
    sizes = []
    make_trace = tracer.make_trace

    def make(model, image, **options):
        sizes.append(tuple(image.shape[-2:]))
        return make_trace(model, image, **options)

    monkeypatch.setattr(tracer, "make_trace", make)
    return sizes


def network(channels=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, channels, 5, padding=2), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Conv2d(channels, 6, 3), nn.Hardswish(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def wrapped(module=None, **options):
    return convlens.wrap(network() if module is None else module, size=32, **options)


def check_equal(value, other, path="trace"):
    """Compare values part by part, with their types; tensors in every bit."""
    assert type(value) is type(other), path
    if isinstance(value, Operation):
        assert value.function is other.function, path
    if isinstance(value, Tensor):
        assert (value.dtype, value.stride()) == (other.dtype, other.stride()), path
        assert torch.equal(value, other), path
    elif is_dataclass(value):
        for field in fields(value):
            name = field.name
            check_equal(getattr(value, name), getattr(other, name), f"{path}.{name}")
    elif isinstance(value, dict):
        assert list(value) == list(other), path
        for key in value:
            check_equal(value[key], other[key], f"{path}[{key}]")
    elif isinstance(value, (list, tuple)):
        assert len(value) == len(other), path
        for number, (item, other_item) in enumerate(zip(value, other, strict=True)):
            check_equal(item, other_item, f"{path}[{number}]")
    else:
        assert value == other, path


@pytest.mark.parametrize(
    "make",
    [
        network,
        torchvision.models.shufflenet_v2_x0_5,
        torchvision.models.swin_t,
        lambda: nn.Sequential(network(), nn.Softmax(1)),
    ],
    ids=["sequential", "shufflenet", "swin_t", "softmax"],
)
def test_a_trace_from_the_cache_equals_the_one_that_was_made(folder, traced, make):
    module = make().eval()
    recorded = convlens.trace(wrapped(module))
    read = convlens.trace(wrapped(copy.deepcopy(module)))
    assert traced == [(32, 32)]
    assert read is not recorded
    check_equal(read, recorded)
    assert read.final_layer == recorded.final_layer
    assert read.final_activation == recorded.final_activation


def test_images_computed_with_a_trace_from_the_cache_are_the_same(folder, traced):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first = convlens.gradcam(wrapped(), images)
    second = convlens.gradcam(wrapped(), images)
    assert len(traced) == 1
    assert first == second


CHANGES = {
    "a weight": lambda module: module[0].weight.data[0, 0, 0, 0].add_(1e-6),
    "a running mean": lambda module: module[1].running_mean.add_(1e-6),
    "an attribute": lambda module: setattr(module[1], "eps", 1e-4),
    "the kind of a module": lambda module: module.__setitem__(2, nn.ReLU6(inplace=True)),
    "the memory format": lambda module: module.to(memory_format=torch.channels_last),
    "a hook": lambda module: module[0].register_forward_hook(lambda *args: None),
    "a method": lambda module: setattr(module[2], "forward", torch.relu),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_is_traced_again(folder, traced, change):
    convlens.trace(wrapped())
    module = network()
    CHANGES[change](module)
    convlens.trace(wrapped(module))
    assert len(traced) == 2


def test_another_size_normalization_or_setting_is_traced_again(folder, traced):
    convlens.trace(wrapped())
    convlens.trace(wrapped(), size=(32, 40))
    convlens.trace(wrapped(std=0.5))
    convlens.trace(wrapped(labels=["a", "b", "c"]))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        convlens.trace(wrapped())
    finally:
        torch.set_num_threads(threads)
    assert len(traced) == 5
    convlens.trace(wrapped())
    assert len(traced) == 5


class Doubled(nn.Module):
    """A layer whose code belongs to no library."""

    def forward(self, images):
        return 2 * images


def test_networks_with_code_of_their_own_are_not_kept(folder, traced, monkeypatch):
    for _ in range(2):
        convlens.trace(wrapped(nn.Sequential(Doubled(), network())))
    assert len(traced) == 2
    assert list_entries(folder) == []
    assert describe_known_model(wrapped()) is not None
    monkeypatch.setattr(nn.Hardswish, "forward", lambda self, images: images)
    assert describe_known_model(wrapped()) is None


def test_modules_are_described_again_when_they_change(monkeypatch):
    model = wrapped()
    hash_modules, hashed = known_code._hash_modules, []

    def count(network):
        hashed.append(network)
        return hash_modules(network)

    monkeypatch.setattr(known_code, "_hash_modules", count)
    with keep_descriptions(), keep_descriptions():
        descriptions = [describe_known_model(model) for _ in range(3)]
        assert descriptions == [descriptions[0]] * 3
        assert len(hashed) == 1
        model.network[0].stride = (2, 2)
        assert describe_known_model(model) == {
            **descriptions[0], "modules": hash_modules(model.network)
        }  # fmt: skip
        assert describe_known_model(model) != descriptions[0]
        with torch.no_grad():
            model.network[0].weight.add_(1)
        assert describe_known_model(model)["weights"] != descriptions[0]["weights"]
        assert len(hashed) == 2
        model.network[0].register_forward_hook(lambda module, inputs, output: output)
        assert describe_known_model(model) is None
    describe_known_model(wrapped())
    assert len(hashed) == 4  # outside the block nothing is known


def test_rules_of_users_are_not_mixed_with_traces_without_them(folder, traced):
    convlens.trace(wrapped())
    with convlens.register_operation("aten::convolution", multiply_adds=lambda view: 1):
        convlens.trace(wrapped())
    assert len(traced) == 2


@pytest.fixture
def ascents(monkeypatch):
    """The objectives of the images that were optimized and not read."""
    objectives = []
    ascend = stored_ascent.ascend

    def count(model, tasks, *arguments):
        objectives.append([task.objective.text for task in tasks])
        return ascend(model, tasks, *arguments)

    monkeypatch.setattr(stored_ascent, "ascend", count)
    return objectives


def maximized(model=None, **options):
    options = {"steps": 3, "image_size": 16, **options}
    return convlens.maximize(model or wrapped(), ["4:1", "4:2", "1"], **options)


def test_maximized_images_from_the_cache_are_the_same(folder, ascents):
    steps = []
    first = maximized()
    second = maximized(progress=lambda done, total: steps.append((done, total)))
    assert ascents == [["4:1", "4:2"], ["class 1"]]
    assert first == second
    assert steps[-1] == (9, 9)
    for computed, read in zip(first.maxima, second.maxima, strict=True):
        assert computed.images.stride() == read.images.stride()


def test_any_other_option_makes_other_images(folder, ascents):
    maximized()
    for options in (
        {"seed": 1}, {"steps": 4}, {"image_size": 17}, {"class_score": "probability"},
        {"l2": 0.1}, {"parameterization": "pixels"}, {"start": torch.full((1, 3, 16, 16), 0.4)},
        {"side": "pre"},
    ):  # fmt: skip
        before = len(ascents)
        maximized(**options)
        assert len(ascents) > before, options
    before = len(ascents)
    maximized(wrapped(network(5)))
    assert len(ascents) == before + 2


def test_an_interrupted_ascent_is_not_kept(folder, ascents, monkeypatch):
    def interrupt(done, total):
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    model = wrapped()
    assert convlens.maximize(model, "4:1", steps=4, progress=interrupt).interrupted
    again = convlens.maximize(model, "4:1", steps=4)
    assert len(ascents) == 2
    assert again.maxima[0].curve.shape == (1, 4)


def test_gabor_fits_from_the_cache_are_the_same(folder, monkeypatch):
    calls = []
    fit = gabor_fit.fit_gabor_parameters
    monkeypatch.setattr(
        gabor_fit, "fit_gabor_parameters", lambda weights: calls.append(1) or fit(weights)
    )
    first = convlens.fit_gabor(wrapped(), null_size=100)
    assert first == convlens.fit_gabor(wrapped(), null_size=100)
    assert len(calls) == 1
    convlens.fit_gabor(wrapped(), null_size=100, seed=1)
    convlens.fit_gabor(wrapped(), null_size=101)
    changed = network()
    changed[0].weight.data.mul_(1.01)
    convlens.fit_gabor(wrapped(changed), null_size=100)
    assert len(calls) == 4


def test_results_are_the_same_without_the_cache(folder, monkeypatch):
    with_cache = maximized()
    monkeypatch.setenv("CONVLENS_CACHE", "off")
    assert maximized() == with_cache
    assert replace(with_cache, seed=1) != with_cache
