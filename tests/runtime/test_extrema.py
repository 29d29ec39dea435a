"""`extrema` against Python's own `min` and `max`, in both memory formats."""

import math

import pytest
import torch

from convlens.runtime.extrema import extrema


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("value", [None, math.inf, -math.inf])
def test_as_python_finds_them(memory_format, value):
    drawn = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    drawn = drawn.to(memory_format=memory_format)
    if value is not None:
        drawn[1, 2, 3, 0] = value
    values = drawn.flatten().tolist()
    assert extrema(drawn) == (min(values), max(values))


@pytest.mark.parametrize("others", [0.5, math.inf])
def test_nan_is_passed_on(others):
    tensor = torch.full((2, 3, 4, 4), others)
    tensor[0, 1, 2, 3] = math.nan
    assert all(map(math.isnan, extrema(tensor)))
