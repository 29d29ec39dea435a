"""Before a copy with folded batch normalizations runs, each of its branches is compared.

Logits do not show what is computed in a branch that ends in zeros, as that of a new residual block
does.
"""

import copy

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import convlens
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.nodes import capture_nodes

IMAGES = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


class ConvWithoutBias(nn.Conv2d):
    """A convolution whose code does not read a bias, so that no shift can be folded into it."""

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight, None, padding=1)


class Residual(nn.Module):
    """A residual block of which the last batch normalization returns zeros."""

    def __init__(self, convolution: type[nn.Conv2d]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 3)
        self.conv = convolution(6, 6, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.last = nn.Conv2d(6, 6, 1)
        self.bn_of_last = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)
        nn.init.uniform_(self.bn.bias, 1, 2)
        nn.init.zeros_(self.bn_of_last.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.bn_of_last(self.last(self.bn(self.conv(x)).relu()))
        return self.head(x.mean((2, 3)))


def values_of_norm(network: nn.Module, *, fold: bool) -> Tensor:
    model = convlens.wrap(network, size=12)
    trace = convlens.trace(model)
    node = trace.find_node("bn")
    if not fold:
        return capture_nodes(model, trace, IMAGES, [node])[node]
    with fold_batch_norms():
        return capture_nodes(model, trace, IMAGES, [node])[node]


def test_a_wrong_copy_is_found_in_a_branch_of_which_logits_show_nothing() -> None:
    network = Residual(ConvWithoutBias).eval()
    assert torch.equal(values_of_norm(network, fold=True), values_of_norm(network, fold=False))


def test_a_branch_that_ends_in_zeros_is_folded() -> None:
    network = Residual(nn.Conv2d).eval()
    values, expected = values_of_norm(network, fold=True), values_of_norm(network, fold=False)
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(values, expected)  # a copy has other rounding


def test_a_deep_untrained_network_is_folded_as_exactly_as_float32_computes_it() -> None:
    """In fifty layers rounding alone changes the logits by some 1e-5 of the largest."""
    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None)
    images = torch.rand(2, 3, 64, 64)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # statistics of the images, as after training
    with torch.no_grad():
        network.train()(images)
    model = convlens.wrap(network.eval(), size=64)
    trace = convlens.trace(model)
    own = capture_nodes(model, trace, images, [trace.logits])[trace.logits].double()
    with fold_batch_norms():
        folded = capture_nodes(model, trace, images, [trace.logits])[trace.logits].double()
    with torch.no_grad():
        exact = copy.deepcopy(network).double()(images.double())
    assert not torch.equal(folded, own)  # a copy has other rounding
    assert (folded - exact).abs().max() <= 4 * (own - exact).abs().max()
