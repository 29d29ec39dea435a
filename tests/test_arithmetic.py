"""The chapter's arithmetic, compared with PyTorch's networks."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convlens.arithmetic import (
    count_dense_weights,
    count_multiply_adds,
    count_parameters,
    output_size,
    same_padding,
)
from convlens.errors import ConvlensError

SMALL = st.integers(1, 7)


@given(st.integers(0, 40), SMALL, SMALL, st.integers(0, 5), SMALL)
@settings(max_examples=1000, deadline=None)
def test_output_size_of_convolutions_is_that_of_torch(size, kernel, stride, padding, dilation):
    image = torch.zeros(1, 1, size)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    if size + 2 * padding < dilation * (kernel - 1) + 1:
        with pytest.raises(ConvlensError, match="give at least") as caught:
            output_size(size, kernel, **options)
        least = int(str(caught.value).split()[-1])
        assert output_size(least, kernel, **options) == 1
        return
    assume(size > 0)  # PyTorch convolves no empty image
    expected = F.conv1d(image, torch.zeros(1, 1, kernel), **options).shape[-1]
    assert output_size(size, kernel, **options) == expected


@given(st.integers(1, 40), SMALL, SMALL, st.integers(0, 3), st.integers(1, 3), st.booleans())
@settings(max_examples=1000, deadline=None)
def test_output_size_of_pooling_is_that_of_torch(
    size, kernel, stride, padding, dilation, ceil_mode
):
    assume(padding <= kernel // 2)  # PyTorch's own limit
    assume(size + 2 * padding >= dilation * (kernel - 1) + 1)
    pooled = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, dilation, ceil_mode)
    ours = output_size(size, kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    assert ours == pooled.shape[-1]


@given(st.integers(1, 60), SMALL, SMALL, SMALL)
@settings(deadline=None)
def test_same_padding_is_the_least_that_keeps_the_size(size, kernel, stride, dilation):
    before, after = same_padding(size, kernel, stride, dilation)
    assert 0 <= after - before <= 1
    needed = dilation * (kernel - 1) + 1
    assume(size + before + after >= needed)
    assert output_size(size, kernel, stride, (before, after), dilation) == -(-size // stride)
    if before + after:  # not a pixel more than needed
        less = max(0, after - 1)
        try:
            shorter = output_size(size, kernel, stride, (before, less), dilation)
        except ConvlensError:
            shorter = 0
        assert shorter < -(-size // stride)


@given(st.integers(8, 30), SMALL, st.integers(1, 3))
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_same_padding_is_where_pytorch_has_it(size, kernel, dilation):
    before, after = same_padding(size, kernel, 1, dilation)
    image, weight = torch.rand(1, 1, size), torch.rand(1, 1, kernel)
    same = F.conv1d(image, weight, padding="same", dilation=dilation)
    assert torch.allclose(same, F.conv1d(F.pad(image, (before, after)), weight, dilation=dilation))


def test_padding_of_the_chapter():
    assert same_padding(10, 5) == (2, 2)
    assert output_size(10, 4) == 7  # valid: no padding


@pytest.mark.parametrize("values", [(9, 0), (9, 3, 0), (9, 3, 1, -1), (9, 3, 1, 0, 0), (-1, 1)])
def test_values_out_of_range(values):
    with pytest.raises(ConvlensError, match="at least"):
        output_size(*values)


@pytest.mark.parametrize("kernel", [3, (5, 2)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_number_of_parameters_is_that_of_torch(kernel, bias, groups):
    layer = nn.Conv2d(4, 6, kernel, bias=bias, groups=groups)
    expected = sum(p.numel() for p in layer.parameters())
    assert count_parameters(kernel, 4, 6, bias, groups) == expected


def test_multiply_adds_by_counting():
    high, wide, groups = 2, 3, 2
    count = 0
    for _channel in range(6):
        for _y in range(4):
            for _x in range(5):
                count += high * wide * (4 // groups)
    assert count_multiply_adds((high, wide), 4, 6, (4, 5), groups) == count


def test_groups_that_do_not_divide():
    with pytest.raises(ConvlensError, match="3 groups do not divide 4 input"):
        count_parameters(3, 4, 6, groups=3)


def test_number_of_dense_weights_is_that_of_torch():
    layer = nn.Linear(3 * 4 * 5, 2 * 2)
    assert count_dense_weights((3, 4, 5), (2, 2)) == layer.weight.numel()


def test_figure_of_the_chapter():
    """A 3 x 3 image under a 2 x 2 filter: four values, each of four products, four weights."""
    a, b, c, d, e, f, g, h, i = image = torch.arange(1.0, 10)
    j, k, l, m = weights = torch.tensor([2.0, -3.0, 5.0, 7.0])  # noqa: E741 - the chapter's letters
    layer = nn.Conv2d(1, 1, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weights.view(1, 1, 2, 2))
        result = layer(image.view(1, 1, 3, 3))[0, 0]
    assert result.tolist() == [
        [a * j + b * k + d * l + e * m, b * j + c * k + e * l + f * m],
        [d * j + e * k + g * l + h * m, e * j + f * k + h * l + i * m],
    ]
    assert output_size(3, 2) == 2
    assert count_multiply_adds(2, 1, 1, (2, 2)) == 16
    assert count_parameters(2, 1, 1, bias=False) == 4
    assert count_dense_weights((3, 3), (2, 2)) == 36
