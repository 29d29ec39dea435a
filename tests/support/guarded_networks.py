"""Networks in the states that users leave them in, and a comparison of all that has to stay."""

import random

import numpy as np
import torch
from torch import nn

from support.public_functions import SIZE


class StatefulLayer(nn.Module):
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
        torch.rand(())
        return x + 0


class FailingLayer(nn.Module):
    """Raises on its run number `at` from when it is set; a trace does not see that it is set."""

    def __init__(self):
        super().__init__()
        self.hidden = np.zeros(1, int)  # 0: not set

    @property
    def at(self):
        return int(self.hidden[0]) or None

    @at.setter
    def at(self, number):
        self.hidden[0] = number or 0

    def forward(self, x):
        if self.at == 1:
            raise RuntimeError("tripped")
        if self.at is not None:
            self.at -= 1
        return x


def small_network(seed=0, classes=5):
    torch.manual_seed(seed)
    return nn.Sequential(
        FailingLayer(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.Dropout(0.5), StatefulLayer(), FailingLayer(), nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), FailingLayer(),
        nn.Linear(6, classes),
    )  # fmt: skip


def used_network(network):
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
    identical, equal = {}, {}
    for path, module in network.named_modules():
        identical[path, "module"] = module
        equal[path, "training"] = module.training
        equal[path, "children"] = list(module._modules)
        for kind in HOOKS:
            equal[path, kind] = list(getattr(module, kind).items())
        for kind in (module._parameters, module._buffers):
            equal[path, id(kind)] = list(kind)
            for name, tensor in kind.items():
                identical[path, name] = tensor
                if tensor is not None:
                    identical[path, name, "grad"] = tensor.grad
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
    return identical, equal


def assert_untouched(network, before):
    identical, equal = state(network)
    assert identical.keys() == before[0].keys() and equal.keys() == before[1].keys()
    for key, earlier in before[0].items():
        assert identical[key] is earlier, key
    for key, earlier in before[1].items():
        value = equal[key]
        if isinstance(earlier, torch.Tensor):
            assert torch.equal(value, earlier), key
        elif key == "random":
            assert (
                value[0] == earlier[0]
                and torch.equal(value[1], earlier[1])
                and value[2] == earlier[2]
            )
        else:
            assert value == earlier, key
