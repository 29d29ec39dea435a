"""Numbers of elements against those that are counted by hand."""

import torch
from torch import nn

import convlens
from convlens.tracing.element_counts import ElementCounts


def test_elements_of_a_small_network():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    )  # fmt: skip
    trace = convlens.trace(convlens.wrap(network, size=12), torch.rand(1, 3, 12, 12))
    maps, weights, head = 8 * 12 * 12, 8 * 3 * 3 * 3 + 8, 8 * 5 + 5
    behind = 8 + 8 + 5  # pooled, flattened, logits
    assert trace.count_elements() == ElementCounts(
        largest=maps, total=3 * 12 * 12 + 2 * maps + behind, parameters=weights + head
    )
    assert trace.count_elements(trace.find_node("1")) == ElementCounts(maps, maps + behind, head)
