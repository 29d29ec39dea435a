"""The network is left untouched: by every public function, also where one fails."""

import contextlib
import copy
import random
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensError, wrap
from convlens.runtime.guard import preserve_network
from support.public_functions import CALLS, NAMES, SIZE, WRITING, call, images


class Restless(nn.Module):
    """Counts its runs in a buffer and draws random numbers, whatever its mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("runs", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(4), persistent=False)
        self.register_buffer("nothing", None)

    runs: torch.Tensor

    def forward(self, x):
        self.runs += 1
        self.seen = x.detach().mean((0, 2, 3))
        random.random()
        np.random.rand()
        return x + 0 * torch.rand(())


class Trip(nn.Module):
    """Raises on its run number `at` from when it is set; a trace does not see that it is set."""

    def __init__(self):
        super().__init__()
        self.hidden = SimpleNamespace(at=None)

    @property
    def at(self):
        return self.hidden.at

    @at.setter
    def at(self, number):
        self.hidden.at = number

    def forward(self, x):
        if self.at is not None:
            self.at -= 1
            if self.at <= 0:
                raise RuntimeError("tripped")
        return x


def small(seed=0, classes=5):
    torch.manual_seed(seed)
    return nn.Sequential(
        Trip(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5),
        Restless(), Trip(), nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), Trip(), nn.Linear(6, classes),
    )  # fmt: skip


def lived_in(network):
    """Mixed modes, frozen parts, gradients, hooks of its owner, channels-last weights."""
    with torch.no_grad():
        network.train()(torch.rand(4, 3, SIZE, SIZE))
    network(torch.rand(2, 3, SIZE, SIZE)).square().sum().backward()
    network[4].eval()
    network[8].eval()
    network[1].weight.requires_grad_(False)
    network[13].bias.grad = None
    network[7].weight.data = network[7].weight.data.contiguous(memory_format=torch.channels_last)
    network[3].register_forward_hook(lambda module, inputs, output: None)
    network[3].register_forward_pre_hook(lambda module, inputs: None)
    network[7].register_full_backward_hook(lambda module, inputs, output: None)
    network.register_forward_hook(lambda module, inputs, output, **more: None, with_kwargs=False)
    return network


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
         "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs",
         "_forward_hooks_always_called")  # fmt: skip


def state(network):
    """All that is promised to stay: what is the same object, and what has the same value."""
    same, equal = {}, {}
    for path, module in network.named_modules():
        same[path, "module"] = module
        equal[path, "training"] = module.training
        equal[path, "children"] = list(module._modules)
        for kind in HOOKS:
            equal[path, kind] = list(getattr(module, kind).items())
        for kind in (module._parameters, module._buffers):
            equal[path, id(kind)] = list(kind)
            for name, tensor in kind.items():
                same[path, name] = tensor
                if tensor is not None:
                    same[path, name, "grad"] = tensor.grad
                    equal[path, name, "requires_grad"] = tensor.requires_grad
                    equal[path, name, "layout"] = tensor.stride(), tensor.dtype, tensor.data_ptr()
                    equal[path, name, "value"] = tensor.detach().clone()
                    if tensor.grad is not None:
                        equal[path, name, "gradient"] = tensor.grad.clone()
    equal["random"] = (
        random.getstate(),
        torch.get_rng_state(),
        [part if isinstance(part, (int, float, str)) else part.tolist()
         for part in np.random.get_state()],
    )  # fmt: skip
    equal["grad mode"] = torch.is_grad_enabled()
    return same, equal


def assert_untouched(network, before):
    same, equal = state(network)
    assert same.keys() == before[0].keys() and equal.keys() == before[1].keys()
    for key, was in before[0].items():
        assert same[key] is was, key
    for key, was in before[1].items():
        now = equal[key]
        if isinstance(was, torch.Tensor):
            assert torch.equal(now, was), key
        elif key == "random":
            assert now[0] == was[0] and torch.equal(now[1], was[1]) and now[2] == was[2]
        else:
            assert now == was, key


def test_this_file_knows_every_public_function():
    assert {*CALLS, *WRITING} >= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_leaves_the_network_untouched(name, tmp_path):
    network = lived_in(small())
    model = wrap(network, size=SIZE)
    before = state(network)
    call(name, model, tmp_path)
    assert_untouched(network, before)
    call(name, model, tmp_path)
    assert_untouched(network, before)


# Runs of a Trip until it raises: the first is that of the trace, on a copy.
@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("place", [0, 6, 12])
@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if name not in ("filters", "filters_over_training", "receptive_field")],
)
def test_nothing_is_left_where_a_module_raises(name, place, runs, tmp_path):
    network = lived_in(small())
    if runs == 2:
        convlens.trace(wrap(network, size=SIZE))
    network[place].at = runs
    model = wrap(network, size=SIZE)
    before = state(network)
    with contextlib.suppress(RuntimeError, ConvlensError):
        call(name, model, tmp_path)
    network[place].at = None
    assert_untouched(network, before)


def test_functions_do_raise_there():
    # Or the test above would compare nothing.
    for place in (0, 6, 12):
        network = lived_in(small())
        model = wrap(network, size=SIZE)
        convlens.trace(model)
        network[place].at = 1
        for name in ("predict", "gradcam", "fgsm"):
            network[place].at = 1
            with pytest.raises(ConvlensError, match=r"Sequential.* images of .*tripped") as caught:
                CALLS[name](model)
            assert isinstance(caught.value.__cause__, RuntimeError)


# the guard itself


def test_guard_evaluates_freezes_and_restores_what_was_done_inside():
    network = lived_in(small())
    before = state(network)
    with pytest.raises(KeyError), preserve_network(network) as bare:
        assert bare is network
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
        network.train()
        network[2].running_mean.fill_(7)
        network[2].running_var = torch.full((4,), 3.0)
        network[2].register_buffer("extra", torch.zeros(1))
        network[1].weight.requires_grad_(True)
        network[7].weight.grad = torch.zeros_like(network[7].weight)
        network[7].bias.grad = None
        network[13].weight = nn.Parameter(torch.zeros(5, 6))
        network[3].register_forward_hook(lambda *_: None)
        network[3]._forward_pre_hooks.clear()
        torch.manual_seed(99)
        random.seed(99)
        np.random.seed(99)
        raise KeyError
    assert_untouched(network, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda buffer: buffer.data.add_(1),
        lambda buffer: buffer.numpy().__iadd__(1),
        lambda buffer: buffer.detach().view(-1)[:2].fill_(9),
    ],
)
def test_guard_restores_buffers_however_they_were_written(write):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    mean = network.get_buffer("1.running_mean")
    before = mean.clone()
    with preserve_network(network):
        write(mean)
    assert torch.equal(network.get_buffer("1.running_mean"), before)


def test_guard_restores_everything_where_a_buffer_changed_its_shape():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)).train()
    buffers = dict(network.named_buffers())
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    with preserve_network(network):
        network[1].running_mean.data = torch.ones(7)
        network[2].running_var.fill_(3)
    for name, buffer in network.named_buffers():
        assert buffer is buffers[name] and torch.equal(buffer, before[name])
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.complex64, torch.bfloat16])
def test_guard_restores_buffers_of_every_type(kind):
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    network.register_buffer("some", torch.zeros(3).to(kind))
    with preserve_network(network):
        network.some.fill_(1)
    assert not network.some.any()


def test_guard_takes_sparse_buffers():
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    network.register_buffer("some", torch.eye(3).to_sparse())
    with preserve_network(network):
        pass
    assert torch.equal(network.some.to_dense(), torch.eye(3))


def test_guard_does_not_write_where_nothing_changed():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network.register_buffer("nans", torch.full((3,), torch.nan))
    versions = {name: buffer._version for name, buffer in network.named_buffers()}
    with preserve_network(network):
        network(images())
    assert {name: buffer._version for name, buffer in network.named_buffers()} == versions


def test_graph_that_the_owner_holds_still_goes_backward():
    network = lived_in(small())
    network.zero_grad()
    expected = copy.deepcopy(network)
    torch.manual_seed(5)
    loss = network(images()).square().sum()
    torch.manual_seed(5)
    expected(images()).square().sum().backward()
    for name in ("predict", "gradcam", "fgsm", "anatomy"):
        CALLS[name](wrap(network, size=SIZE))
    loss.backward()
    for parameter, other in zip(network.parameters(), expected.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, other.grad)


def test_module_that_counts_in_a_buffer_which_its_gradient_needs():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("runs", torch.ones(()))

        runs: torch.Tensor

        def forward(self, x):
            self.runs += 1
            return x * self.runs

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Counting(), Head())
    model = wrap(network, size=SIZE)
    for name in ("gradcam", "fgsm"):
        CALLS[name](model)
        assert network[2].runs == 1


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 5)

    def forward(self, x):
        return self.linear(x.mean((2, 3)))


# networks as people have them, each against the plain one


def plain_answers(network, batch):
    with torch.no_grad():
        return copy.deepcopy(network).eval()(batch).float()


def frozen(network):
    return network.requires_grad_(False)


def training(network):
    return network.train()


def double(network):
    return network.double()


def compiled(network):
    return torch.compile(network, backend="eager")


def compiled_itself(network):
    network.compile(backend="eager")
    return network


def compiled_part(network):
    network[7] = torch.compile(network[7], backend="eager")
    return network


def compiled_part_itself(network):
    network[7].compile(backend="eager")
    return network


def called_before(network):
    network(images())
    return network


def data_parallel(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.DataParallel(network)


def channels_last(network):
    return network.to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "dress",
    [
        frozen, training, double, compiled, compiled_itself, compiled_part, compiled_part_itself,
        lambda network: called_before(compiled(network.eval())),
        lambda network: called_before(compiled_itself(network.eval())),
        data_parallel, channels_last, lambda network: training(double(frozen(network))),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_networks_in_every_dress_answer_like_the_plain_one(dress):
    plain, undressed = small().eval(), small().eval()
    plain[5] = undressed[5] = nn.Identity()
    dressed = dress(undressed)
    expected = wrap(plain, size=SIZE)
    model = wrap(dressed, size=SIZE)
    predictions = convlens.predict(model, images())
    ours: Any
    theirs: Any
    torch.testing.assert_close(
        predictions.logits, plain_answers(plain, images()), rtol=1e-4, atol=1e-6
    )
    for layer in (None, "1"):
        ours = convlens.gradcam(model, images(), classes=[0, 3], layer=layer)
        theirs = convlens.gradcam(expected, images(), classes=[0, 3], layer=layer)
        torch.testing.assert_close(ours.maps, theirs.maps, rtol=1e-4, atol=1e-7)
    ours, theirs = (convlens.fgsm(wrapped, images(), ["8/255"]) for wrapped in (model, expected))
    assert (ours.signs == theirs.signs).float().mean() > 0.999
    torch.testing.assert_close(
        ours.adversarial_logits, theirs.adversarial_logits, rtol=1e-3, atol=1e-4
    )
    ours, theirs = convlens.anatomy(model), convlens.anatomy(expected)
    assert ours.multiply_adds == theirs.multiply_adds
    assert [layer.output for layer in ours.layers] == [layer.output for layer in theirs.layers]


def test_half_precision_answers_like_the_plain_half_precision_network():
    network = small().eval().bfloat16()
    model = wrap(network, size=SIZE)
    with torch.no_grad():
        expected = network(images().bfloat16())
    assert torch.equal(convlens.predict(model, images()).logits, expected.float())
    cam = convlens.gradcam(model, images())
    assert cam.maps.isfinite().all() and cam.maps.any()
    attack = convlens.fgsm(model, images(), ["4/255"])
    assert attack.adversarial(0).dtype == torch.float32
    assert (attack.largest_changes <= 4 / 255 * (1 + 1e-6)).all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("name", NAMES)
def test_functions_work_whatever_the_callers_gradient_mode(name, mode, tmp_path):
    if name in ("report", "check_preprocessing", "find_flip") and mode is not torch.no_grad:
        pytest.skip("slow, and made of the others")
    network = lived_in(small())
    with mode():
        inside = call(name, wrap(network, size=SIZE), tmp_path)
    if name in ("predict", "gradcam", "fgsm"):
        outside = call(name, wrap(network, size=SIZE), tmp_path)
        assert inside == outside
        assert_close_results(name, inside, network)


def assert_close_results(name, result, network):
    if name == "predict":
        torch.testing.assert_close(result.logits, plain_answers(network, images()))
    else:
        assert (result.maps if name == "gradcam" else result.signs).any()


def test_images_made_in_inference_mode():
    network = small()
    with torch.inference_mode():
        batch = images()
    model = wrap(network, size=SIZE)
    for layer in (None, "1", "image"):
        ours = convlens.gradcam(model, batch, layer=layer)
        assert torch.equal(ours.maps, convlens.gradcam(model, images(), layer=layer).maps)
    convlens.fgsm(model, batch)


def test_network_made_in_inference_mode():
    with torch.inference_mode():
        network = small().eval()
    model = wrap(network, size=SIZE)
    plain = wrap(small().eval(), size=SIZE)
    for name in ("predict", "gradcam", "fgsm"):
        assert CALLS[name](model) == CALLS[name](plain)
