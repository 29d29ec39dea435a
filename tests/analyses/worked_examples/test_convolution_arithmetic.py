"""Convolutions that are written out, against four loops and against scipy."""

import re

import pytest
import torch
from scipy.signal import correlate2d

import convlens


def by_loops(image, kernel, stride=1):
    rows = (len(image) - len(kernel)) // stride + 1
    columns = (len(image[0]) - len(kernel[0])) // stride + 1
    return [
        [
            sum(
                image[row * stride + down][column * stride + right] * weight
                for down, weights in enumerate(kernel)
                for right, weight in enumerate(weights)
            )
            for column in range(columns)
        ]
        for row in range(rows)
    ]


def value_of(equation):
    """The left side of a written sum, computed by Python, and its right side."""
    left, _, right = equation.replace("\n", " ").replace("−", "-").rpartition("=")
    assert re.fullmatch(r"[\d\s.()*+-]*", left.replace("·", "*"))
    return eval(left.replace("·", "*").replace("- ", "-")), float(right)


def test_the_chapters_example():
    result = convlens.convolution_arithmetic()
    assert result.image.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert result.filter.tolist() == [[1, 0], [0, -1]]
    assert result.feature_map.tolist() == [[-4, -4], [-4, -4]]
    assert result.equation(1, 0) == "4·1 + 5·0\n+ 7·0 + 8·(−1)\n= −4"
    assert "2 × 2 positions in 3 × 3 numbers" in result.summary()


@pytest.mark.parametrize("seed", range(4))
def test_every_written_sum_holds(seed):
    result = convlens.convolution_arithmetic(seed=seed, bias=seed - 1.5)
    expected = by_loops(result.image.tolist(), result.filter.tolist())
    for row, values in enumerate(expected):
        for column, value in enumerate(values):
            left, right = value_of(result.equation(row, column))
            assert left == right == value + result.bias
            assert result.products(row, column).sum() == value
    assert convlens.convolution_arithmetic(seed=seed) != convlens.convolution_arithmetic()
    assert convlens.convolution_arithmetic(seed=seed) == convlens.convolution_arithmetic(seed=seed)


def test_padding_and_stride_give_the_correlation_of_scipy():
    image = torch.arange(20.0).view(4, 5)
    kernel = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 0.0, -1.0]])
    result = convlens.convolution_arithmetic(image, kernel, padding=1, stride=2)
    expected = correlate2d(torch.nn.functional.pad(image, (1, 1, 1, 1)), kernel, "valid")[::2, ::2]
    assert result.padding == (1, 1, 1, 1)
    assert result.feature_map.tolist() == expected.tolist()
    assert result.window(0, 0).tolist() == [[0, 0, 0], [0, 0, 1], [0, 5, 6]]
    assert convlens.convolution_arithmetic(image, kernel, padding="same").feature_map.shape == (
        4, 5,
    )  # fmt: skip


def test_the_figure_shows_all_numbers():
    figure = convlens.convolution_arithmetic().figure()
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert [texts.count(number) for number in ("−4", "9", "C(1, 1)")] == [4, 5, 1]
    assert "5·1 + 6·0\n+ 8·0 + 9·(−1)\n= −4" in texts


def test_large_arrays_are_refused():
    with pytest.raises(convlens.ConvlensError, match=r"the image of shape \(13, 2\).*at most 12"):
        convlens.convolution_arithmetic(torch.zeros(13, 2))
    with pytest.raises(convlens.ConvlensError, match=r"filter of shape \(2, 2, 2\)"):
        convlens.convolution_arithmetic(filter=torch.zeros(2, 2, 2))
    with pytest.raises(convlens.ConvlensError, match="shorter than the filter"):
        convlens.convolution_arithmetic(filter=torch.zeros(4, 4))
