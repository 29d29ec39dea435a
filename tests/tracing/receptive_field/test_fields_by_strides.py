"""Receptive fields of views by the strides of their storage (`as_strided`).

The oracle is the gradient of every element: with weights of 1 it is not zero at exactly the pixels
of its field.
"""

import pytest
import torch
from torch import nn

from support.field_networks import Do, traced

SIZE = 9


def strides(x):
    return dict(zip("nchw", x.stride(), strict=True))


def same(x):
    return x.as_strided(x.shape, x.stride())


def swapped(x):
    s = strides(x)
    return x.as_strided(x.shape, (s["n"], s["c"], s["w"], s["h"]))


def cropped(x):
    first = x.storage_offset() + x.stride(2) + 2 * x.stride(3)
    return x.as_strided((len(x), 4, 5, 4), x.stride(), first)


def thinned(x):
    s = strides(x)
    return x.as_strided((len(x), 4, 4, 3), (s["n"], s["c"], 2 * s["h"], 3 * s["w"]))


def windows(x):
    s = strides(x)
    shape, stride = (len(x), 4, 8, 7, 2, 3), (*s.values(), s["h"], s["w"])
    return x.as_strided(shape, stride).sum((-2, -1))


def of_a_slice(x):
    part = x[:, :, 2:, 1:]
    return part.as_strided(part.shape, part.stride())


VIEWS = (same, swapped, cropped, thinned, windows, of_a_slice)


def first_and_last_pixels(network, dims):
    """First and last row of each row of the output, and column of each column."""
    image = torch.zeros(1, 3, SIZE + 2, SIZE + 2, requires_grad=True)
    maps = network(image).movedim(dims, (2, 3))[0, 0]
    seen_rows, seen_columns = [], []
    for row in maps:
        (slope,) = torch.autograd.grad(row.sum(), image, retain_graph=True)
        seen_rows.append(slope[0].sum((0, 2)).nonzero().flatten()[[0, -1]].tolist())
    for column in maps.T:
        (slope,) = torch.autograd.grad(column.sum(), image, retain_graph=True)
        seen_columns.append(slope[0].sum((0, 1)).nonzero().flatten()[[0, -1]].tolist())
    return torch.tensor(seen_rows).T, torch.tensor(seen_columns).T


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_each_element_keeps_its_field(view, channels_last):
    def laid_out(x):
        return x.contiguous(memory_format=torch.channels_last) if channels_last else x

    convolution = nn.Conv2d(3, 4, 3)
    nn.init.ones_(convolution.weight)
    network = nn.Sequential(convolution, Do(laid_out), Do(view)).eval()
    trace = traced(network, (SIZE + 2, SIZE + 2))
    node = trace.find_node("2")
    field, dims = trace.field(node), trace.spatial_dims(node)
    assert dims == ((3, 2) if view is swapped else (2, 3))
    for axis, (low, high) in enumerate(first_and_last_pixels(network, dims)):
        assert torch.equal(field.low[axis], low) and torch.equal(field.high[axis], high)
    assert not field.sees_whole_image


def test_elements_that_the_tensor_does_not_have_are_not_known():
    def widened(x):
        return x[:, :, 1:].as_strided(x.shape, x.stride(), 0)

    trace = traced(nn.Sequential(nn.Conv2d(3, 4, 3), Do(widened)), (SIZE, SIZE))
    assert trace.field(trace.find_node("1")) is None
