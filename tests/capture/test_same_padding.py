"""Convolutions with "same" padding give what timm computes on padded copies."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import convlens
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.nodes import capture_nodes
from convlens.capture.same_padding import pad_inside


class PaddingCount(TorchDispatchMode):
    """Counts the padded copies of maps, which have as many channels as one of the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.count += "pad" in func._opname and args[0].shape[2] > 5  # kernels are smaller
        return func(*args, **(kwargs or {}))


def maps(*shape: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return values.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(12, 12), (13, 12), (11, 15), (6, 21)])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 2}, {"kernel_size": 5, "stride": 2, "groups": 4},
        {"kernel_size": (2, 3), "stride": (1, 3)}, {"kernel_size": 4, "bias": False},
        {"kernel_size": 1, "stride": 2}, {"kernel_size": 3, "stride": 2, "dilation": 2},
    ],
)  # fmt: skip
def test_values_are_those_of_a_padded_copy(options: dict[str, Any], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    convolution = Conv2dSame(4, 8, **options)
    with torch.no_grad():
        expected = convolution(maps(2, 4, *size))
        pad_inside(convolution)
        with PaddingCount() as padded:
            values = convolution(maps(2, 4, *size))
    assert padded.count == ("dilation" in options)
    torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_a_padded_copy_in_every_bit() -> None:
    torch.manual_seed(0)
    convolution = Conv2dSame(4, 8, 3, stride=2)
    gradients = []
    for change in (lambda _: None, pad_inside):
        change(convolution)
        leaf = maps(2, 4, 12, 12).requires_grad_()
        output = convolution(leaf)
        gradients += torch.autograd.grad(output, leaf, maps(*output.shape))
    assert torch.equal(*gradients)


def test_other_convolutions_are_left_as_they_are() -> None:
    convolution = nn.Conv2d(4, 8, 3, stride=2, padding=1)
    pad_inside(convolution)
    assert "forward" not in vars(convolution)


@pytest.fixture
def network() -> Iterator[nn.Module]:
    torch.manual_seed(0)
    yield nn.Sequential(
        Conv2dSame(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 2),
    )  # fmt: skip


def test_copies_with_folded_norms_pad_inside(network: nn.Module) -> None:
    model = convlens.wrap(network, size=12)
    trace = convlens.trace(model)
    images = torch.rand(2, 3, 12, 12)
    expected = capture_nodes(model, trace, images, [trace.logits])[trace.logits]
    with fold_batch_norms():
        capture_nodes(model, trace, images, [trace.logits])  # copies the network
        with PaddingCount() as padded:
            logits = capture_nodes(model, trace, images, [trace.logits])[trace.logits]
    assert padded.count == 0
    torch.testing.assert_close(logits, expected)


def test_padded_maps_come_from_the_network_itself(network: nn.Module) -> None:
    model = convlens.wrap(network, size=12)
    trace = convlens.trace(model)
    (pair,) = trace.batch_norm_pairs
    padded = trace.structure.producers[pair.node].arguments["input"].node
    with fold_batch_norms():
        values = capture_nodes(model, trace, torch.rand(2, 3, 12, 12), [padded])[padded]
    assert values.shape == (2, 3, 13, 13)
    assert not values[:, :, -1].any()
