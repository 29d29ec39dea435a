"""Windows of a filter, against a search over all positions and against torch."""

import itertools

import pytest
import torch

import convlens


def fitting_starts(size, kernel, padding, stride, dilation):
    """Starts of all windows inside the padded image, found one by one."""
    extent = dilation * (kernel - 1) + 1
    starts = []
    start = -padding
    while start + extent <= size + padding:
        starts.append(start)
        start += stride
    return tuple(starts)


@pytest.mark.parametrize("dilation", [1, 2])
def test_windows_and_output_are_those_of_a_search_and_of_torch(dilation):
    for size, kernel, padding, stride in itertools.product((5, 6, 9), (1, 2, 3), (0, 1), (1, 2, 3)):
        grid = convlens.window_grid(size, kernel, padding=padding, stride=stride, dilation=dilation)
        assert grid.starts == fitting_starts(size, kernel, padding, stride, dilation)
        output = torch.nn.functional.conv1d(
            torch.zeros(1, 1, size), torch.zeros(1, 1, kernel), stride=stride, padding=padding,
            dilation=dilation,
        )  # fmt: skip
        assert grid.output == output.shape[-1]
        assert grid.uncovered == size + 2 * padding - (grid.starts[-1] + padding + grid.extent)
        assert grid.equation().endswith(f"= {grid.output}")


def test_same_padding_keeps_the_size_divided_by_the_stride():
    assert convlens.window_grid(6, 3, padding="same").output == 6
    assert convlens.window_grid(7, 3, padding="same", stride=2).output == 4
    even = convlens.window_grid(6, 2, padding="same")
    assert (even.padding, even.output) == ((0, 1), 6)
    assert "P₁ + P₂" in even.equation()
    assert "same (0 and 1)" in even.summary()


def test_the_figure_has_a_dot_for_each_window_and_each_output():
    grid = convlens.window_grid(7, 3, stride=2)
    dots = [line for line in grid.figure().axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == 2 * grid.output**2 == 18


def test_large_images_are_cut_off():
    grid = convlens.window_grid(224, 11, stride=4, padding=2)
    assert grid.output == 55
    texts = [text.get_text() for text in grid.figure().axes[0].texts]
    assert "The upper left corner: 16 of 228 and 8 of 55 cells." in texts


def test_windows_that_do_not_fit_are_refused():
    with pytest.raises(convlens.ConvlensError, match="shorter than the filter"):
        convlens.window_grid(2, 3)
    with pytest.raises(convlens.ConvlensError, match="stride 0"):
        convlens.window_grid(6, 3, stride=0)
    with pytest.raises(convlens.ConvlensError, match="padding 'some'"):
        convlens.window_grid(6, 3, padding="some")
