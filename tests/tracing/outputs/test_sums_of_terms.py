"""The time to recognize a sum of terms grows with their number, not with its square."""

import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.tracing.outputs import nonlinearities

TERMS = 12


class Spline(nn.Module):
    """Adds one term after the other, each computed in two chunks."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = self.conv(x)
        total = torch.zeros_like(x)
        for term in range(TERMS):
            total = total + torch.cat([F.relu(part - term) for part in x.chunk(2, 1)], 1)
        return self.head(total.mean((2, 3)))


def test_each_term_is_followed_once(monkeypatch):
    counts = []

    def count(recording, operations, *arguments):
        counts.append(len(operations))
        return is_elementwise(recording, operations, *arguments)

    is_elementwise = nonlinearities.is_elementwise
    monkeypatch.setattr(nonlinearities, "is_elementwise", count)
    trace = convlens.trace(convlens.wrap(Spline().eval(), size=(8, 10)))
    nonlinearity = trace.structure.nonlinearities.of(trace.find_node("conv"))
    assert nonlinearity is not None and trace.name(nonlinearity.output).startswith("/add")
    assert trace.final_layer.post == nonlinearity.output
    assert sum(counts) < 12 * TERMS
