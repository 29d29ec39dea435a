"""Inside `keep_weight_fingerprints` weights are hashed again only after they have changed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convlens.runtime import fingerprints
from convlens.runtime.fingerprints import fingerprint_weights, keep_weight_fingerprints


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def weight(net: nn.Sequential) -> Tensor:
    convolution = net[0]
    assert isinstance(convolution, nn.Conv2d)
    return convolution.weight


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one entry with each hash of a network's weights."""
    calls: list[int] = []
    hash_weights = fingerprints._hash_weights

    def count(weights: fingerprints._Weights) -> str:
        calls.append(len(weights))
        return hash_weights(weights)

    monkeypatch.setattr(fingerprints, "_hash_weights", count)
    return calls


def test_weights_are_hashed_once(hashed: list[int]) -> None:
    first, second = network(), network()
    with torch.no_grad():
        weight(second).add_(1)
    expected = [fingerprint_weights(first), fingerprint_weights(second)]
    assert expected[0] != expected[1]
    hashed.clear()
    with keep_weight_fingerprints(), keep_weight_fingerprints():
        for _ in range(3):
            assert [fingerprint_weights(first), fingerprint_weights(second)] == expected
    assert len(hashed) == 2
    fingerprint_weights(first)
    assert len(hashed) == 3  # outside the block nothing is known


def write(net: nn.Sequential) -> None:
    with torch.no_grad():
        weight(net)[0, 0, 0, 0].add_(1)


def replace(net: nn.Sequential) -> None:
    net[0].register_parameter("weight", nn.Parameter(weight(net).detach() + 1))


def exchange_memory(net: nn.Sequential) -> None:
    weight(net).data = weight(net).data + 1


def change_layout(net: nn.Sequential) -> None:
    net.to(memory_format=torch.channels_last)


def write_buffer(net: nn.Sequential) -> None:
    net.train()(torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize("change", [write, replace, exchange_memory, change_layout, write_buffer])
def test_changes_are_seen(change: Callable[[nn.Sequential], None], hashed: list[int]) -> None:
    net = network()
    with keep_weight_fingerprints():
        before = fingerprint_weights(net)
        change(net)
        after = fingerprint_weights(net)
    assert after != before
    assert after == fingerprint_weights(net)
    assert len(hashed) == 3


def test_inference_tensors_are_hashed_each_time(hashed: list[int]) -> None:
    with torch.inference_mode():
        net = network()
    with keep_weight_fingerprints():
        before = fingerprint_weights(net)
        with torch.inference_mode():
            weight(net).add_(1)
        assert fingerprint_weights(net) != before
    assert len(hashed) == 2
