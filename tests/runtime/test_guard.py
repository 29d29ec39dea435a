"""The guard freezes a network, and restores all that was changed inside of it."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from convlens import wrap
from convlens.runtime.guard import preserve_network
from support.guarded_networks import assert_untouched, small_network, state, used_network
from support.public_functions import CALLS, SIZE, images


def test_guard_evaluates_freezes_and_restores_what_was_done_inside():
    network = used_network(small_network())
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
    network = used_network(small_network())
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
